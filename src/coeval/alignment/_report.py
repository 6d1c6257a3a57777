"""One row per clock for people: how far off it is, how fast it goes, how well that is known, and what that rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from coeval.alignment._finding import Finding
from coeval.alignment._fit import UNKNOWN_EARLIEST, UNKNOWN_LATEST
from coeval.alignment._instants import UNKNOWN_ESTIMATE, both_known
from coeval.alignment._stretch import Stretch
from coeval.clocks import ClockId, Grade


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
    How one clock lies against its reference, between two known steps.

    Attributes:
        clock, reference: offsets and rates are of `clock` against `reference`; positive: ahead, faster.
        stretch: which part of the clock between known steps, from 0.
        sent_count, received_count: the messages from the clock to the reference, and back, that bound it.
        anchor_count: the anchors of this clock.
        trusted: False where the evidence contradicts itself (see `findings`); then nothing is placed by it.
        reading_ns: the clock's reading in the middle of the evidence; None: there is none.
        declared, assumed: the offset at that reading, by grade.
        rate_ppm: the estimate of the mean rate; None where the evidence cannot tell it.
        rate_ppm_least, rate_ppm_greatest: the declared bounds of the mean rate over the evidence.
        wander_ppm: the assumption of the assumed grade: the rate changes by no more than this in all. None: there is no
            assumed grade here beyond the declared one.
        wander_ppm_consistent: the smallest such change that explains all messages; 0: a steady rate does.
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
    wander_ppm: float | None
    wander_ppm_consistent: float | None
    findings: tuple[Finding, ...]


def clock_fit(stretch: Stretch, findings: Sequence[Finding]) -> ClockFit:
    """Sum up one stretch."""
    evidence, wander = stretch.fit.evidence, stretch.fit.wander
    middle_ns = None if evidence is None else (evidence[0] + evidence[1]) // 2
    slope_least, slope_most = _mean_slope(stretch)
    slope = None if wander is None else min(max(wander.slope, slope_least), slope_most)
    return ClockFit(
        stretch.clock,
        stretch.reference,
        stretch.number,
        len(stretch.sent),
        len(stretch.received),
        stretch.anchor_count,
        stretch.trusted,
        middle_ns,
        _offset(stretch, middle_ns, "declared"),
        _offset(stretch, middle_ns, "assumed"),
        None if slope is None else _clock_rate_ppm(slope),
        _clock_rate_ppm(slope_most),
        _clock_rate_ppm(slope_least),
        None if wander is None else float(wander.assumed) * 1e6,
        None if wander is None else float(wander.consistent) * 1e6,
        tuple(finding for finding in findings if finding.clock == stretch.clock),
    )


def _offset(stretch: Stretch, reading_ns: int | None, grade: Grade) -> OffsetInterval:
    if reading_ns is None:
        return OffsetInterval(None, None, None, None, None)
    at = stretch.bounds(np.array([reading_ns], dtype=np.int64), grade)
    earliest, estimate, latest = (int(column[0]) for column in at)
    widths = _widths(stretch, grade)
    return OffsetInterval(
        None if latest == UNKNOWN_LATEST else reading_ns - latest,
        None if estimate == UNKNOWN_ESTIMATE else reading_ns - estimate,
        None if earliest == UNKNOWN_EARLIEST else reading_ns - earliest,
        min(widths, default=None),
        max(widths, default=None),
    )


def _widths(stretch: Stretch, grade: Grade) -> list[int]:
    """The least and the greatest width over the evidence; empty where a side is unknown."""
    assert stretch.fit.evidence is not None
    bands = [band for band in (stretch.fit.declared, stretch.fit.assumed) if band is not None]
    readings = np.concatenate([band.turning_points() for band in bands])
    first, last = stretch.fit.evidence
    readings = np.unique(np.concatenate((readings[(readings >= first) & (readings <= last)], [first, last])))
    earliest, _, latest = stretch.bounds(readings, grade)
    known = both_known(earliest, latest)
    widths = latest[known] - earliest[known]
    return [int(widths.min()), int(widths.max())] if len(widths) else []


def _mean_slope(stretch: Stretch) -> tuple[Fraction, Fraction]:
    """Least and greatest mean of dy/dx - 1 over the evidence, by the declared bounds at both of its ends."""
    least, most = -stretch.slope_limit, stretch.slope_limit
    if stretch.fit.evidence is None or stretch.fit.evidence[0] == stretch.fit.evidence[1]:
        return least, most
    ends = np.array(stretch.fit.evidence, dtype=np.int64)
    earliest, _, latest = stretch.bounds(ends, "declared")
    run = int(ends[1]) - int(ends[0])
    if earliest[1] != UNKNOWN_EARLIEST and latest[0] != UNKNOWN_LATEST:
        least = max(least, Fraction(int(earliest[1]) - int(latest[0]), run) - 1)
    if latest[1] != UNKNOWN_LATEST and earliest[0] != UNKNOWN_EARLIEST:
        most = min(most, Fraction(int(latest[1]) - int(earliest[0]), run) - 1)
    return least, most


def _clock_rate_ppm(slope: Fraction) -> float:
    """The rate of the clock against its reference, from the reference's against the clock."""
    return float(-slope / (1 + slope)) * 1e6
