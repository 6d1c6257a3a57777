"""
One axis, the reference clock or UTC, with every strand of every clock on it: from believed messages to a system with
its origins and units.

Readings go from 1970 to the age of a boot, and differences of nanoseconds decide. So each strand counts its readings
from its own first one, and its times on the axis from a coarse guess of where that one lies; the system then only has
to carry what is left. The guess is arbitrary and costs nothing: any other gives the same bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coeval.alignment._envelope import NOTHING, SPAN_NS_LIMIT, Slopes
from coeval.alignment._messages import Messages
from coeval.alignment._rate import GRID_BITS, Int64Array, ceil_times
from coeval.alignment._strands import Sorting, first_strands
from coeval.alignment._system import System
from coeval.clocks import Anchor, ClockId

# Room in 64 bits above the largest excess that evidence can give, so that sums of bounds and costs fit.
_HEADROOM_BITS = 60

# Excesses beyond this come from evidence that is false by decades.
_EXCESS_NS_LIMIT = 2**60

_INT64 = np.iinfo(np.int64)

_YEAR_NS = 31_556_952 * 10**9


@dataclass(frozen=True, eq=False, slots=True)
class Axis:
    """
    A system and what its numbers mean.

    T(x) = x + (y_origin - x_origin) + excess, for a reading x of a strand.

    Attributes:
        name: the reference clock, or UTC.
        system: excesses of all readings.
        x_origins, y_origins: of each strand, Python ints.
        upper, lower: what is known of each event to begin with.
        message_rows: which row of the messages each message of the system is; -1: the clock's own order across a step.
        anchor_rows: which anchor gave what each event began with; -1: none.
        reach: of each strand whether bounds from above, and from below, can reach it at all.
    """

    name: ClockId
    system: System
    x_origins: tuple[int, ...]
    y_origins: tuple[int, ...]
    upper: Int64Array
    lower: Int64Array
    message_rows: Int64Array
    anchor_rows: Int64Array


def axis_of(
    name: ClockId,
    messages: Messages,
    sorting: Sorting,
    slopes: Sequence[Slopes],
    *,
    pinned: int | None,
    delay_rate: int,
    anchors: Sequence[Anchor] = (),
    anchor_strands: Sequence[int] = (),
) -> Axis:
    """
    Build the system of one axis.

    Args:
        slopes: the declared ones, of each strand.
        pinned: the strand that shows the axis itself; None: anchors tie it.
        delay_rate: how much slower than true time the axis may count, on the grid: proven delays are in true time.
        anchors: to UTC, on the strands `anchor_strands`.

    Raises:
        ValueError: Readings of one clock lie more than 73 years apart.
    """
    rows = sorting.rows
    seams = _seams(sorting)
    count, seam_count = len(rows), len(seams)
    # The axis shows itself, whether or not anything believed speaks of it.
    is_alone = pinned is not None and pinned not in sorting.sent_strand and pinned not in sorting.received_strand
    alone = np.array([pinned] if is_alone else [], dtype=np.int64)
    strand = np.concatenate(
        [
            sorting.sent_strand,
            [seam[0] for seam in seams],
            sorting.received_strand,
            [seam[2] for seam in seams],
            np.asarray(anchor_strands, dtype=np.int64),
            alone,
        ]
    ).astype(np.int64)
    readings = np.concatenate(
        [
            messages.sent_ns[rows],
            np.array([seam[1] for seam in seams], dtype=np.int64),
            messages.received_by_at(rows),
            np.array([seam[3] for seam in seams], dtype=np.int64),
            np.array([anchor.reading_ns for anchor in anchors], dtype=np.int64),
            np.zeros(len(alone), dtype=np.int64),
        ]
    )
    strand_count = len(sorting.strands)
    order = _order(strand, readings, strand_count)
    starts = np.searchsorted(strand[order], np.arange(strand_count + 1)).astype(np.int64)
    ordered = readings[order]
    x_origins = _origins(ordered, starts)
    x = np.empty(len(order), dtype=np.int64)
    for number, origin in enumerate(x_origins):
        part = slice(int(starts[number]), int(starts[number + 1]))
        x[part] = ordered[part] - origin
    event_of = np.empty(len(order), dtype=np.int64)
    event_of[order] = np.arange(len(order))
    message_count = count + seam_count
    sent, received = event_of[:message_count], event_of[message_count : 2 * message_count]
    anchored = event_of[2 * message_count : 2 * message_count + len(anchors)]

    y_origins = _y_origins(
        x[received] - x[sent],
        strand[:message_count],
        strand[message_count : 2 * message_count],
        strand_count,
        pinned,
        x_origins,
        [
            (number, int(x[event]), (anchor.earliest_ns + anchor.latest_ns) // 2)
            for number, event, anchor in zip(anchor_strands, anchored.tolist(), anchors, strict=True)
        ],
    )
    # Python ints first: origins may be centuries apart, and only differences of those that exchange messages count.
    sent_strand, received_strand = strand[:message_count], strand[message_count : 2 * message_count]
    between = _differences(y_origins, sent_strand, received_strand)
    weights_ns = np.clip((x[received] - x[sent]) - between, -_EXCESS_NS_LIMIT, _EXCESS_NS_LIMIT)
    delays_ns = np.concatenate((messages.delay_ns_min[rows], np.zeros(seam_count, dtype=np.int64)))
    caps = np.array(
        [
            (
                _clipped(anchor.earliest_ns - y_origins[number] - int(x[event])),
                _clipped(anchor.latest_ns - y_origins[number] - int(x[event])),
            )
            for number, event, anchor in zip(anchor_strands, anchored.tolist(), anchors, strict=True)
        ],
        dtype=np.int64,
    ).reshape(-1, 2)
    bits = _bits(weights_ns, delays_ns, caps, x, starts, slopes)
    weights = (weights_ns - delays_ns) << bits
    if len(delays_ns) and int(delays_ns.max()) > 0:
        weights += ceil_times(delay_rate, delays_ns, bits)
    upper = np.full(len(x), NOTHING, dtype=np.int64)
    lower = np.full(len(x), -NOTHING, dtype=np.int64)
    anchor_rows = np.full(len(x), -1, dtype=np.int64)
    if pinned is not None:
        upper[int(starts[pinned]) : int(starts[pinned + 1])] = 0
        lower[int(starts[pinned]) : int(starts[pinned + 1])] = 0
    if len(anchored):
        lower[anchored], upper[anchored] = caps[:, 0] << bits, caps[:, 1] << bits
        anchor_rows[anchored] = np.arange(len(anchored))
    return Axis(
        name,
        System(starts, x, sent, received, weights, bits),
        x_origins,
        y_origins,
        upper,
        lower,
        np.concatenate((rows, np.full(seam_count, -1, dtype=np.int64))),
        anchor_rows,
    )


def _seams(sorting: Sorting) -> list[tuple[int, int, int, int]]:
    """The clock's own order across each cut, as messages from strand to strand: strand, reading, strand, reading."""
    first = first_strands(sorting.strands, max((strand.clock for strand in sorting.strands), default=-1) + 1)
    return [
        (int(first[code]) + number, cut.before, int(first[code]) + number + 1, cut.after)
        for code, cuts in sorting.cuts.items()
        for number, cut in enumerate(cuts)
        # Of a clock that was not set, after all, a lower reading was shown before a greater one.
        if not cut.is_doubtful or cut.before <= cut.after
    ]


def _order(strand: Int64Array, readings: Int64Array, strand_count: int) -> Int64Array:
    """By strand, then by reading."""
    by_strand = np.argsort(strand.astype(np.int16) if strand_count < 2**15 else strand, kind="stable")
    bounds = np.searchsorted(strand[by_strand], np.arange(strand_count + 1))
    for number in range(strand_count):
        part = by_strand[bounds[number] : bounds[number + 1]]
        values = readings[part]
        if len(part) > 1 and not bool(np.all(values[1:] >= values[:-1])):
            by_strand[bounds[number] : bounds[number + 1]] = part[np.argsort(values, kind="stable")]
    return by_strand


def _origins(ordered: Int64Array, starts: Int64Array) -> tuple[int, ...]:
    origins = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if start == end:
            origins.append(0)
            continue
        least, greatest = int(ordered[start]), int(ordered[end - 1])
        if greatest - least > SPAN_NS_LIMIT:
            raise ValueError(
                f"readings of one clock go from {least} to {greatest} ns, {(greatest - least) / _YEAR_NS:.0f} years: "
                f"at most {SPAN_NS_LIMIT / _YEAR_NS:.0f} are possible. Look for stamps in another unit or of another "
                "clock."
            )
        origins.append(least)
    return tuple(origins)


def _y_origins(
    differences: Int64Array,
    sent_strand: Int64Array,
    received_strand: Int64Array,
    strand_count: int,
    pinned: int | None,
    x_origins: Sequence[int],
    anchors: Sequence[tuple[int, int, int]],
) -> tuple[int, ...]:
    """
    Guess where on the axis each strand's first reading lies.

    Messages of a pair in both directions give the middle of their fastest ones, those in one direction the fastest.
    """
    neighbours: list[dict[int, int]] = [{} for _ in range(strand_count)]  # of a strand: y of the other minus its own
    if len(differences):
        code = sent_strand * strand_count + received_strand
        order = np.argsort(code, kind="stable")
        first = np.flatnonzero(np.concatenate(([True], np.diff(code[order]) != 0)))
        fastest = dict(
            zip(code[order][first].tolist(), np.minimum.reduceat(differences[order], first).tolist(), strict=True)
        )
        for pair, forth in fastest.items():
            near, far = divmod(pair, strand_count)
            back = fastest.get(far * strand_count + near)
            # y(near) - y(far) is at most `forth`, and at least minus `back`.
            lead = forth if back is None else (forth - back) // 2
            neighbours[near].setdefault(far, -lead)
            neighbours[far].setdefault(near, lead)
    origins: list[int | None] = [None] * strand_count
    known: list[int] = []
    if pinned is not None:
        origins[pinned] = x_origins[pinned]
        known = [pinned]
    for number, x, utc in anchors:
        if origins[number] is None:
            origins[number] = utc - x
            known.append(number)
    for start in (*known, *range(strand_count)):
        if origins[start] is None:
            origins[start] = x_origins[start]  # of a component by itself
        frontier = [start]
        while frontier:
            reached = []
            for number in frontier:
                for other, lead in neighbours[number].items():
                    if origins[other] is None:
                        own = origins[number]
                        assert own is not None
                        origins[other] = own + lead
                        reached.append(other)
            frontier = reached
    # The guess is arbitrary, so one beyond int64 may as well be at its end.
    return tuple(max(_INT64.min, min(_INT64.max, origin or 0)) for origin in origins)


def _differences(y_origins: Sequence[int], sent_strand: Int64Array, received_strand: Int64Array) -> Int64Array:
    """y of the sender's strand minus y of the receiver's, of each message."""
    count = len(y_origins)
    code = sent_strand * count + received_strand
    pairs, inverse = np.unique(code, return_inverse=True)
    table = [_clipped(y_origins[pair // count] - y_origins[pair % count]) for pair in pairs.tolist()]
    return np.array(table, dtype=np.int64)[inverse] if len(table) else np.empty(0, dtype=np.int64)


def _clipped(excess_ns: int) -> int:
    return max(-_EXCESS_NS_LIMIT, min(_EXCESS_NS_LIMIT, excess_ns))


def _bits(
    weights_ns: Int64Array,
    delays_ns: Int64Array,
    caps: Int64Array,
    x: Int64Array,
    starts: Int64Array,
    slopes: Sequence[Slopes],
) -> int:
    """How fine a unit can be: the largest excess on a way through the system, once through each strand, must fit."""
    hop = 1
    for values in (weights_ns, delays_ns, caps):
        if values.size:
            hop = max(hop, int(values.max()), -int(values.min()))
    drift = 1
    for number, slope in enumerate(slopes):
        if starts[number] < starts[number + 1]:
            span = int(x[int(starts[number + 1]) - 1])
            drift = max(drift, (max(abs(slope.low), abs(slope.high)) * span >> GRID_BITS) + 1)
    greatest = (len(slopes) + 1) * (hop + drift)
    return max(0, min(GRID_BITS, _HEADROOM_BITS - greatest.bit_length()))
