"""Merging: sources of any size into one timeline."""

from coeval.timeline.merge._merge import MergeReport, SourceReport
from coeval.timeline.merge._request import MergedTimeline, merge
from coeval.timeline.merge._spill import DiskFull

__all__ = ["merge", "MergedTimeline", "MergeReport", "SourceReport", "DiskFull"]
