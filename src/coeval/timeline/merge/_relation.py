"""
How the clocks of a merge relate: the evidence, what alignment makes of it, and which clocks it leaves alone.

What each source itself says about clocks comes from `coeval.timeline.sources`; here it is put together with what the
user brings along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coeval.alignment import RATE_BOUND_PPM_DEFAULT, Alignment, ClockMap, Messages, align
from coeval.clocks import UTC, Anchor, ClockId
from coeval.errors import ClocksNotRelated

# Readings at which a clock that is trusted is held to its own claim.
_TRUSTED_READINGS = 256


class ClockUse(NamedTuple):
    """
    A clock of the sources.

    Attributes:
        events: how many it stamped.
        first_ns, last_ns: its least and greatest reading.
    """

    events: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, eq=False, slots=True)
class Relation:
    """
    Attributes:
        alignment: of all clocks.
        maps: of the clocks that can be placed.
        reference, reference_label: what times count on.
        components: clocks that are related among themselves, each with how many events they stamped together, the one
            of the reference first.
    """

    alignment: Alignment
    maps: Mapping[str, ClockMap]
    reference: str
    reference_label: str
    components: tuple[tuple[tuple[str, ...], int], ...]

    @property
    def unplaced(self) -> tuple[str, ...]:
        """Clocks with events that nothing relates to the reference."""
        return tuple(clock for clocks, _ in self.components for clock in clocks if clock not in self.maps)


def relate(
    uses: Mapping[str, ClockUse],
    messages: Messages,
    anchors: Sequence[Anchor],
    *,
    reference: str | None = None,
    rate_bound_ppm: float | Mapping[str, float] = RATE_BOUND_PPM_DEFAULT,
    trust_ns: int | None = None,
) -> Relation:
    """
    Relate the clocks of all sources.

    Args:
        uses: the clocks that stamped events.
        reference: None: the one with the most messages, else the one with the most events.
        trust_ns: each clock shows UTC within so much; None: nobody said that.

    Raises:
        ValueError: the reference is no clock of the sources or messages.
    """
    anchors = list(anchors)
    if trust_ns is not None:
        for clock, use in uses.items():
            readings = np.unique(np.linspace(use.first_ns, use.last_ns, _TRUSTED_READINGS).astype(np.int64))
            anchors += [
                Anchor(ClockId(clock), int(at), int(at) - trust_ns, int(at) + trust_ns, "trusted") for at in readings
            ]
    known = dict.fromkeys((*uses, *messages.clocks))
    if reference is not None and reference not in known:
        raise ValueError(f"there is no clock {reference!r}; the clocks are {', '.join(list(known)[:8])}")
    chosen = ClockId(reference if reference is not None else _busiest(uses, messages))
    bounds: object = rate_bound_ppm
    alignment = align(messages, reference=chosen, anchors=anchors, rate_bound_ppm=bounds)  # type: ignore[arg-type]
    maps = {}
    for clock in (name for name in uses if name in alignment.clocks):
        edges = np.array([uses[clock].first_ns, uses[clock].last_ns], dtype=np.int64)
        found = alignment.clock_map(ClockId(clock))
        if bool(found.instants(edges).known.all()) or not _is_unknown(found, edges):
            maps[clock] = found
    return Relation(
        alignment,
        maps,
        str(alignment.reference),
        "UTC" if alignment.reference == UTC else f"time of clock {alignment.reference}",
        _components(uses, maps, alignment),
    )


def refusal(relation: Relation, uses: Mapping[str, ClockUse]) -> ClocksNotRelated:
    """What is said where clocks are not related and nobody said what to do with them."""
    unplaced = relation.unplaced
    count = sum(uses[clock].events for clock in unplaced)
    parts = [f"{{{', '.join(clocks)}}} ({events:,} events)" for clocks, events in relation.components]
    return ClocksNotRelated(
        f"cannot place {count:,} events of {len(unplaced)} clocks on the {relation.reference_label}: no evidence links "
        f"them. Related among themselves are {'; '.join(parts)}. Give evidence with --pair or --messages, known offsets "
        "with --clock, trust their own time with --trust-clocks BOUND, or keep them out of the order with --unplaced "
        "last or aside."
    )


def _is_unknown(found: ClockMap, edges: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    from coeval.alignment import UNKNOWN_ESTIMATE

    return bool((found.instants(edges).estimate_ns == UNKNOWN_ESTIMATE).any())


def _busiest(uses: Mapping[str, ClockUse], messages: Messages) -> str:
    if len(messages):
        count = len(messages.clocks)
        ends = np.bincount(messages.sender, minlength=count) + np.bincount(messages.receiver, minlength=count)
        return messages.clocks[int(ends.argmax())]
    return max(uses, key=lambda clock: uses[clock].events)


def _components(
    uses: Mapping[str, ClockUse], maps: Mapping[str, ClockMap], alignment: Alignment
) -> tuple[tuple[tuple[str, ...], int], ...]:
    """Clocks that are placed belong together; the others as messages relate them."""
    placed = [clock for clock in uses if clock in maps]
    groups = [placed] if placed else []
    left = {clock for clock in uses if clock not in maps}
    for component in alignment.components:
        group = [str(clock) for clock in component if clock in left]
        if group:
            groups.append(group)
            left -= set(group)
    groups += [[clock] for clock in uses if clock in left]
    return tuple((tuple(group), sum(uses[clock].events for clock in group)) for group in groups)
