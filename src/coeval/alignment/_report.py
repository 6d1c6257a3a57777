"""One row per strand for people: how far off a clock is, how fast it goes, how well that is known, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coeval.alignment._band import Band
from coeval.alignment._finding import Finding
from coeval.alignment._instants import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, both_known
from coeval.alignment._messages import Messages
from coeval.alignment._rate import GRID_BITS
from coeval.alignment._solution import Solution
from coeval.alignment._strands import Sorting
from coeval.clocks import ClockId


@dataclass(frozen=True, slots=True)
class OffsetInterval:
    """
    How far a clock is ahead of its reference at one reading, ns, Python ints; None: unknown.

    Attributes:
        least_ns, greatest_ns: the bounds.
        estimate_ns: their middle; with one side known, that side.
        width_ns_least, width_ns_greatest: the narrowest and the widest that the bounds are over the evidence.
    """

    least_ns: int | None
    estimate_ns: int | None
    greatest_ns: int | None
    width_ns_least: int | None
    width_ns_greatest: int | None


@dataclass(frozen=True, slots=True)
class ClockFit:
    """
    How one clock lies against its reference, between two steps.

    Attributes:
        clock, reference: offsets and rates are of `clock` against `reference`; positive: ahead, faster.
        stretch: which part of the clock between steps, from 0.
        sent_count, received_count: the messages that it sent to other clocks, and received, that are believed.
        anchor_count: the anchors of this clock.
        trusted: False where the evidence contradicted itself so much that nothing of it is left (see `findings`).
        reading_ns: the clock's reading in the middle of the evidence; None: there is none.
        declared, assumed: the offset at that reading, by grade.
        rate_ppm: the estimate of the mean rate; None where the evidence cannot tell it.
        rate_ppm_least, rate_ppm_greatest: the declared bounds of the mean rate over the evidence.
        rate_bound_ppm: what the declared grade rests on: the declared bound of the rate, unless that was refuted.
        wander_ppm: the first assumption of the assumed grade: the rate changes by no more than this in all. None: there
            is no assumed grade here beyond the declared one.
        wander_ppm_consistent: the smallest such change that explains all messages; 0: a steady rate does.
        curvature_ppm_s: the second one: the rate changes by no more than this in a second. None: it is not assumed.
        curvature_ppm_s_consistent: a value that explains all messages, within a factor of two the smallest; or half of
            what is assumed at least, where that does.
        findings: those about this clock.
    """

    clock: ClockId
    reference: ClockId
    stretch: int
    sent_count: int
    received_count: int
    anchor_count: int
    trusted: bool
    reading_ns: int | None
    declared: OffsetInterval
    assumed: OffsetInterval
    rate_ppm: float | None
    rate_ppm_least: float
    rate_ppm_greatest: float
    rate_bound_ppm: float
    wander_ppm: float | None
    wander_ppm_consistent: float | None
    curvature_ppm_s: float | None
    curvature_ppm_s_consistent: float | None
    findings: tuple[Finding, ...]


def clock_fit(
    solution: Solution,
    number: int,
    sorting: Sorting,
    messages: Messages,
    counts: tuple[int, int],
    anchor_count: int,
    findings: Sequence[Finding],
) -> ClockFit:
    """
    Sum up one strand.

    Args:
        counts: the believed messages that it sent, and received.
    """
    axis, strand = solution.axis, sorting.strands[number]
    clock = messages.clocks[strand.clock]
    sent, received = counts
    evidence = _evidence(solution, number)
    middle_ns = None if evidence is None else (evidence[0] + evidence[1]) // 2
    declared, assumed = solution.declared.bands[number], solution.assumed.bands[number]
    wander, curvature = solution.wanders[number], solution.curvatures[number]
    limit = solution.declared.slopes[number].high / (1 << GRID_BITS)
    slope_least, slope_most = _mean_slope(declared, evidence, limit)
    slope = None if wander is None else min(max(wander.middle, slope_least), slope_most)
    own = tuple(finding for finding in findings if finding.clock == clock)
    return ClockFit(
        clock,
        axis.name,
        strand.number,
        sent,
        received,
        anchor_count,
        bool(sent or received or anchor_count) or not any(finding.kind == "contradiction" for finding in own),
        middle_ns,
        _offset(declared, middle_ns, evidence),
        _offset(assumed, middle_ns, evidence),
        None if slope is None else _clock_rate_ppm(slope),
        _clock_rate_ppm(slope_most),
        _clock_rate_ppm(slope_least),
        limit * 1e6,
        None if wander is None else wander.assumed * 1e6,
        None if wander is None else wander.consistent * 1e6,
        None if curvature is None else curvature.assumed * 1e6,
        None if curvature is None else curvature.consistent * 1e6,
        own,
    )


def _evidence(solution: Solution, number: int) -> tuple[int, int] | None:
    """The first and the last reading of a strand that evidence speaks of."""
    system = solution.axis.system
    start, end = int(system.starts[number]), int(system.starts[number + 1])
    if start == end:
        return None
    origin = solution.axis.x_origins[number]
    return origin + int(system.x[start]), origin + int(system.x[end - 1])


def _offset(band: Band, reading_ns: int | None, evidence: tuple[int, int] | None) -> OffsetInterval:
    if reading_ns is None or evidence is None:
        return OffsetInterval(None, None, None, None, None)
    earliest, estimate, latest = (int(column[0]) for column in band.bounds(np.array([reading_ns], dtype=np.int64)))
    widths = _widths(band, evidence)
    return OffsetInterval(
        None if latest == UNKNOWN_LATEST else reading_ns - latest,
        None if estimate == UNKNOWN_ESTIMATE else reading_ns - estimate,
        None if earliest == UNKNOWN_EARLIEST else reading_ns - earliest,
        min(widths, default=None),
        max(widths, default=None),
    )


def _widths(band: Band, evidence: tuple[int, int]) -> list[int]:
    """The least and the greatest width over the evidence; empty where a side is unknown."""
    first, last = evidence
    readings = band.turning_points()
    readings = np.sort(np.concatenate((readings[(readings >= first) & (readings <= last)], [first, last])))
    earliest, _, latest = band.bounds(readings)
    known = both_known(earliest, latest)
    widths = latest[known] - earliest[known]
    return [int(widths.min()), int(widths.max())] if len(widths) else []


def _mean_slope(band: Band, evidence: tuple[int, int] | None, limit: float) -> tuple[float, float]:
    """Least and greatest mean of dT/dx - 1 over the evidence, by the declared bounds at both of its ends."""
    least, most = -limit, limit
    if evidence is None or evidence[0] == evidence[1]:
        return least, most
    earliest, _, latest = band.bounds(np.array(evidence, dtype=np.int64))
    run = evidence[1] - evidence[0]
    if earliest[1] != UNKNOWN_EARLIEST and latest[0] != UNKNOWN_LATEST:
        least = max(least, (int(earliest[1]) - int(latest[0]) - run) / run)
    if latest[1] != UNKNOWN_LATEST and earliest[0] != UNKNOWN_EARLIEST:
        most = min(most, (int(latest[1]) - int(earliest[0]) - run) / run)
    return least, most


def _clock_rate_ppm(slope: float) -> float:
    """The rate of the clock against its reference, from the reference's against the clock."""
    return -slope / (1 + slope) * 1e6
