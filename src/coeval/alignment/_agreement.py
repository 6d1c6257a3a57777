"""
Which sources of UTC to believe: more than half of them must agree, and who cannot be among those is named.

    anchors of one clock, by source  ->  what each source says of UTC at every reading, within the clock's rate bound
                                     ->  what more than half of them say (depth count, Marzullo 1984)
                                     ->  anchors that hold if more than half of the sources are right

The assumption is that, and no more: more than half are right, nobody knows which. So what is handed on is not what all
believable sources have in common: a false one whose interval overlaps the others' would cut the truth away. It is the
hull of every UTC that more than half of the sources allow. A source is false, for certain under the assumption, where
nothing that it allows is allowed by more than half; then it loses its voice, at all times, and the rest are counted
again against the same number. One source alone is taken at its word, and that is said.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, NamedTuple

from coeval.alignment._rate import ppm
from coeval.alignment._rate_bound import RATE_BOUND_PPM_DEFAULT
from coeval.clocks import Anchor, ClockId

Verdict = Literal[
    "agrees",  # with more than half of the sources
    "alone",  # the only source: nothing contradicts it, and nothing confirms it
    "false",  # more than half of the sources contradict it
    "contradicts itself",  # its own anchors cannot all be true
    "disputed",  # no more than half of the sources agree with each other, so none is used
]


@dataclass(frozen=True, slots=True)
class SourceVerdict:
    """
    What came of one source of UTC.

    Attributes:
        clock: whose readings its anchors are of.
        source: its name, as its anchors have it.
        verdict: whether it is believed.
        anchor_count: how many anchors it gave.
        text: one or two sentences for a person.
    """

    clock: ClockId
    source: str
    verdict: Verdict
    anchor_count: int
    text: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """
    What the sources of UTC agree on.

    Attributes:
        anchors: what can be relied on if more than half of the sources are right, one for each reading of a believed
            source's anchors, in the order of clocks and readings. Those of a source that is alone are its own. Empty
            where nothing can be called UTC.
        verdicts: one for each source of each clock (and stretch of it), in the order of clocks and names.
    """

    anchors: tuple[Anchor, ...]
    verdicts: tuple[SourceVerdict, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each source that is not believed; those that dispute share one."""
        unbelieved = ("false", "contradicts itself", "disputed")
        return tuple(dict.fromkeys(found.text for found in self.verdicts if found.verdict in unbelieved))


def agree(
    anchors: Iterable[Anchor],
    *,
    rate_bound_ppm: float = RATE_BOUND_PPM_DEFAULT,
    splits: Mapping[ClockId, Sequence[int]] = MappingProxyType({}),
) -> Agreement:
    """
    Find out which sources of UTC agree.

    Each clock's anchors are judged by themselves, and each stretch of it between `splits`; anchors of two clocks are
    compared by `align`, which knows the messages between them.

    Args:
        anchors: in any order; `source` tells who says so, and one source has one voice however many anchors it gave.
        rate_bound_ppm: the declared rate bound of the clocks: while a clock counts one second, between 1 / (1 + bound)
            and 1 + bound seconds pass.
        splits: readings, increasing, at which a clock lost its tie to the time before, as in a suspend.

    Raises:
        ValueError: the bound is negative.
    """
    if not rate_bound_ppm >= 0:
        raise ValueError(f"rate_bound_ppm is {rate_bound_ppm}: give 0 or more, such as 100")
    groups: dict[tuple[ClockId, int], list[Anchor]] = {}
    for anchor in anchors:
        stretch = bisect_right(splits.get(anchor.clock, ()), anchor.reading_ns)
        groups.setdefault((anchor.clock, stretch), []).append(anchor)
    grown = 1 + ppm(rate_bound_ppm)
    accepted: list[Anchor] = []
    verdicts: list[SourceVerdict] = []
    for _, group in sorted(groups.items()):
        found = _judged(sorted(group), grown)
        accepted += found.anchors
        verdicts += found.verdicts
    return Agreement(tuple(accepted), tuple(verdicts))


def utc_bounds(
    anchors: Sequence[Anchor], readings_ns: Iterable[int], rate_bound_ppm: float = RATE_BOUND_PPM_DEFAULT
) -> list[tuple[int, int]]:
    """
    When a clock read this, UTC was in [earliest, latest], if all these anchors of it are true.

    Args:
        anchors: of one clock, at least one, in any order.
        readings_ns: int64 ns of that clock, in any order.
        rate_bound_ppm: as for `agree`.

    Returns:
        A pair for each reading, rounded outward; earliest above latest where the anchors contradict each other.
    """
    readings = list(readings_ns)
    ordered = sorted(set(readings))
    found = dict(zip(ordered, _spans(sorted(anchors), ordered, 1 + ppm(rate_bound_ppm)), strict=True))
    return [(found[reading].earliest, found[reading].latest) for reading in readings]


# One clock, one stretch -----------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    """What a source allows UTC to be at a reading; empty if the earliest is above the latest."""

    earliest: int
    latest: int


def _judged(group: Sequence[Anchor], grown: Fraction) -> Agreement:
    by_source: dict[str, list[Anchor]] = {}
    for anchor in group:
        by_source.setdefault(anchor.source, []).append(anchor)
    counts = {source: len(given) for source, given in by_source.items()}
    clock = group[0].clock
    readings = sorted({anchor.reading_ns for anchor in group})
    said = {source: _spans(given, readings, grown) for source, given in by_source.items()}
    confused = {source for source, spans in said.items() if any(span.earliest > span.latest for span in spans)}
    voices = sorted(said.keys() - confused)

    verdicts: dict[str, tuple[Verdict, str]] = {
        source: ("contradicts itself", _contradicts_itself(source)) for source in confused
    }
    accepted: list[Anchor] = []
    if len(confused) > 1 and not voices:
        text = (
            f"Each of {len(confused)} sources of UTC contradicts itself, so none is used: {_listed(sorted(confused))}. "
            f"It is rather the clock {clock} that broke its rate bound, as where a virtual machine was halted."
        )
        verdicts = dict.fromkeys(confused, ("contradicts itself", text))
    elif len(voices) == 1:
        (source,) = voices
        verdicts[source] = "alone", f"{source} is the only source of UTC; nothing confirms it."
        accepted = by_source[source]
    elif voices:
        found = _majority({source: said[source] for source in voices}, readings)
        if found is None:
            text = _dispute(said, voices, len(readings))
            verdicts |= dict.fromkeys(voices, ("disputed", text))
        else:
            agreed, false = found
            believed = [source for source in voices if source not in false]
            for source in believed:
                others = _listed([other for other in believed if other != source])
                verdicts[source] = "agrees", f"{source} agrees with {others}."
            for source, place in false.items():
                off = _off(said[source][place], agreed[place])
                text = (
                    f"{source} is false: it is {off} of what {_listed(believed)} agree on ({len(believed)} of "
                    f"{len(voices)} sources). It is not used. Leave it out, or have it set right."
                )
                verdicts[source] = "false", text
            own = {anchor.reading_ns for source in believed for anchor in by_source[source]}
            name = _listed(believed)
            accepted = [
                Anchor(clock, reading, *span, name)
                for reading, span in zip(readings, agreed, strict=True)
                if reading in own
            ]
    return Agreement(
        tuple(accepted),
        tuple(
            SourceVerdict(clock, source, verdict, counts[source], text)
            for source, (verdict, text) in sorted(verdicts.items())
        ),
    )


def _majority(
    said: Mapping[str, Sequence[_Span]], readings: Sequence[int]
) -> tuple[list[_Span], dict[str, int]] | None:
    """
    What more than half of the sources allow at each reading, and the false sources with the place of the reading that
    shows it. None: at some reading no more than half allow anything together.
    """
    needed = len(said) // 2 + 1
    false: dict[str, int] = {}
    while True:
        believed = {source: spans for source, spans in said.items() if source not in false}
        agreed: list[_Span] = []
        found: dict[str, int] = {}
        for place in range(len(readings)):
            spans = [span[place] for span in believed.values()]
            starts, ends = sorted(span.earliest for span in spans), sorted(span.latest for span in spans)

            def depth(utc: int, starts: list[int] = starts, ends: list[int] = ends) -> int:
                return bisect_right(starts, utc) - bisect_left(ends, utc)

            # Every stretch of UTC that enough sources allow begins where one of them begins, and ends where one ends.
            common = [start for start in starts if depth(start) >= needed]
            if not common:
                return None
            agreed.append(_Span(common[0], max(end for end in ends if depth(end) >= needed)))
            for source, span in believed.items():
                at = bisect_left(common, span[place].earliest)
                if at == len(common) or common[at] > span[place].latest:
                    found.setdefault(source, place)
        if not found:
            return agreed, false
        false |= found


def _spans(anchors: Sequence[Anchor], readings: Sequence[int], grown: Fraction) -> list[_Span]:
    """
    What anchors of one source, sorted by reading, allow at increasing readings: each one's interval, wider by what the
    clock may have been off in between. Exact in integers, then rounded outward.
    """
    up, down = grown.numerator, grown.denominator
    count = len(readings)
    # From the left, a bound of an anchor at x goes on as (q y - p x + p x') / q, with a slope of p / q. So the best one
    # is the extreme of q y - p x, whatever x' is; the same from the right.
    latest_left: list[int | None] = [None] * count
    earliest_left: list[int | None] = [None] * count
    index, low, high = 0, None, None
    for place, reading in enumerate(readings):
        while index < len(anchors) and anchors[index].reading_ns <= reading:
            anchor = anchors[index]
            bound = down * anchor.latest_ns - up * anchor.reading_ns
            low = bound if low is None else min(low, bound)
            bound = up * anchor.earliest_ns - down * anchor.reading_ns
            high = bound if high is None else max(high, bound)
            index += 1
        if low is not None and high is not None:
            latest_left[place] = -(-(low + up * reading) // down)
            earliest_left[place] = (high + down * reading) // up
    spans: list[_Span] = []
    index, low, high = len(anchors) - 1, None, None
    for place in range(count - 1, -1, -1):
        reading = readings[place]
        while index >= 0 and anchors[index].reading_ns > reading:
            anchor = anchors[index]
            bound = up * anchor.latest_ns - down * anchor.reading_ns
            low = bound if low is None else min(low, bound)
            bound = down * anchor.earliest_ns - up * anchor.reading_ns
            high = bound if high is None else max(high, bound)
            index -= 1
        latest, earliest = latest_left[place], earliest_left[place]
        if low is not None and high is not None:
            later, sooner = -(-(low + down * reading) // up), (high + up * reading) // down
            latest = later if latest is None else min(latest, later)
            earliest = sooner if earliest is None else max(earliest, sooner)
        assert latest is not None, "no anchor on either side; please report this"
        assert earliest is not None
        spans.append(_Span(earliest, latest))
    return spans[::-1]


# For people -----------------------------------------------------------------------------------------------------------


def _contradicts_itself(source: str) -> str:
    return (
        f"{source} contradicts itself: not all that it said of UTC can be true, within the rate bound of the clock "
        "that it was said of, as where the server's own clock is set. It is not used."
    )


def _dispute(said: Mapping[str, Sequence[_Span]], voices: Sequence[str], reading_count: int) -> str:
    widest, apart = 0, ""
    for first in voices:
        for second in voices:
            gap = max(said[second][place].earliest - said[first][place].latest for place in range(reading_count))
            if gap > widest:
                widest, apart = gap, f": {second} is at least {_amount(gap)} ahead of {first}"
    return (
        f"No more than half of these {len(voices)} sources of UTC agree, so none is used: {_listed(voices)}{apart}. "
        "Nothing tells which is false. Ask more servers: three outvote a false one."
    )


def _off(span: _Span, agreed: _Span) -> str:
    if span.earliest > agreed.latest:
        return f"at least {_amount(span.earliest - agreed.latest)} ahead"
    if span.latest < agreed.earliest:
        return f"at least {_amount(agreed.earliest - span.latest)} behind"
    return "in a gap"


def _amount(ns: int) -> str:
    """Rounded down, as it is a least amount."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if ns >= size:
            return f"{ns // (size // 1000) / 1000:.3f} {unit}"
    return f"{ns} ns"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
