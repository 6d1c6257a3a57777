"""Joins by uncertain times: what matches for certain, and what may."""

from coeval.timeline.join._columns import with_bounds
from coeval.timeline.join._overlaps import overlap_join, window_join
from coeval.timeline.join._tables import join

__all__ = ["join", "overlap_join", "window_join", "with_bounds"]
