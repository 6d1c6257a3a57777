"""
What an alignment decided about its evidence: steps, messages it does not believe, and which clocks it relates.

The one place that knows where these come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from coeval.alignment import Alignment, Messages
from coeval.clocks import Anchor, ClockId


class Step(NamedTuple):
    """
    A clock that was set.

    Attributes:
        earliest_ns, latest_ns: it happened when the clock showed something between these.
        size_ns_least, size_ns_greatest: how far forward it was set; negative: back.
        text: the same in one sentence.
    """

    clock: ClockId
    earliest_ns: int
    latest_ns: int
    size_ns_least: int
    size_ns_greatest: int
    text: str


class Verdict(NamedTuple):
    """
    What was decided.

    Attributes:
        steps: in the order of clocks and readings.
        rejected: int64 indices of the messages that were not believed.
        components: clocks that evidence relates, the largest group first; a clock alone is a group.
    """

    steps: tuple[Step, ...]
    rejected: np.ndarray[tuple[int], np.dtype[np.int64]]
    components: tuple[tuple[ClockId, ...], ...]


def verdict_of(alignment: Alignment, messages: Messages, anchors: Iterable[Anchor]) -> Verdict:
    """
    Ask an alignment what it decided.

    The present alignment neither finds steps nor rejects single messages: where they contradict each other it places
    nothing and says so in its findings. So there are none here, and the components follow from who sent to whom.
    """
    return Verdict((), np.empty(0, dtype=np.int64), _components(alignment, messages, anchors))


def _components(alignment: Alignment, messages: Messages, anchors: Iterable[Anchor]) -> tuple[tuple[ClockId, ...], ...]:
    """Clocks that hard messages or anchors link, by union of sets."""
    clocks = alignment.clocks
    leader = {clock: clock for clock in clocks}

    def find(clock: ClockId) -> ClockId:
        while leader[clock] != clock:
            leader[clock] = leader[leader[clock]]
            clock = leader[clock]
        return clock

    count = max(len(messages.clocks), 1)
    pairs = np.unique((messages.sender.astype(np.int64) * count + messages.receiver)[messages.hard])
    for pair in pairs.tolist():
        leader[find(messages.clocks[pair // count])] = find(messages.clocks[pair % count])
    anchored = [anchor.clock for anchor in anchors]
    for clock in anchored[1:]:
        leader[find(clock)] = find(anchored[0])
    groups: dict[ClockId, list[ClockId]] = {}
    for clock in clocks:
        groups.setdefault(find(clock), []).append(clock)
    return tuple(sorted(map(tuple, groups.values()), key=lambda group: -len(group)))
