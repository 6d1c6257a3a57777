"""
Sorting the evidence: which messages are believed, which clocks stepped and when, which were slewed.

    a system without contradiction               everything is believed
    else, each pair of clocks (_pair_scan.py)    false messages, and breaks between the two
      breaks of several pairs                    steps of one clock: the one whose other pairs break as well
      many breaks of one sign                    no steps but a slew: the rate bound does not hold, and is raised
    what is left, circles through many clocks    the message that sticks out most of its own kind

Nothing is dropped silently: each row that is not believed or cannot be sorted is counted in a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coeval.alignment._ends import ends_of, strands_at
from coeval.alignment._finding import Finding, FindingKind
from coeval.alignment._messages import Messages, described
from coeval.alignment._ownership import Step, is_seen_in, owned
from coeval.alignment._pair_scan import Points, is_consistent
from coeval.alignment._pairs import SCANNED_PER_BUCKET, PairScan, clocks_of, is_mixed, pairs_of, scanned
from coeval.alignment._rate import GRID_BITS, Int64Array
from coeval.alignment._strands import Cut, Sorting, first_strands, strands_of
from coeval.alignment._unwrapping import scanned_without_steps

# So many steps of one sign, one after the other, are a clock that is being slewed.
SLEW_STEPS_LEAST = 4

# A slew is looked for up to this rate; beyond it, it is steps after all. chrony slews by up to 83 333 ppm.
SLEW_PPM_MOST = 100_000

_NONE = np.empty(0, dtype=np.int64)

# Circles through more than two clocks that are broken one by one, at most; then all messages in one are given up.
_CIRCLES_MOST = 200


@dataclass(frozen=True, eq=False, slots=True)
class Sorted:
    """
    Attributes:
        sorting: believed rows and their strands.
        pinned: the strand that is the axis: the reference clock's, or of its strands the one with most messages.
        limits: the rate bound of each clock against the reference, on the grid, raised where it does not hold.
        rejected: rows that are not believed: they contradict the others.
        false_rows: those of them that scans of pairs found; the rest was in circles.
        unsorted: rows of which it cannot be told whether they were before or after a step.
        steps: of all clocks, in the order of clocks and readings.
        findings: what to tell of it.
        is_scanned: whether pairs were looked at already.
        circles: how many were broken.
    """

    sorting: Sorting
    pinned: int
    limits: tuple[int, ...]
    rejected: Int64Array
    false_rows: Int64Array
    unsorted: Int64Array
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    is_scanned: bool = False
    circles: int = 0


def hard_rows(messages: Messages) -> Int64Array:
    """The messages that bound anything: hard ones between two clocks."""
    return np.flatnonzero(messages.hard & (messages.sender != messages.receiver))


def everything_believed(
    messages: Messages, rows: Int64Array, splits: Sequence[Sequence[int]], limits: Sequence[int]
) -> Sorted:
    """
    Believe these messages, with the steps that are given.

    Args:
        rows: all hard messages between two clocks, or those of them that matter.
        splits: of each clock, the readings at which it is known to have stepped.
        limits: of each clock, its rate bound against the reference, on the grid.
    """
    steps = tuple(
        Step(code, Cut(split - 1, split, is_given=True), (-np.inf, np.inf), True, ())
        for code, of_clock in enumerate(splits)
        for split in of_clock
    )
    return _sorted(messages, rows, steps, tuple(limits), _NONE, ())


def with_pairs_scanned(messages: Messages, believed: Sorted) -> Sorted:
    """Look for false messages, steps and slews in each pair of clocks."""
    given = {step.clock for step in believed.steps}
    scans = [
        found
        for pair in pairs_of(messages, believed.sorting.rows)
        # Where steps were given the strands are known: what is false there, circles show.
        if not given.intersection(clocks_of(messages, pair))
        and (found := scanned(messages, pair, believed.limits)) is not None
    ]
    rows = believed.sorting.rows
    settled = _scanned_again(messages, rows, _reliable(scans), believed.limits)
    left_out = [scan for scan in scans if scan not in settled]
    scans = settled
    limits, findings = list(believed.limits), list(believed.findings)
    slewed = _slews(messages, scans, limits, findings)
    breaks = [scan for number, scan in enumerate(scans) if number not in slewed]
    rejected = np.unique(np.concatenate([believed.rejected, *(scan.false_rows for scan in scans)]))
    left_out += [scan for number, scan in enumerate(scans) if number in slewed]
    witnesses = _without_pairs_of(rows, left_out)
    steps = owned(messages, witnesses, breaks, limits, believed.steps)
    made = _sorted(messages, np.setdiff1d(rows, rejected), steps, tuple(limits), rejected, tuple(findings))
    return replace(made, is_scanned=True)


def without_circle(messages: Messages, believed: Sorted, rows: Sequence[int]) -> Sorted:
    """
    Give up the message of a circle that sticks out most: it is faster than the others of its kind nearby by more than
    any other message of the circle is. Where none does, all of them.

    Args:
        rows: the messages of the circle, which cannot all be true.
    """
    lead = [_lead_ns(messages, believed.sorting.rows, row) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: -lead[index])
    is_clear = len(rows) > 1 and lead[order[0]] > lead[order[1]] and believed.circles < _CIRCLES_MOST
    given_up = [rows[order[0]]] if is_clear else list(rows)
    finding = _circle_finding(messages, believed, rows, given_up)
    rejected = np.union1d(believed.rejected, np.array(given_up, dtype=np.int64))
    keep = ~np.isin(believed.sorting.rows, rejected)
    sorting = replace(
        believed.sorting,
        rows=believed.sorting.rows[keep],
        sent_strand=believed.sorting.sent_strand[keep],
        received_strand=believed.sorting.received_strand[keep],
    )
    return replace(
        believed,
        sorting=sorting,
        rejected=rejected,
        findings=(*believed.findings, finding),
        circles=believed.circles + 1,
    )


def _reliable(scans: Sequence[PairScan]) -> list[PairScan]:
    """
    Leave out scans that call a large part of a pair's messages false, where other pairs tell of both its clocks.

    Along the readings of two clocks that both were set, what was before and what was after is mixed.
    """
    reliable = [scan for scan in scans if not is_mixed(scan)]
    told = [clock for scan in reliable for clock in (scan.near, scan.far)]
    return [scan for scan in scans if scan in reliable or not (scan.near in told and scan.far in told)]


def _scanned_again(
    messages: Messages, rows: Int64Array, scans: Sequence[PairScan], limits: Sequence[int]
) -> list[PairScan]:
    """
    Where both clocks of a pair were set back, it is mixed along either. Then what the other pairs tell of one of the
    two is taken off, and the pair is scanned again, as long as that tells more.

    Returns:
        The others, and those that are clear then; those that are not, as they were.
    """
    found = {(scan.near, scan.far): scan for scan in scans}
    is_new = len(found) > 1  # else there are no others
    while is_new:
        mixed = [scan for scan in found.values() if is_mixed(scan)]
        clear = [scan for scan in found.values() if scan not in mixed]
        steps = owned(messages, _without_pairs_of(rows, mixed), clear, limits, ()) if clear else ()
        is_new = False
        for scan in [*mixed, *(scan for scan in clear if _is_along_set_back(scan, steps))]:
            again = scanned_without_steps(messages, scan.rows, steps, limits)
            if again.is_clear:
                is_new = True
                del found[scan.near, scan.far]
                if again.scan is not None:
                    found[again.scan.near, again.scan.far] = again.scan
    return list(found.values())


def _is_along_set_back(scan: PairScan, steps: Sequence[Step]) -> bool:
    """Was the clock along which a scan went set back, as others tell, and does no step explain some break of it?"""
    if scan.is_without_steps or not any(
        step.clock == scan.near and step.sizes[1] < 0 and set(step.others) - {scan.far} for step in steps
    ):
        return False
    own = [step for step in steps if step.clock in (scan.near, scan.far)]
    return not all(
        np.isfinite(scan.gains[number]).all() and any(is_seen_in(step, scan, number) for step in own)
        for number in range(len(scan.breaks))
    )


def _without_pairs_of(rows: Int64Array, scans: Sequence[PairScan]) -> Int64Array:
    return np.setdiff1d(rows, np.concatenate([_NONE, *(scan.rows for scan in scans)]))


# Slews ---------------------------------------------------------------------------------------------------------------


def _slews(messages: Messages, scans: Sequence[PairScan], limits: list[int], findings: list[Finding]) -> set[int]:
    """Raise the rate bound of clocks whose breaks are a slew; returns which scans are explained by that."""
    explained: set[int] = set()
    for number, scan in enumerate(scans):
        signs = {scan.size_of(scan.far, each) > 0 for each in range(len(scan.breaks))}
        if len(scan.breaks) < SLEW_STEPS_LEAST or len(signs) != 1:
            continue
        declared = scan.points.slope
        consistent = _least_slope(scan.points)
        if consistent is None:
            continue
        explained.add(number)
        # Which of the two is slewed cannot be told from one pair; the reference is taken at its word.
        clock = scan.far if scan.near == 0 else scan.near if scan.far == 0 else max(scan.near, scan.far)
        raised = int(2 * consistent * (1 << GRID_BITS))
        limits[clock] = max(limits[clock], min(raised, SLEW_PPM_MOST * 2 * (1 << GRID_BITS) // 10**6))
        name, other = messages.clocks[clock], messages.clocks[scan.far if clock == scan.near else scan.near]
        findings.append(
            Finding(
                "rate bound exceeded",
                name,
                f"Clock {name} was slewed against {other}: {len(scan.breaks)} times in a row its offset moved the same "
                f"way, further than {declared * 1e6:.0f} ppm explain, and {consistent * 1e6:.0f} ppm explain it all. "
                f"Its rate is taken to stay within {2 * consistent * 1e6:.0f} ppm instead. Declare that rate bound, or "
                "use stamps of a clock that nothing slews (CLOCK_MONOTONIC_RAW).",
                len(scan.breaks),
            )
        )
    return explained


def _least_slope(points: Points) -> float | None:
    """The smallest rate at which the points do not contradict each other, up to 5 %; None: none that a slew has."""
    too_small, enough = points.slope, SLEW_PPM_MOST / 1e6
    if not is_consistent(replace(points, slope=enough)):
        return None
    while enough - too_small > 0.05 * enough:
        middle = (too_small + enough) / 2
        if is_consistent(replace(points, slope=middle)):
            enough = middle
        else:
            too_small = middle
    return enough


# Strands -------------------------------------------------------------------------------------------------------------


def _sorted(
    messages: Messages,
    rows: Int64Array,
    steps: Sequence[Step],
    limits: tuple[int, ...],
    rejected: Int64Array,
    findings: tuple[Finding, ...],
) -> Sorted:
    """Give each end of each row its strand; leave out those of which it cannot be told."""
    count = len(messages.clocks)
    cuts: dict[int, list[Cut]] = {}
    for step in steps:
        cuts.setdefault(step.clock, []).append(step.cut)
    strands = strands_of(count, cuts)
    first = first_strands(strands, count)
    sent_strand, received_strand = first[messages.sender[rows]], first[messages.receiver[rows]]
    is_sorted = np.ones(len(rows), dtype=np.bool_)
    for clock in cuts:
        of_clock = [step for step in steps if step.clock == clock]
        for ends in (ends_of(messages, rows, clock, sends=True), ends_of(messages, rows, clock, sends=False)):
            others = ends_of(messages, rows, clock, sends=not ends.sends)
            numbers, is_known = strands_at(ends, others, of_clock, limits, list(cuts))
            is_known &= ~np.isin(ends.low, [reading for cut in cuts[clock] for reading in cut.others_ns])
            (sent_strand if ends.sends else received_strand)[ends.places] += numbers
            is_sorted[ends.places[~is_known]] = False
    pinned = int(first[0])
    if 0 in cuts:
        sent = np.bincount(sent_strand[is_sorted], minlength=len(strands))
        sent += np.bincount(received_strand[is_sorted], minlength=len(strands))
        own = [number for number, strand in enumerate(strands) if strand.clock == 0]
        pinned = max(own, key=lambda number: int(sent[number]))
    sorting = Sorting(rows[is_sorted], sent_strand[is_sorted], received_strand[is_sorted], strands, cuts)
    return Sorted(sorting, pinned, limits, rejected, rejected, rows[~is_sorted], tuple(steps), findings)


# Circles -------------------------------------------------------------------------------------------------------------


def _lead_ns(messages: Messages, rows: Int64Array, row: int) -> float:
    """By how much a message was faster than any other of its direction near it; infinite where there is none."""
    same = rows[(messages.sender[rows] == messages.sender[row]) & (messages.receiver[rows] == messages.receiver[row])]
    same = same[same != row]
    if not len(same):
        return float("inf")
    gap = messages.sent_ns[same] - messages.sent_ns[row]
    near = same[np.argsort(np.abs(gap), kind="stable")[: SCANNED_PER_BUCKET * 8]]
    took = messages.received_by_ns[near] - messages.sent_ns[near]
    return float(took.min() - (int(messages.received_by_ns[row]) - int(messages.sent_ns[row])))


def _circle_finding(messages: Messages, believed: Sorted, rows: Sequence[int], given_up: Sequence[int]) -> Finding:
    shown = tuple(messages[row] for row in rows[:4])
    told = " and ".join(described(message) for message in shown) + (" and more" if len(rows) > 4 else "")
    codes = {int(messages.sender[row]) for row in rows} | {int(messages.receiver[row]) for row in rows}
    clock = messages.clocks[max(codes)]
    limit = max(believed.limits[code] for code in codes) / (1 << GRID_BITS) * 1e6
    blame = (
        f"{described(messages[given_up[0]])} is not believed, because it is faster than the others of its kind"
        if len(given_up) == 1
        else "None of them is believed, because none sticks out"
    )
    return Finding(
        "contradiction",
        clock,
        f"{len(rows)} messages cannot all be true while clocks keep their rates within {limit:.6g} ppm of the "
        f"reference: {told}. {blame}. Either a clock stepped between them (give the reading in segments=), "
        "or a rate bound is too small, or one of them is false.",
        len(given_up),
        messages=tuple(messages[row] for row in given_up[:2]),
    )


def sorting_findings(messages: Messages, believed: Sorted) -> list[Finding]:
    """What was found, for people."""
    findings = list(believed.findings)
    if len(believed.false_rows):
        findings += _counted(
            messages,
            believed.false_rows,
            "wrong pair",
            "contradict what came before them and what came after them, so they are not believed (such are replies "
            "matched with another request)",
        )
    if len(believed.unsorted):
        findings += _counted(
            messages,
            believed.unsorted,
            "unsorted messages",
            "came so near a step that it cannot be told whether they were before or after it, so they narrow no bound",
        )
    return findings


def _counted(messages: Messages, rows: Int64Array, kind: FindingKind, reason: str) -> list[Finding]:
    findings = []
    codes = np.maximum(messages.sender[rows], messages.receiver[rows])
    for code in np.unique(codes).tolist():
        mine = rows[codes == code]
        clock, examples = messages.clocks[code], tuple(messages[row] for row in mine[:2].tolist())
        text = f"{len(mine)} messages of clock {clock} {reason}; the first: {described(examples[0])}."
        findings.append(Finding(kind, clock, text, len(mine), messages=examples))
    return findings
