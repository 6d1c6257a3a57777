from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coeval.clocks import ClockId, Stamp
from coeval.recording import Recording
from coeval.recording._rows import (
    AnchorRow,
    ClockRow,
    EventRow,
    ExecutorRow,
    HostRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.timeline import RunTimeline
from coeval.timeline._attempts import attempts_of
from coeval.timeline._evidence import Evidence, evidence_of, process_names

START_NS = 7_000_000_000_000
SLEPT_NS = 3_600_000_000_000


def evidence(rows: list[Row]) -> Evidence:
    recording = Recording(rows)
    return evidence_of(recording, attempts_of(recording))


def test_each_process_has_a_name_of_its_own_also_where_a_pid_comes_again() -> None:
    rows = [ProcessRow(n, "worker", "home", pid, "A", "") for n, pid in enumerate((7, 7, 8))]
    assert process_names(rows) == ("home:7", "home:7#1", "home:8")


def test_calls_of_one_piece_are_one_message_each_way() -> None:
    found = evidence(
        [
            ProcessRow(0, "driver", "home", 1, "A", ""),
            ProcessRow(1, "worker", "far", 2, "B", "", 0),
            ExecutorRow(0, "x", 1),
            SentRow(0, 0, 1, 0, list(range(50)), 10),
            OutcomeRow(0, 0, 0, 50, "ok", 1, 10, 20, 30, 40),
        ]
    )
    (fit,) = found.alignment.report()
    assert (fit.sent_count, fit.received_count) == (1, 1)


def test_a_try_that_only_started_is_one_message_and_one_sided_bounds() -> None:
    found = evidence(
        [
            ProcessRow(0, "driver", "home", 1, "A", ""),
            ProcessRow(1, "worker", "far", 2, "B", "", 0),
            ExecutorRow(0, "x", 1),
            SentRow(0, 0, 1, 0, [0], 10),
            OutcomeRow(0, 0, 0, 1, "died", 1, 10, 5000, 0, 40),
        ]
    )
    (fit,) = found.alignment.report()
    assert (fit.sent_count, fit.received_count) == (0, 1)


def test_without_any_reading_of_the_wall_clock_it_says_that_times_are_no_dates(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    run = simulated([far_host("far")])
    found = evidence([row for row in run.rows if not isinstance(row, ClockRow)])
    assert any("not from 1970" in problem for problem in found.problems)


def host_row(reading_ns: int) -> HostRow:
    return HostRow(0, reading_ns, "UTC", 0, "yes", 1_000_000, "")


def snapshot(raw_ns: int, wall_ns: int) -> ClockRow:
    return ClockRow(0, raw_ns, wall_ns, raw_ns, raw_ns + 10)


def test_a_kernels_bound_anchors_the_nearest_snapshot_widened_by_what_was_slewed_since() -> None:
    wall = 10**18
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "A", ""),
        snapshot(10**12, wall),
        snapshot(10**12 + 5 * 10**9, wall + 5 * 10**9),
        host_row(10**12 + 4 * 10**9),
    ]
    timeline = RunTimeline.of(Recording(rows))
    assert timeline.reference_label == "UTC"
    entry = timeline.clocks[0]
    assert entry.wall_declared.least_ns is not None
    assert entry.wall_declared.greatest_ns is not None
    # 1 ms each way, and 500 ppm of one second each way.
    assert 3_000_000 <= entry.wall_declared.greatest_ns - entry.wall_declared.least_ns < 3_001_000


def test_a_kernels_bound_does_not_anchor_across_a_step_of_the_wall_clock() -> None:
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "A", ""),
        snapshot(10**12, 10**18),
        snapshot(10**12 + 5 * 10**9, 10**18 + 65 * 10**9),
        host_row(10**12 + 2 * 10**9),
    ]
    assert not evidence(rows).alignment.on_utc


def with_sleep(simulated: Any, far_host: Any, who: str) -> Any:
    """A host whose raw clock stands still for an hour in the middle of the run, with a snapshot on either side."""
    run = simulated([far_host("far", origin_ns=10**15)], call_count=60)
    middle = sorted(true for (_, what), true in run.true_ns.items() if what == "handed over")[30] - 1
    later = [key for key, true in run.true_ns.items() if true > middle]
    rows: list[Row] = []
    for row in run.rows:
        if isinstance(row, OutcomeRow) and row.seen_ns > middle:
            far_ns = -SLEPT_NS if who == "far" and row.started_ns - 10**15 > middle else 0
            if row.handed_over_ns <= middle:
                continue  # its call was under way when the lid was closed; of no matter here
            home_ns = -SLEPT_NS if who == "home" else 0
            row = row._replace(
                handed_over_ns=row.handed_over_ns + SLEPT_NS + home_ns,
                seen_ns=row.seen_ns + SLEPT_NS + home_ns,
                started_ns=row.started_ns + SLEPT_NS + far_ns,
                finished_ns=row.finished_ns + SLEPT_NS + far_ns,
            )
        if isinstance(row, ClockRow):
            continue
        rows.append(row)
    process, origin = (1, 10**15) if who == "far" else (0, 0)
    for true_ns, slept in ((START_NS, 0), (middle - 10, 0), (middle + 10, SLEPT_NS), (START_NS + 10**9, SLEPT_NS)):
        raw = origin + true_ns
        rows.insert(3, ClockRow(process, raw, 10**18 + true_ns + slept, raw + slept, raw + 5))
    run.rows = rows
    for key in later:
        run.true_ns[key] += SLEPT_NS
    return run


def test_a_host_that_slept_is_placed_rightly_before_and_after(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    run = with_sleep(simulated, far_host, "far")
    timeline = RunTimeline.of(run.recording)
    far = next(entry for entry in timeline.clocks if entry.hosts == ("far",))
    assert [change.kind for change in far.changes] == ["suspend"]
    assert far.changes[0].size_ns_least <= SLEPT_NS <= far.changes[0].size_ns_greatest
    shift = timeline_epoch(timeline)
    narrow = 0
    for event in timeline.events:
        if event.kind in ("started", "finished"):
            true_ns = run.true_ns[event.call, event.kind]
            earliest, latest = event.begin.earliest_ns, event.begin.latest_ns
            assert earliest is None or earliest - shift <= true_ns
            assert latest is None or true_ns <= latest - shift
            narrow += event.begin.width_ns is not None and event.begin.width_ns < 10**6
    assert narrow > 80, "both sides of the sleep are well known"


def timeline_epoch(timeline: RunTimeline) -> int:
    """What was added to the reference's readings."""
    event = next(event for event in timeline.events if event.kind == "seen")
    assert event.begin.estimate_ns is not None
    return event.begin.estimate_ns - event.begin_stamp.reading_ns


def test_where_the_reference_slept_other_hosts_are_unknown_and_it_says_why(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    timeline = RunTimeline.of(with_sleep(simulated, far_host, "home").recording)
    assert any("was suspended during the run" in problem for problem in timeline.problems)
    for event in timeline.events:
        known = (event.begin.earliest_ns is not None, event.begin.latest_ns is not None)
        assert known == ((True, True) if event.host == "home" else (False, False))


def test_between_the_snapshots_around_a_sleep_nothing_is_taken_for_before_or_after_it() -> None:
    second = 10**9
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "A", ""),
        ClockRow(0, 1, 10**18, 1, 2),
        ProcessRow(1, "worker", "far", 2, "B", "", 0),
        ExecutorRow(0, "x", 1),
    ]
    # The raw clock of `far` shows what the driver's does, until at 1002 s it stands still for an hour. Nobody knows
    # when, only that it was between the snapshots at 1000 s and at 1005 s.
    for raw_s, slept_ns in ((990, 0), (1000, 0), (1005, SLEPT_NS), (1010, SLEPT_NS)):
        raw = raw_s * second
        rows.append(ClockRow(1, raw, 10**18 + raw + slept_ns, raw + slept_ns, raw + 5))
    truths = {}
    for batch, raw_s in enumerate((991, 999, 1001, 1006, 1009)):
        raw, true = raw_s * second, raw_s * second + (SLEPT_NS if raw_s > 1002 else 0)
        rows.append(SentRow(0, batch, 1, 0, [batch], true - 1000))
        rows.append(OutcomeRow(0, batch, 0, 1, "ok", 1, true - 1000, raw, raw + 1000, true + 2000))
        truths[batch, "started"] = true
    # By the exchange at 1001 s alone this would be two seconds later; it was an hour later.
    rows.append(EventRow(1, 0, 2, 0, "mark", 1003 * second, None, "late", {}))
    truths[2, "mark"] = 1003 * second + SLEPT_NS
    timeline = RunTimeline.of(Recording(rows))
    shift = timeline_epoch(timeline)
    for event in timeline.events:
        if (event.call, event.kind) in truths:
            earliest, latest = event.begin.earliest_ns, event.begin.latest_ns
            assert earliest is not None
            assert latest is not None
            assert earliest - shift <= truths[event.call, event.kind] <= latest - shift
            assert (latest - earliest < 10_000) == (event.call in (0, 1, 3, 4))


WALL = 10**18


def anchors(source: str, offset_ns: int = 0, *readings: int) -> list[AnchorRow]:
    """From a driver whose clock read 0 at UTC `WALL`; within 1 ms."""
    return [
        AnchorRow(0, at, WALL + at + offset_ns - 10**6, WALL + at + offset_ns + 10**6, source)
        for at in readings or (1000,)
    ]


DRIVER = ProcessRow(0, "driver", "home", 1, "A", "")


def test_recorded_anchors_put_the_run_on_utc_and_a_false_source_is_named() -> None:
    found = evidence([DRIVER, *anchors("a"), *anchors("b"), *anchors("c", 250 * 10**6)])
    assert found.alignment.on_utc
    instant = found.alignment.instant(Stamp(ClockId("A"), 1000))
    assert (instant.earliest_ns, instant.latest_ns) == (WALL + 1000 - 10**6, WALL + 1000 + 10**6)
    assert {one.source: one.verdict for one in found.agreement.verdicts} == {"a": "agrees", "b": "agrees", "c": "false"}
    assert [problem for problem in found.problems if "c is false" in problem]


def test_two_sources_that_disagree_leave_the_time_of_the_host_and_both_are_named() -> None:
    found = evidence([DRIVER, *anchors("a"), *anchors("b", 250 * 10**6)])
    assert not found.alignment.on_utc
    assert [problem for problem in found.problems if "a and b: b is at least 248.000 ms ahead of a" in problem]


def test_where_chrony_was_asked_the_kernel_has_no_voice_of_its_own() -> None:
    rows: list[Row] = [DRIVER, host_row(1000), snapshot(1000, WALL + 1000)]
    alone = evidence([*rows, *anchors("ntp a")])
    assert [one.source for one in alone.agreement.verdicts] == ["kernel of home", "ntp a"]
    told = evidence([*rows, *anchors("ntp a"), *anchors("chrony of home")])
    assert [one.source for one in told.agreement.verdicts] == ["chrony of home", "ntp a"]


def test_anchors_of_both_sides_of_a_suspend_do_not_make_a_source_false() -> None:
    """The driver's raw clock stood still for an hour between its two snapshots."""
    slept: list[Row] = [
        ClockRow(0, 10**9, WALL + 10**9, 10**9, 10**9 + 10),
        ClockRow(0, 3 * 10**9, WALL + 3 * 10**9 + SLEPT_NS, 3 * 10**9 + SLEPT_NS, 3 * 10**9 + 10),
    ]
    found = evidence([DRIVER, *slept, *anchors("a"), *anchors("a", SLEPT_NS, 4 * 10**9)])
    assert {one.verdict for one in found.agreement.verdicts} == {"alone"}


def test_anchors_of_a_process_that_nobody_knows_are_no_evidence() -> None:
    found = evidence([DRIVER, *(row._replace(process=7) for row in anchors("a"))])
    assert found.agreement.verdicts == ()
    assert not found.alignment.on_utc
