from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coeval import Executor
from coeval.clocks import UTC, Instant
from coeval.errors import NotARun
from coeval.recording import Recording
from coeval.recording._rows import (
    ClockRow,
    EventRow,
    ExecutorRow,
    FunctionRow,
    HostRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.timeline import RunTimeline, TimelineEvent, open_run

START_NS = 7_000_000_000_000
WALL_NS = 1_790_000_000_000_000_000
STAGES = ("handed over", "started", "finished", "seen")

simulations = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def holds(instant: Instant, true_ns: int) -> bool:
    """Whether the truth, by the driver's clock, is within the instant."""
    there = true_ns - START_NS + WALL_NS
    return (instant.earliest_ns is None or instant.earliest_ns <= there) and (
        instant.latest_ns is None or there <= instant.latest_ns
    )


hosts = st.lists(
    st.tuples(st.integers(-(10**17), 10**17), st.integers(-60, 60)),
    min_size=1,
    max_size=3,
)


def a_run(simulated: Any, far_host: Any, shapes: list[tuple[int, int]], **options: Any) -> Any:
    return simulated(
        [far_host(f"far{n}", origin_ns=origin, rate_ppm=rate) for n, (origin, rate) in enumerate(shapes)], **options
    )


@simulations
@given(shapes=hosts, seed=st.integers(0, 10**6), batch_items=st.integers(1, 3))
def test_the_truth_is_within_every_instant_whatever_the_clocks_show(
    simulated: Any, far_host: Any, shapes: list[tuple[int, int]], seed: int, batch_items: int
) -> None:
    run = a_run(simulated, far_host, shapes, seed=seed, batch_items=batch_items)
    timeline = RunTimeline.of(run.recording)
    checked = 0
    for event in timeline.events:
        if (event.call, event.kind) in run.true_ns:
            assert holds(event.begin, run.true_ns[event.call, event.kind])
            checked += 1
    assert checked == 40 * batch_items * 4 + 40
    assert timeline.problems == ()


@simulations
@given(shapes=hosts, seed=st.integers(0, 10**6))
def test_corrected_times_of_messages_and_of_each_clock_never_run_backwards(
    simulated: Any, far_host: Any, shapes: list[tuple[int, int]], seed: int
) -> None:
    timeline = RunTimeline.of(a_run(simulated, far_host, shapes, seed=seed).recording)
    events = list(timeline.events)
    place: dict[tuple[int, str], int] = {(event.call, event.kind): number for number, event in enumerate(events)}
    by_clock: dict[str, list[int]] = {}
    estimates = []
    for event in events:
        by_clock.setdefault(event.begin_stamp.clock, []).append(event.begin_stamp.reading_ns)
        assert event.begin.estimate_ns is not None
        estimates.append(event.begin.estimate_ns)
    assert estimates == sorted(estimates)
    for readings in by_clock.values():
        assert readings == sorted(readings)
    for call in range(40):
        stages = [place[call, stage] for stage in STAGES]
        assert stages == sorted(stages)
        assert stages[1] < place[call, "mark"] < stages[2]


@simulations
@given(shapes=hosts, seed=st.integers(0, 10**6), batch_items=st.integers(1, 2), data=st.data())
def test_before_never_contradicts_the_truth_and_the_order_never_contradicts_before(
    simulated: Any, far_host: Any, shapes: list[tuple[int, int]], seed: int, batch_items: int, data: st.DataObject
) -> None:
    run = a_run(simulated, far_host, shapes, seed=seed, call_count=12, batch_items=batch_items)
    timeline = RunTimeline.of(run.recording)
    events = [event for event in timeline.events if (event.call, event.kind) in run.true_ns and event.piece is None]
    for _ in range(60):
        a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(events) - 1)] * 2)))
        first, second = events[a], events[b]
        truth = run.true_ns[first.call, first.kind] < run.true_ns[second.call, second.kind]
        assert timeline.before(first, second) in (truth, None)
        assert timeline.before(second, first) is not True or a == b


@pytest.fixture
def pieces() -> RunTimeline:
    """Two calls that share a start and an end, and a mark between them."""
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "A", "3.11"),
        ProcessRow(1, "worker", "home", 2, "A", "3.11", 0),
        ExecutorRow(0, "x", 1),
        FunctionRow(0, 0, "m:f", ""),
        SentRow(0, 0, 1, 0, [0, 1], 100),
        OutcomeRow(0, 0, 0, 2, "ok", 1, 100, 200, 900, 1000),
        EventRow(1, 0, 0, 1, "mark", 500, None, "half", {}),
    ]
    return RunTimeline.of(Recording(rows))


def event_of(timeline: RunTimeline, kind: str, call: int) -> TimelineEvent:
    return next(event for event in timeline.events if (event.kind, event.call) == (kind, call))


def test_calls_that_share_their_stamps_ran_in_the_order_of_their_items(pieces: RunTimeline) -> None:
    start = [event_of(pieces, "started", call) for call in (0, 1)]
    end = [event_of(pieces, "finished", call) for call in (0, 1)]
    assert pieces.before(start[0], start[1]) is True
    assert pieces.before(start[1], start[0]) is False
    assert pieces.before(end[0], start[1]) is True
    assert pieces.before(start[0], end[0]) is True
    assert pieces.before(start[0], start[0]) is False


def test_a_shared_start_is_somewhere_in_its_piece_and_not_called_exact(pieces: RunTimeline) -> None:
    start, mark, seen = event_of(pieces, "started", 1), event_of(pieces, "mark", 1), event_of(pieces, "seen", 1)
    assert start.shared_by == 2
    assert (start.begin.earliest_ns, start.begin.latest_ns) == (200, 900)
    assert pieces.before(start, mark) is None
    assert pieces.before(start, seen) is True
    call = pieces.calls[1]
    assert call.running == (0, 700)
    assert call.queued == (100, 800)
    assert call.begin == start.begin


def test_one_reading_of_one_clock_is_a_tie_and_a_tie_is_not_before(pieces: RunTimeline) -> None:
    first, second = event_of(pieces, "handed over", 0), event_of(pieces, "handed over", 1)
    assert pieces.before(first, second) is False
    assert pieces.before(second, first) is False


def test_before_can_be_asked_of_ends(pieces: RunTimeline) -> None:
    rows = [*pieces.recording, EventRow(1, 0, 0, 1, "span", 300, 600, "part", {})]
    timeline = RunTimeline.of(Recording(rows))
    span, mark = event_of(timeline, "span", 1), event_of(timeline, "mark", 1)
    assert timeline.before(span, mark) is True
    assert timeline.before(span, mark, of_first="end") is False
    assert timeline.before(mark, span, of_second="end") is True


def test_without_an_anchor_it_is_the_time_of_the_drivers_host(simulated: Callable[..., Any], far_host: Any) -> None:
    timeline = RunTimeline.of(simulated([far_host("far")]).recording)
    assert timeline.reference_label == "time of host home"
    assert timeline.reference == "boot-home/0/monotonic_raw"


def test_a_kernel_that_bounds_its_error_puts_the_timeline_on_utc(simulated: Callable[..., Any], far_host: Any) -> None:
    run = simulated([far_host("far", origin_ns=10**15)])
    run.rows.insert(2, HostRow(0, START_NS, "UTC", 0, "yes", 3_000_000, ""))
    timeline = RunTimeline.of(run.recording)
    assert (timeline.reference, timeline.reference_label) == (UTC, "UTC")
    widths = []
    for event in timeline.events:
        if (event.call, event.kind) in run.true_ns:
            assert holds(event.begin, run.true_ns[event.call, event.kind])
            assert event.begin.width_ns is not None
            widths.append(event.begin.width_ns)
    assert min(widths) >= 6_000_000, "the kernel's own error is part of every bound"
    assert max(widths) < 12_000_000


def test_kernels_that_contradict_each_other_leave_it_off_utc_and_say_so(
    simulated: Callable[..., Any], far_host: Any
) -> None:
    run = simulated([far_host("far", wall_ahead_ns=10**10)])
    run.rows.insert(2, HostRow(0, START_NS, "UTC", 0, "yes", 1_000_000, ""))
    run.rows.append(HostRow(1, START_NS, "UTC", 0, "yes", 1_000_000, ""))
    timeline = RunTimeline.of(run.recording)
    assert timeline.reference_label == "time of host home"
    assert any("kernel of far" in problem for problem in timeline.problems)


def test_a_host_that_exchanged_nothing_has_unknown_times_that_come_last(
    simulated: Callable[..., Any], far_host: Any
) -> None:
    run = simulated([far_host("far")])
    run.rows.append(ProcessRow(9, "worker", "lost", 7, "boot-lost", "3.11", 5))
    run.rows.append(ClockRow(9, 50, WALL_NS, 0, 60))
    timeline = RunTimeline.of(run.recording)
    last = timeline.events[-2:]
    assert [event.host for event in last] == ["lost", "lost"]
    assert [event.kind for event in last] == ["worker first seen", "worker last seen"]
    assert all(
        (event.begin.earliest_ns, event.begin.estimate_ns, event.begin.latest_ns) == (None, None, None)
        for event in last
    )
    assert timeline.before(timeline.events[0], last[0]) is None


def test_a_process_whose_messages_refute_its_clock_gets_one_of_its_own(
    simulated: Callable[..., Any], far_host: Any
) -> None:
    clone = far_host("home", origin_ns=-(10**12), claims="boot-home/0/monotonic_raw")
    run = simulated([far_host("home"), clone])
    timeline = RunTimeline.of(run.recording)
    assert any("COEVAL_CLOCK_ID" in problem for problem in timeline.problems)
    for event in timeline.events:
        if (event.call, event.kind) in run.true_ns:
            assert holds(event.begin, run.true_ns[event.call, event.kind])
    assert {event.begin_stamp.clock for event in timeline.events} == {
        "boot-home/0/monotonic_raw",
        "boot-home/0/monotonic_raw~home:102",
    }


def test_the_driver_keeps_its_clock_even_where_more_processes_contradict_it(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    clone = far_host("home", origin_ns=-(10**12), claims="boot-home/0/monotonic_raw")
    timeline = RunTimeline.of(simulated([clone, clone, clone]).recording)
    assert timeline.clocks[0].is_reference
    assert timeline.clocks[0].clock == "boot-home/0/monotonic_raw"
    assert [claim.role for claim in timeline.clocks[0].processes] == ["driver"]


def test_an_empty_recording_is_an_empty_timeline() -> None:
    timeline = RunTimeline.of(Recording([]))
    assert (len(timeline.events), len(timeline.calls), timeline.clocks, timeline.problems) == (0, 0, (), ())
    assert "nothing was recorded" in timeline.summary()
    assert "<table>" in timeline._repr_html_()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        open_run(tmp_path)


def double(number: int) -> int:
    return 2 * number


def test_what_an_executor_keeps_and_what_it_recorded_give_the_same_calls(tmp_path: Path) -> None:
    with Executor("local:2", run=tmp_path / "run") as executor:
        assert sum(executor.map(double, range(20), chunksize=4)) == 380
    kept, recorded = executor.timeline, open_run(tmp_path / "run")
    assert len(kept.calls) == len(recorded.calls) == 20
    for timeline in (kept, recorded):
        assert {call.status for call in timeline.calls} == {"finished"}
        assert timeline.problems == ()
    assert [call.last.stamps for call in kept.calls] == [call.last.stamps for call in recorded.calls]
