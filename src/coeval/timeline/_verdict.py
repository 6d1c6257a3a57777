"""What an alignment decided about its evidence, for tables and pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coeval.alignment import Alignment, ClockStep
from coeval.clocks import ClockId


class Verdict(NamedTuple):
    """
    What was decided.

    Attributes:
        steps: in the order of clocks and readings.
        rejected: int64 indices of the messages that were not believed.
        unsorted: likewise of those too near a step to be used.
        components: clocks that evidence relates, the largest group first; a clock alone is a group.
    """

    steps: tuple[ClockStep, ...]
    rejected: np.ndarray[tuple[int], np.dtype[np.int64]]
    unsorted: np.ndarray[tuple[int], np.dtype[np.int64]]
    components: tuple[tuple[ClockId, ...], ...]


def verdict_of(alignment: Alignment) -> Verdict:
    """Ask an alignment what it decided."""
    components = sorted(alignment.components, key=lambda group: -len(group))
    return Verdict(alignment.steps, alignment.rejected, alignment.unsorted, tuple(components))
