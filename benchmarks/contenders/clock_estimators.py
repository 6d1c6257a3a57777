"""
What others make of messages between two clocks: their estimates of the offset, written from their descriptions.

    last_midpoint          Dask: the midpoint of the last heartbeat
    mean_of_midpoints      Perfetto, machines of one trace: the mean of all midpoints of the trace
    least_delay_of_eight   the clock filter of NTP (RFC 5905, section 10): the fastest of the last eight exchanges
    weighted_regression    chrony: a weighted line through up to 64 exchanges, as far back as its signs look random;
                           of dense traffic the fastest exchange of each second, as its `filter` option does
    line_between_hulls     Trace Compass: the middle of the steepest and the flattest line that no message contradicts
    line_of_greatest_margin  Huygens (NSDI 2018): in each window of 2 s the line with most room to both sides

Offset is far minus near, at a reading of the far clock. All see the same stamps: exchanges as four of them, cut stamps
at the middle of what they may mean; hulls get cut stamps at the end that is true for certain. Those that run live use
what they have at the time asked about; the last two use everything, as they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Int64s: TypeAlias = npt.NDArray[np.int64]

# No rival is asked to believe more; the clocks of the benchmark are 30 ppm apart.
SLOPE_MAX = 500e-6
FILTER_STAGES = 8
REGRESSION_SAMPLES_MAX = 64
REGRESSION_SAMPLES_MIN = 4
REGRESSION_POLL_NS = 1e9
# One-sided 5 % of the standard normal.
RUNS_DEVIATION_MAX = 1.645
WINDOW_NS = 2e9
POINTS_PER_SIDE_MIN = 5


@dataclass(frozen=True, eq=False, slots=True)
class Exchanges:
    """
    Exchanges of two clocks in the order in which they ended, in float ns from whole origins.

    Attributes:
        origin_ns: the far reading that `at`, `done` and readings asked about count from.
        offset_origin_ns: the offset that offsets count from.
        at: far reading in the middle of each exchange.
        done: far reading at which the near clock knew.
        midpoint: the offset if both ways took equally long.
        delay: what both ways took.
        upper_at, upper: far readings, and the offset that each message forth proves to be the greatest possible.
        lower_at, lower: likewise of messages back.
    """

    origin_ns: int
    offset_origin_ns: int
    at: Floats
    done: Floats
    midpoint: Floats
    delay: Floats
    upper_at: Floats
    upper: Floats
    lower_at: Floats
    lower: Floats

    @classmethod
    def of(
        cls,
        sent_ns: Int64s,
        arrived_ns: Int64s,
        answered_ns: Int64s,
        received_ns: Int64s,
        *,
        near_resolution_ns: int = 0,
        far_resolution_ns: int = 0,
    ) -> Exchanges:
        """From the four stamps: near, far, far, near."""
        order = np.argsort(received_ns, kind="stable")
        sent, arrived, answered, received = (
            column[order] for column in (sent_ns, arrived_ns, answered_ns, received_ns)
        )
        origin, offset_origin = int(arrived[0]), int(arrived[0] - sent[0])
        forth = (arrived - sent - offset_origin).astype(np.float64)
        back = (answered - received - offset_origin).astype(np.float64)
        half_ns = (far_resolution_ns - near_resolution_ns) / 2
        middle = (arrived - origin).astype(np.float64) + (answered - arrived) / 2 + far_resolution_ns / 2
        return cls(
            origin,
            offset_origin,
            middle,
            (received - origin + offset_origin).astype(np.float64),
            (forth + back) / 2 + half_ns,
            forth - back,
            (arrived - origin).astype(np.float64),
            forth + far_resolution_ns,
            (answered - origin).astype(np.float64),
            back - near_resolution_ns,
        )

    def offsets_ns(self, estimate: Estimator, readings_ns: Int64s) -> tuple[Int64s, Floats]:
        """What a method says at far readings: whole ns, and the rest."""
        estimated = estimate(self, (readings_ns - self.origin_ns).astype(np.float64))
        whole = np.floor(estimated)
        return self.offset_origin_ns + whole.astype(np.int64), estimated - whole


Estimator: TypeAlias = Callable[[Exchanges, Floats], Floats]
"""Offsets, from `offset_origin_ns`, at far readings from `origin_ns`."""


def last_midpoint(known: Exchanges, asked: Floats) -> Floats:
    """The midpoint of the last exchange that had ended; before the first one, that of the first."""
    found: Floats = known.midpoint[_last(known, asked)]
    return found


def mean_of_midpoints(known: Exchanges, asked: Floats) -> Floats:
    """One offset for the whole trace."""
    return np.full(len(asked), known.midpoint.mean())


def least_delay_of_eight(known: Exchanges, asked: Floats) -> Floats:
    """The midpoint of the exchange with the least delay among the last eight."""
    back = np.arange(FILTER_STAGES)
    rows = np.maximum(_last(known, asked)[:, None] - back, 0)
    best = known.delay[rows].argmin(axis=1)
    found: Floats = known.midpoint[rows[np.arange(len(asked)), best]]
    return found


def weighted_regression(known: Exchanges, asked: Floats) -> Floats:
    """
    A line through the last exchanges, up to 64, followed to the reading asked about.

    An exchange weighs less the longer it took, against the shortest and the spread of these. The oldest are left out
    one by one until the residuals change their sign as often as chance would have it (the runs test), which drops what
    was before a change of rate. Two exchanges make no slope.
    """
    known = _fastest_of_each_poll(known)
    last = _last(known, asked)
    rows = last[:, None] - np.arange(REGRESSION_SAMPLES_MAX)[::-1]  # oldest first
    inside = rows >= 0
    rows = np.maximum(rows, 0)
    since = (known.at[rows] - asked[:, None]) / 1e9
    values, delays = known.midpoint[rows], known.delay[rows]
    least = np.where(inside, delays, np.inf).min(axis=1)
    middle = np.nanmedian(np.where(inside, delays, np.nan), axis=1)
    spread = np.maximum((middle - least) / 0.7, 1.0)
    weights = np.where(inside, 1 / (1 + (delays - least[:, None]) / spread[:, None]) ** 2, 0.0)
    estimated = np.empty(len(asked))
    open_rows = np.arange(len(asked))
    for oldest in range(REGRESSION_SAMPLES_MAX):
        weights[open_rows, :oldest] = 0
        here = weights[open_rows]
        at_query, residuals = _weighted_line(since[open_rows], values[open_rows], here)
        estimated[open_rows] = at_query
        used = here > 0
        few = used.sum(axis=1) <= REGRESSION_SAMPLES_MIN
        open_rows = open_rows[~(few | _looks_random(residuals, used))]
        if not len(open_rows):
            break
    return estimated


def line_between_hulls(known: Exchanges, asked: Floats) -> Floats:
    """
    One line for the whole trace, its slope and its intercept in the middle between those of the two extreme lines.

    Where no line keeps to all messages, it is that of the longest beginning of the trace that one line keeps to, as the
    last accurate one is kept.
    """
    line = _critical_line(known, len(known.at))
    if line is None:
        fits, fails = 1, len(known.at)
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fits, fails = (middle, fails) if _critical_line(known, middle) is not None else (fits, middle)
        line = _critical_line(known, fits)
        assert line is not None, "one exchange alone contradicts no line"
    slope, intercept = line
    return intercept + slope * asked


def line_of_greatest_margin(known: Exchanges, asked: Floats) -> Floats:
    """
    In each window the line that lies furthest from the nearest message on either side.

    A window of 2 s with less than five messages of a side is doubled, about its middle, until it has them.
    """
    window = np.floor(asked / WINDOW_NS).astype(np.int64)
    estimated = np.empty(len(asked))
    upper_order, lower_order = np.argsort(known.upper_at), np.argsort(known.lower_at)
    upper_at, upper = known.upper_at[upper_order], known.upper[upper_order]
    lower_at, lower = known.lower_at[lower_order], known.lower[lower_order]
    for number in np.unique(window).tolist():
        middle, half = (number + 0.5) * WINDOW_NS, WINDOW_NS / 2
        while True:
            ups = slice(*np.searchsorted(upper_at, [middle - half, middle + half]))
            lows = slice(*np.searchsorted(lower_at, [middle - half, middle + half]))
            counts = ups.stop - ups.start, lows.stop - lows.start
            if min(counts) >= POINTS_PER_SIDE_MIN or counts == (len(upper), len(lower)):
                break
            half *= 2
        rooms = _Rooms(upper_at[ups] - middle, upper[ups], lower_at[lows] - middle, lower[lows])
        slope = rooms.widest(SLOPE_MAX)
        top, bottom = rooms.ends(np.array([slope]))
        here = window == number
        estimated[here] = (top[0] + bottom[0]) / 2 + slope * (asked[here] - middle)
    return estimated


RIVALS: dict[str, Estimator] = {
    "last midpoint (Dask)": last_midpoint,
    "mean of midpoints (Perfetto)": mean_of_midpoints,
    "least delay of 8 (ntpd)": least_delay_of_eight,
    "weighted regression (chrony)": weighted_regression,
    "line between hulls (Trace Compass)": line_between_hulls,
    "greatest margin, 2 s (Huygens)": line_of_greatest_margin,
}


def _last(known: Exchanges, asked: Floats) -> Int64s:
    return np.maximum(np.searchsorted(known.done, asked, side="right") - 1, 0)


def _fastest_of_each_poll(known: Exchanges) -> Exchanges:
    poll = np.floor(known.done / REGRESSION_POLL_NS)
    order = np.lexsort((known.delay, poll))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = poll[order][1:] != poll[order][:-1]
    rows = order[first]
    # Known when its poll is over, so that nothing is used before it can be.
    over = np.array([done.max() for done in np.split(known.done, np.flatnonzero(np.diff(poll)) + 1)])
    return replace(known, at=known.at[rows], done=over, midpoint=known.midpoint[rows], delay=known.delay[rows])


def _weighted_line(at: Floats, values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """One line per row: its value at 0, and the residuals."""
    total = weights.sum(axis=1)
    middle, level = (weights * at).sum(axis=1) / total, (weights * values).sum(axis=1) / total
    from_middle, from_level = at - middle[:, None], values - level[:, None]
    spread = (weights * from_middle**2).sum(axis=1)
    enough = ((weights > 0).sum(axis=1) > 2) & (spread > 0)
    slope = (weights * from_middle * from_level).sum(axis=1) / np.where(enough, spread, np.inf)
    slope = np.clip(slope, -SLOPE_MAX * 1e9, SLOPE_MAX * 1e9)  # `at` is in seconds
    return level - slope * middle, from_level - slope[:, None] * from_middle


def _looks_random(residuals: Floats, used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The runs test of Wald and Wolfowitz: too few runs of one sign are not chance. Used ones stand at the end."""
    above = residuals > 0
    changes = (above[:, 1:] != above[:, :-1]) & used[:, 1:] & used[:, :-1]
    runs = changes.sum(axis=1) + 1
    high = (above & used).sum(axis=1).astype(np.float64)
    low = used.sum(axis=1) - high
    count = np.maximum(high + low, 2)
    expected = 2 * high * low / count + 1
    variance = np.maximum((expected - 1) * (expected - 2) / (count - 1), 1e-12)
    random: npt.NDArray[np.bool_] = runs >= expected - RUNS_DEVIATION_MAX * np.sqrt(variance)
    return random


@dataclass(frozen=True, eq=False, slots=True)
class _Rooms:
    """How much room lines of a slope have between upper and lower points; concave in the slope."""

    upper_at: Floats
    upper: Floats
    lower_at: Floats
    lower: Floats

    def ends(self, slopes: Floats) -> tuple[Floats, Floats]:
        """The greatest and the least intercept that lines of these slopes may have."""
        top = (self.upper - slopes[:, None] * self.upper_at).min(axis=1)
        bottom = (self.lower - slopes[:, None] * self.lower_at).max(axis=1)
        return top, bottom

    def room(self, slopes: Floats) -> Floats:
        top, bottom = self.ends(slopes)
        return top - bottom

    def widest(self, limit: float) -> float:
        """The slope with the most room; the middle of them where several have."""
        low, high = -limit, limit
        for _ in range(16):  # each leaves a quarter: 1e-3 becomes 2e-13, a fraction of a ns over 10 min
            tried = np.linspace(low, high, 9)
            best = np.flatnonzero((room := self.room(tried)) >= room.max())
            low, high = tried[max(best[0] - 1, 0)], tried[min(best[-1] + 1, 8)]
        return float((low + high) / 2)


def _critical_line(known: Exchanges, count: int) -> tuple[float, float] | None:
    """Slope and intercept in the middle of the two extreme lines of the first exchanges, None without any line."""
    upper = _hull(known.upper_at[:count], known.upper[:count], lower_side=True)
    lower = _hull(known.lower_at[:count], known.lower[:count], lower_side=False)
    rooms = _Rooms(*upper, *lower)
    widest = rooms.widest(SLOPE_MAX)
    if rooms.room(np.array([widest]))[0] < 0:
        return None
    slopes = []
    for end in (-SLOPE_MAX, SLOPE_MAX):
        fits, fails = widest, end
        for _ in range(14):
            tried = np.linspace(fits, fails, 17)
            good = int(np.flatnonzero(rooms.room(tried) >= 0).max(initial=0))
            fits, fails = tried[good], tried[min(good + 1, 16)]
        slopes.append(fits)
    tops, bottoms = rooms.ends(np.array(slopes))
    return float(np.mean(slopes)), float(np.mean((tops + bottoms) / 2))


def _hull(at: Floats, values: Floats, *, lower_side: bool) -> tuple[Floats, Floats]:
    """The points of one side of a convex hull: those that a line can touch."""
    order = np.lexsort((values if lower_side else -values, at))
    sign = 1.0 if lower_side else -1.0
    kept: list[tuple[float, float]] = []
    for x, y in zip(at[order].tolist(), (sign * values[order]).tolist(), strict=True):
        if kept and kept[-1][0] == x:
            continue
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]) >= (y - kept[-2][1]) * (
            kept[-1][0] - kept[-2][0]
        ):
            kept.pop()
        kept.append((x, y))
    found = np.array(kept)
    return found[:, 0], sign * found[:, 1]
