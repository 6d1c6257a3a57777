"""Stamps of text and numbers as integer nanoseconds, with all that they may mean."""

from coeval.timeline.stamps._epoch import UNITS, unit_of
from coeval.timeline.stamps._forms import PATTERNS
from coeval.timeline.stamps._stamps import Stamps, StampSense, no_zone
from coeval.timeline.stamps._texts import Shapes
from coeval.timeline.stamps._written import Written
from coeval.timeline.stamps._zones import Zone

__all__ = ["PATTERNS", "Shapes", "Stamps", "StampSense", "UNITS", "Written", "Zone", "no_zone", "unit_of"]
