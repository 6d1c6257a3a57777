"""
What the user says about sources, and the evidence between them.

    resolve      names, patterns and settings  ->  sources, each with what was said of it
    extract      a batch of events             ->  the rows of it that may be evidence (on any worker)
    messages_of  those rows of all parts       ->  messages, summarised
    relate       messages, anchors, claims     ->  one alignment, or the table of what nothing relates
    settle_folds                               ->  which reading a stamp of a repeated hour means
"""

from coeval.timeline.sources._claims import ClockSpan, OffsetClaim, parse_claim
from coeval.timeline.sources._folds import SettledFolds, settle_folds
from coeval.timeline.sources._messages import FoldedMessages, FoundEvidence, LinkCount, messages_of
from coeval.timeline.sources._project import PROJECT_FILE, Project, read_project, save_settings
from coeval.timeline.sources._relate import (
    ClassVerdict,
    ClockState,
    Component,
    Relation,
    relate,
)
from coeval.timeline.sources._resolve import ResolvedSource, resolve
from coeval.timeline.sources._rows import EvidenceRows, EvidenceWriter, extract, joined
from coeval.timeline.sources._rules import EvidenceRules, PairRule, parse_pair
from coeval.timeline.sources._said import parse_duration, parse_source
from coeval.timeline.sources._unrelated_text import component_lines

__all__ = [
    "resolve",
    "ResolvedSource",
    "read_project",
    "save_settings",
    "Project",
    "PROJECT_FILE",
    "parse_source",
    "parse_duration",
    "parse_pair",
    "PairRule",
    "parse_claim",
    "OffsetClaim",
    "EvidenceRules",
    "extract",
    "joined",
    "EvidenceRows",
    "EvidenceWriter",
    "messages_of",
    "FoundEvidence",
    "FoldedMessages",
    "LinkCount",
    "relate",
    "Relation",
    "ClockSpan",
    "Component",
    "ClockState",
    "ClassVerdict",
    "component_lines",
    "settle_folds",
    "SettledFolds",
]
