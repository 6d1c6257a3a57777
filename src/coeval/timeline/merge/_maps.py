"""Where the readings of a clock lie, as a merge has it: its map, and what somebody claims of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from coeval.alignment import ClockMap, Instants
from coeval.clocks import ClockId, Grade
from coeval.timeline.readers._values import Int64Array
from coeval.timeline.sources._relate import Relation


@dataclass(frozen=True, eq=False, slots=True)
class PlacedClock:
    """
    Places readings of one clock as `Relation.instants` does; can be sent to other processes.

    Attributes:
        claims_ns: what was said of the clock, minus UTC: the least and the greatest it can be ahead.
    """

    map: ClockMap
    claims_ns: tuple[tuple[int, int], ...] = ()

    def instants(self, readings: Int64Array) -> Instants:
        """
        Place readings; fastest where they are in order.

        Args:
            readings: int64, shape (n,).
        """
        placed = self.map.instants(readings)
        earliest, latest = placed.earliest_ns, placed.latest_ns
        for least_ns, greatest_ns in self.claims_ns:
            least, most = readings - greatest_ns, readings - least_ns
            is_inside = (placed.estimate_ns >= least) & (placed.estimate_ns <= most)
            earliest = np.where(is_inside, np.maximum(earliest, least), earliest)
            latest = np.where(is_inside, np.minimum(latest, most), latest)
        return replace(placed, earliest_ns=earliest, latest_ns=latest)

    def latest_ns(self, readings: Int64Array) -> Int64Array:
        """The column `latest_ns` of `instants`."""
        # Whether a claim counts depends on the estimate.
        return self.instants(readings).latest_ns if self.claims_ns else self.map.latest_ns(readings)


def placed_clocks(relation: Relation, grade: Grade = "declared") -> dict[str, PlacedClock]:
    """Every clock that can be placed."""
    claims: dict[str, list[tuple[int, int]]] = {}
    for each in relation.claims if relation.alignment.on_utc else ():
        claims.setdefault(each.claim.clock, []).append((each.claim.least_ns, each.claim.greatest_ns))
    unplaced = set(relation.unplaced)
    return {
        state.clock: PlacedClock(
            relation.alignment.clock_map(ClockId(state.clock), grade), tuple(claims.get(state.clock, ()))
        )
        for component in relation.components
        for state in component.clocks
        if state.clock not in unplaced
    }
