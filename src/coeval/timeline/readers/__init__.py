"""Tables from anyone, as evidence about clocks: messages, anchors, and the stamps to be placed."""

from coeval.timeline.readers._evidence_tables import MessageTable, read_anchors, read_messages
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow
from coeval.timeline.readers._source import Tabular

__all__ = ["read_messages", "MessageTable", "read_anchors", "SetAside", "SetAsideRow", "Tabular"]
