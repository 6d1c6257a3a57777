"""
From evidence, anchors and claims to one alignment, or to a table that says which clocks nothing relates.

    hard messages                                    always
    + claims between clocks, then ends of spans      each class whole, if it contradicts nothing before it
    + anchors, claims of UTC                         UTC, if they reach
    -> align -> groups of clocks that are related -> Relation, or ClocksNotRelated
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from coeval.alignment import (
    RATE_BOUND_PPM_DEFAULT,
    UNKNOWN_EARLIEST,
    UNKNOWN_ESTIMATE,
    UNKNOWN_LATEST,
    Alignment,
    Instants,
    Messages,
    align,
)
from coeval.alignment._rate import Int64Array
from coeval.clocks import Anchor, ClockId, Grade
from coeval.errors import ClocksNotRelated
from coeval.timeline.readers._shiviz import LOGICAL
from coeval.timeline.sources._claims import (
    ClaimEvidence,
    ClockSpan,
    OffsetClaim,
    claims_on,
    evidence_of_claim,
    is_about,
    trusting,
)
from coeval.timeline.sources._messages import FoundEvidence
from coeval.timeline.sources._said import is_named
from coeval.timeline.sources._unrelated_text import contradiction_text, not_related_text

Unplaced = Literal["aside", "last"]


class ClockState(NamedTuple):
    """
    One clock in the table of components.

    Attributes:
        clock: which.
        events: of it.
        sides: "both": earliest and latest can be told; "earliest" or "latest": only this one can; "none".
    """

    clock: ClockId
    events: int
    sides: Literal["both", "earliest", "latest", "none"]


class Component(NamedTuple):
    """
    Clocks that evidence relates.

    Attributes:
        clocks: of it, the busiest first.
        events: of them all.
        why: what relates them to each other, or why this clock stands alone.
    """

    clocks: tuple[ClockState, ...]
    events: int
    why: str


class ClassVerdict(NamedTuple):
    """
    What was decided about evidence that is believed as a whole or not at all.

    Attributes:
        name: of the class, such as "ends of spans: app -> web".
        messages: how many.
        is_used: whether it is.
        text: one sentence.
    """

    name: str
    messages: int
    is_used: bool
    text: str


@dataclass(frozen=True, eq=False, slots=True)
class Relation:
    """
    How the clocks of a merge are related; made by `relate`.

    Attributes:
        alignment: places stamps and tells before from after.
        components: the largest first. With more than one, only clocks of the first are placed.
        classes: claims between clocks and ends of spans, used or dropped.
        claims: of UTC, as evidence: `instants` holds the clocks to them.
        unplaced: clocks that are not of the first component, as somebody allowed.
    """

    alignment: Alignment
    components: tuple[Component, ...]
    classes: tuple[ClassVerdict, ...]
    claims: tuple[ClaimEvidence, ...]
    unplaced: tuple[ClockId, ...]

    @property
    def reference(self) -> ClockId:
        """What instants count on: UTC, or the reference clock."""
        return self.alignment.reference

    @property
    def reference_label(self) -> str:
        """The same for people."""
        return "UTC" if self.alignment.on_utc else f"time of clock {self.alignment.reference_clock}"

    def instants(self, clock: ClockId, readings_ns: Int64Array, grade: Grade = "declared") -> Instants:
        """
        Place readings of a clock; as `Alignment.instants`, and never wider than what was claimed of this clock.

        A claim holds at every reading and alignment knows it at some, so between them it tells up to `slack_ns` less.
        Where the estimate lies outside of the claim (by less than that), bounds stay as they are: moving it could turn
        a message round.

        Raises:
            ClocksNotRelated: the clock is not placed.
        """
        if clock in self.unplaced:
            raise ClocksNotRelated(f"clock {clock} is not placed: nothing relates it to {self.reference_label}")
        placed = self.alignment.instants(clock, readings_ns, grade)
        readings = np.asarray(readings_ns, dtype=np.int64)
        earliest, latest = placed.earliest_ns, placed.latest_ns
        for each in self.claims if self.alignment.on_utc else ():
            if each.claim.clock != clock:
                continue
            least, most = readings - each.claim.greatest_ns, readings - each.claim.least_ns
            is_inside = (placed.estimate_ns >= least) & (placed.estimate_ns <= most)
            earliest = np.where(is_inside, np.maximum(earliest, least), earliest)
            latest = np.where(is_inside, np.minimum(latest, most), latest)
        return Instants(placed.reference, earliest, placed.estimate_ns, latest, placed.grade)


def relate(
    found: FoundEvidence,
    spans: Mapping[ClockId, ClockSpan],
    *,
    anchors: Iterable[Anchor] = (),
    claims: Sequence[OffsetClaim] = (),
    standing: Sequence[OffsetClaim] = (),
    trust_ns: int | None = None,
    reference: str | None = None,
    rates_ppm: Mapping[str, float] | None = None,
    rate_bound_ppm: float = RATE_BOUND_PPM_DEFAULT,
    unplaced: Unplaced | None = None,
) -> Relation:
    """
    Relate the clocks of a merge.

    Args:
        found: what rows say.
        spans: of every clock that has events: how many, and from which reading to which.
        anchors: evidence of UTC.
        claims: offsets that somebody knows.
        standing: the same, kept of earlier merges: one of clocks that are not here is told and not used.
        trust_ns: each clock's own word on UTC counts, within so much.
        reference: the clock that all others are measured against; None: the busiest.
        rates_ppm: rate bounds by clock name, also with wildcards; of others `rate_bound_ppm`.
        unplaced: what becomes of clocks that nothing relates to the others; None: they are an error.

    Raises:
        ClocksNotRelated: nothing relates some clocks, with the table of components and what can be done; or anchors and
            claims contradict each other.
        ValueError: the reference, or a clock that something is claimed of, is not there; there are no clocks.
    """
    if not spans:
        raise ValueError("there are no events, so there is no clock to relate")
    hard = _timed(found.hard.messages())
    clocks = sorted(dict.fromkeys((*spans, *hard.clocks)), key=lambda clock: -_events(spans, clock))
    chosen = _reference(reference, clocks, spans)
    rates = {clock: _rate(clock, rates_ppm or {}, rate_bound_ppm) for clock in clocks}
    idle = [claim for claim in standing if not is_about(claim, spans)]
    said = claims_on([*(claim for claim in standing if claim not in idle), *claims], spans)
    timed = [clock for clock in spans if not is_logical(clock)]
    trusted = trusting(timed, trust_ns) if trust_ns is not None else []
    as_evidence = [
        evidence_of_claim(claim, spans, _parting(rates, claim))
        for claim in (*said, *(claim for claim in trusted if not _is_said(claim, said)))
    ]
    all_anchors = [*anchors, *(anchor for each in as_evidence for anchor in each.anchors)]
    believed, verdicts = _with_classes(hard, _classes(as_evidence, found), chosen, rates)
    alignment = align(believed, reference=chosen, anchors=all_anchors, rate_bound_ppm=rates)
    contradiction = [finding for finding in alignment.findings if finding.kind == "anchor contradiction"]
    if contradiction:
        raise ClocksNotRelated(contradiction_text(contradiction[0]))
    components = _components(alignment, spans, believed, all_anchors)
    of_utc = tuple(each for each in as_evidence if each.anchors)
    if len(components) > 1 and unplaced is None:
        raise ClocksNotRelated(not_related_text(components, found.counts))
    verdicts = (*verdicts, *map(_idle, idle))
    aside = [state.clock for component in components[1:] for state in component.clocks]
    return Relation(alignment, components, verdicts, of_utc, tuple(aside))


def _timed(messages: Messages) -> Messages:
    """Without those of clocks that count events and show no time: nothing is known of how fast they go."""
    counts = np.array([is_logical(clock) for clock in messages.clocks], dtype=np.bool_)
    if not bool(counts.any()):
        return messages
    return messages.taken(np.flatnonzero(~counts[messages.sender] & ~counts[messages.receiver]))


def is_logical(clock: str) -> bool:
    """Whether a clock counts events and shows no time, as those of ShiViz logs without stamps do."""
    return clock.endswith(f"/{LOGICAL}")


# Classes that are believed as a whole ---------------------------------------------------------------------------------


def _classes(claims: Sequence[ClaimEvidence], found: FoundEvidence) -> list[tuple[str, Messages]]:
    """Claims first, for somebody knows them; then the larger class before the smaller."""
    said = [(f"said: {each.claim.text}", each.messages) for each in claims if len(each.messages)]
    ends = [(name, evidence.messages()) for name, evidence in found.likely.items()]
    return [*said, *sorted(ends, key=lambda each: (-len(each[1]), each[0]))]


def _with_classes(
    hard: Messages, classes: Sequence[tuple[str, Messages]], reference: ClockId, rates: Mapping[ClockId, float]
) -> tuple[Messages, tuple[ClassVerdict, ...]]:
    """
    Take each class in that the evidence before it can be true together with.

    A class that cannot is dropped whole: which of its messages are wrong nobody knows, and those that contradict
    nothing are as little proven as the others.
    """
    if not classes:
        return hard, ()
    doubts = _doubts(hard, reference, rates)
    everything = Messages.concatenated((hard, *(messages for _, messages in classes)))
    believed, verdicts = hard, []
    is_all_good = _doubts(everything, reference, rates) <= doubts
    for name, messages in classes:
        together = Messages.concatenated((believed, messages))
        is_used = is_all_good or _doubts(together, reference, rates) <= doubts
        if is_used:
            believed = together
            text = f"{name}: used, as it contradicts nothing; that it is true is an assumption"
            if name.startswith("said: "):
                text = f"{name}: used"
        else:
            text = f"{name}: not used, as it cannot be true together with messages that are certain"
        verdicts.append(ClassVerdict(name, len(messages), is_used, text))
    return believed, tuple(verdicts)


def _idle(claim: OffsetClaim) -> ClassVerdict:
    text = f"said: {claim.text}: not used, as no event is by such a clock"
    return ClassVerdict(f"said: {claim.text}", 0, False, text)


def _doubts(messages: Messages, reference: ClockId, rates: Mapping[ClockId, float]) -> int:
    """How many contradictions messages have: those that are not believed, and steps that would explain them."""
    alignment = align(messages, reference=reference, rate_bound_ppm=rates)
    return len(alignment.rejected) + len(alignment.unsorted) + len(alignment.steps)


# Components -----------------------------------------------------------------------------------------------------------


def _components(
    alignment: Alignment, spans: Mapping[ClockId, ClockSpan], messages: Messages, anchors: Sequence[Anchor]
) -> tuple[Component, ...]:
    groups = [set(group) for group in alignment.components]
    groups += [{clock} for clock in spans if clock not in alignment.clocks]
    anchored = {anchor.clock for anchor in anchors}
    if alignment.on_utc:
        on_utc = set().union(*(group for group in groups if group & anchored))
        groups = [*([on_utc] if on_utc else []), *(group for group in groups if not group & anchored)]
    # Clocks of shared messages that have no event here are no part of the question.
    groups = [group for group in groups if group & spans.keys()]
    home = next((group for group in groups if alignment.reference_clock in group), set())
    groups.sort(key=lambda group: (group is not home, -sum(_events(spans, clock) for clock in group)))
    found = []
    for group in groups:
        members = sorted(group & spans.keys(), key=lambda clock: (-_events(spans, clock), clock))
        states = tuple(
            ClockState(clock, _events(spans, clock), _sides(alignment, clock, spans[clock], group is home))
            for clock in members
        )
        events = sum(state.events for state in states)
        found.append(Component(states, events, _why(group, messages, anchored if alignment.on_utc else set())))
    return tuple(found)


def _sides(
    alignment: Alignment, clock: ClockId, span: ClockSpan, is_home: bool
) -> Literal["both", "earliest", "latest", "none"]:
    if clock not in alignment.clocks or not is_home:
        return "none"
    placed = alignment.instants(clock, np.array([(span.first_ns + span.last_ns) // 2], dtype=np.int64))
    has_earliest = int(placed.earliest_ns[0]) != UNKNOWN_EARLIEST
    has_latest = int(placed.latest_ns[0]) != UNKNOWN_LATEST
    assert int(placed.estimate_ns[0]) != UNKNOWN_ESTIMATE or not (has_earliest or has_latest)
    if has_earliest and has_latest:
        return "both"
    return "earliest" if has_earliest else "latest" if has_latest else "none"


def _why(group: set[ClockId], messages: Messages, anchored: set[ClockId]) -> str:
    codes = [code for code, clock in enumerate(messages.clocks) if clock in group]
    count = int(np.isin(messages.sender, codes).sum()) if codes else 0
    reasons = [f"{count:,} messages"] if count else []
    if tied := len(group & anchored):
        reasons.append(f"UTC known on {tied}")
    if reasons:
        return ", ".join(reasons)
    return "counts events, shows no time" if all(map(is_logical, group)) else "nothing links it to others"


# What was said of clocks ----------------------------------------------------------------------------------------------


def _events(spans: Mapping[ClockId, ClockSpan], clock: ClockId) -> int:
    return spans[clock].events if clock in spans else 0


def _reference(reference: str | None, clocks: Sequence[ClockId], spans: Mapping[ClockId, ClockSpan]) -> ClockId:
    if reference is None:
        return clocks[0]
    meant = [clock for clock in clocks if clock == reference] or [
        clock for clock in spans if is_named(reference, clock)
    ]
    if len(meant) != 1:
        some = "several clocks" if meant else "no clock"
        raise ValueError(f"the reference {reference!r} is {some}; there are {', '.join(clocks[:8])}")
    return meant[0]


def _rate(clock: ClockId, rates_ppm: Mapping[str, float], otherwise: float) -> float:
    """The last that means it, as later words go before earlier ones."""
    return next((rate for name, rate in reversed(list(rates_ppm.items())) if is_named(name, clock)), otherwise)


def _parting(rates: Mapping[ClockId, float], claim: OffsetClaim) -> Fraction:
    own = Fraction(rates[ClockId(claim.clock)]) / 10**6
    other = Fraction(rates[ClockId(claim.other)]) / 10**6 if claim.other else Fraction(0)
    return own + other + own * other


def _is_said(trusted: OffsetClaim, said: Sequence[OffsetClaim]) -> bool:
    """What somebody says of one clock on UTC goes before what was said of all."""
    return any(claim.clock == trusted.clock and not claim.other for claim in said)
