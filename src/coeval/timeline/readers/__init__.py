"""Logs, traces and tables from anyone: events as they were written, and evidence about clocks."""

from coeval.timeline.readers._evidence_tables import MessageTable, read_anchors, read_messages
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._reader import EventBatch, Part, Reader, SourceSettings, Tally
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow
from coeval.timeline.readers._source import Tabular

__all__ = [
    "read_messages",
    "MessageTable",
    "read_anchors",
    "Reader",
    "Head",
    "SourceSettings",
    "Part",
    "EventBatch",
    "Tally",
    "SetAside",
    "SetAsideRow",
    "Tabular",
]
