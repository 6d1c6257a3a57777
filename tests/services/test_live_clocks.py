"""Clocks of other hosts while calls run: a real Dask cluster whose worker's clocks the test sets, and knows."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

import coeval
from coeval.errors import ClockWarning
from coeval.executor import Executor
from coeval.testing import Gate, Skew, SkewedHost, leaks
from coeval.testing import _calls as calls
from coeval.testing._gate import wait_until
from coeval.timeline import RunTimeline
from tests.services.test_skewed_workers import START_S_MAX, start

MS_NS, SECOND_NS = 10**6, 10**9
PATIENCE_S = 60
# Its clocks count from elsewhere and are off by 50 ppm; its wall clock is right.
SKEW = Skew(0, 0, 30 * 86_400 * SECOND_NS, 50_000)
LONG_CALL_S = 8


class Cluster:
    """A scheduler on one host and a worker of one thread on another."""

    def __init__(self, url: str, worker: SkewedHost) -> None:
        self.url = url
        self.worker = worker


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("live")
    # The zone is wrong, which is nobody's clock.
    os.environ["TZ"], before = "Asia/Shanghai", os.environ.get("TZ")
    try:
        with SkewedHost("head") as head, SkewedHost("node1", SKEW) as node1:
            start(head, folder, "scheduler", "--port", "0")
            start(node1, folder, "worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder))
            with Client(scheduler_file=str(folder / "scheduler.json"), timeout=START_S_MAX) as client:  # type: ignore[no-untyped-call]
                client.wait_for_workers(1, timeout=START_S_MAX)
                url = client.scheduler.address.replace("tcp://", "dask://")
            yield Cluster(url, node1)
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before


@pytest.fixture
def node(cluster: Cluster) -> Iterator[SkewedHost]:
    """The worker's host, with its wall clock right before and after."""
    yield cluster.worker
    cluster.worker.set(replace(cluster.worker.now(), wall_offset_ns=0, wall_rate_ppb=0))


@contextmanager
def clock_warnings() -> Iterator[Callable[[], list[str]]]:
    """What is warned of clocks inside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [str(each.message) for each in caught if issubclass(each.category, ClockWarning)]


def declared_widths_ns(timeline: RunTimeline, node: SkewedHost, first_ns: int, last_ns: int) -> np.ndarray:
    """
    How wide the interval of the node's raw clock is, evenly over a while, which must hold the truth.

    Args:
        first_ns, last_ns: of this process's raw clock, which is the reference, and true.
    """
    true_ns = np.linspace(first_ns, last_ns, 2_000).astype(np.int64)
    shown_ns = np.array([node.truth.raw.shown(moment_ns) for moment_ns in true_ns.tolist()])
    offsets = timeline._evidence.alignment.offset(node.clock_id, shown_ns, "declared")
    assert (offsets.least_ns <= shown_ns - true_ns).all()
    assert (shown_ns - true_ns <= offsets.greatest_ns).all()
    widths_ns: np.ndarray = offsets.greatest_ns - offsets.least_ns
    return widths_ns


def long_call(url: str, clock_width: float | None, folder: Path) -> tuple[RunTimeline, int, int]:
    """One call alone; the run's timeline, and when it began to run and came home, by our raw clock."""
    with Executor(url, clock_width=clock_width, run=folder) as ex:
        ex.submit(time.sleep, LONG_CALL_S).result(PATIENCE_S)
    timeline = coeval.open_run(folder)
    (call,) = timeline.calls
    stamps = call.attempts[-1].stamps
    assert stamps.seen is not None
    end_ns = stamps.seen.reading_ns
    return timeline, end_ns - LONG_CALL_S * SECOND_NS, end_ns


def probe_count(timeline: RunTimeline) -> int:
    return sum(entry.probe_count for entry in timeline.clocks)


def test_probes_keep_the_width_of_a_long_call_and_without_them_it_is_not_kept(
    cluster: Cluster, node: SkewedHost, tmp_path: Path
) -> None:
    with Executor(cluster.url) as ex:  # what a round trip takes here, today
        ex.submit(abs, 1).result(PATIENCE_S)
    trip_ns = min(row.seen_ns - row.sent_ns for row in ex.timeline.recording.exchanges if row.sent_ns)
    # A busy machine makes single round trips slow; after some seconds another probe is due in any case.
    width_ns = 2 * trip_ns + 2 * MS_NS

    timeline, first_ns, last_ns = long_call(cluster.url, width_ns / 1e9, tmp_path / "probed")
    assert declared_widths_ns(timeline, node, first_ns, last_ns).max() <= width_ns
    # At once at first, then at most one a second, and one at the end.
    assert 1 < probe_count(timeline) <= 5 + LONG_CALL_S + 1 + 1

    timeline, first_ns, last_ns = long_call(cluster.url, None, tmp_path / "unprobed")
    assert probe_count(timeline) == 0
    # The call was handed over long before its worker had started: a poor probe.
    assert declared_widths_ns(timeline, node, first_ns, last_ns).min() > width_ns


def test_calls_that_come_home_quickly_leave_little_to_ask(cluster: Cluster) -> None:
    with Executor(cluster.url, clock_width=1.0) as ex:
        for number in range(200):
            assert ex.submit(abs, -number).result(PATIENCE_S) == number
        during = ex.statistics().probes
    # The worker when it was first heard of, and once more at the end.
    assert during <= 2
    assert ex.statistics().probes <= 3
    assert ex.statistics().probes == probe_count(ex.timeline)


def test_a_run_that_ends_by_itself_asks_once_more_and_leaves_no_thread(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody waits for the end: the thread that brings the last outcome closes the engine."""
    (tmp_path / "gate").mkdir()
    gate = Gate(tmp_path / "gate", PATIENCE_S)
    with Executor(cluster.url) as warm:  # Dask keeps a thread from its first task on
        warm.submit(abs, 1).result(PATIENCE_S)
    with leaks():
        ex = Executor(cluster.url, clock_width=1.0)
        running = ex.submit(calls.pass_gate, gate)
        gate.wait_for_arrivals(1)
        before = ex.statistics().probes
        ex.shutdown(wait=False)
        gate.open()
        running.result(PATIENCE_S)
        assert wait_until(lambda: ex.statistics().workers == 0, PATIENCE_S)
        assert wait_until(lambda: ex.statistics().probes == before + 1, PATIENCE_S)


def test_an_idle_executor_asks_nobody(cluster: Cluster, tmp_path: Path) -> None:
    with Executor(cluster.url, clock_width=1e-6) as ex:
        ex.submit(time.sleep, 1).result(PATIENCE_S)
        before = ex.statistics().probes
        with Executor(cluster.url, clock_width=None) as other:  # takes its time; the cluster works, the first is idle
            other.submit(time.sleep, 3).result(PATIENCE_S)
        # One may have been on its way when the call came home.
        assert ex.statistics().probes <= before + 1
        assert other.statistics().probes == 0


@pytest.mark.parametrize("set_by_ns", [300 * SECOND_NS, -2 * SECOND_NS])
def test_a_wall_clock_set_in_the_last_seconds_of_a_short_run_is_found_dated_and_warned_of(
    cluster: Cluster, node: SkewedHost, tmp_path: Path, set_by_ns: int
) -> None:
    (tmp_path / "gate").mkdir()
    gate = Gate(tmp_path / "gate", PATIENCE_S)
    with clock_warnings() as said, Executor(cluster.url, run=tmp_path / "run") as ex:
        running = ex.submit(calls.pass_gate, gate)
        gate.wait_for_arrivals(1)
        assert said() == [], "until now it is right, though its zone is another"
        node.set(replace(node.now(), wall_offset_ns=set_by_ns))
        set_at_ns = node.truth.raw.shown(node.truth.raw.pieces[-1].since_ns)
        gate.open()
        running.result(PATIENCE_S)
    (text,) = said()
    assert "the wall clock of node1 is " in text
    assert ("ahead of" if set_by_ns > 0 else "behind") in text
    timeline = coeval.open_run(tmp_path / "run")
    (entry,) = [entry for entry in timeline.clocks if entry.clock == node.clock_id]
    (change,) = entry.changes
    assert change.size_ns_least <= set_by_ns <= change.size_ns_greatest
    (step,) = timeline._evidence.steps[node.clock_id]
    assert step.raw_earliest_ns <= set_at_ns <= step.raw_latest_ns
    declared = entry.wall_declared
    assert declared.least_ns is not None
    assert declared.greatest_ns is not None
    assert declared.least_ns <= set_by_ns <= declared.greatest_ns


LOCAL_RUN = """
import sys
from pathlib import Path
from coeval import Executor
from coeval.testing import Gate
from coeval.testing._calls import pass_gate
with Executor("local:1", run=sys.argv[1]) as ex:
    ex.submit(pass_gate, Gate(Path(sys.argv[2]), 60)).result()
"""


def test_a_wall_clock_set_in_a_short_run_on_local_workers_is_found_and_dated(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    gate = Gate(tmp_path / "gate", PATIENCE_S)
    with SkewedHost("alone", SKEW) as host:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-W", "error", "-c", LOCAL_RUN, str(tmp_path / "run"), str(tmp_path / "gate")]
        program = host.popen(command, env=environment)
        gate.wait_for_arrivals(1)
        host.set(replace(host.now(), wall_offset_ns=-7 * SECOND_NS))
        set_at_ns = host.truth.raw.shown(host.truth.raw.pieces[-1].since_ns)
        gate.open()
        assert program.wait(PATIENCE_S) == 0
        clock = host.clock_id
    timeline = coeval.open_run(tmp_path / "run")
    (step,) = timeline._evidence.steps[clock]
    assert step.size_ns_least <= -7 * SECOND_NS <= step.size_ns_greatest
    assert step.raw_earliest_ns <= set_at_ns <= step.raw_latest_ns


def test_a_wall_clock_that_is_slewed_is_no_step_and_warns_of_nothing(
    cluster: Cluster, node: SkewedHost, tmp_path: Path
) -> None:
    with clock_warnings() as said, Executor(cluster.url, run=tmp_path / "run") as ex:
        ex.submit(abs, 1).result(PATIENCE_S)
        node.set(replace(node.now(), wall_rate_ppb=400_000))
        ex.submit(time.sleep, 2).result(PATIENCE_S)
    assert said() == []
    assert [entry.changes for entry in coeval.open_run(tmp_path / "run").clocks] == [(), ()]


def test_calls_that_wait_in_a_queue_warn_of_nothing(cluster: Cluster, node: SkewedHost) -> None:
    """Probes are off: the first call waits for its worker to start, so it bounds nothing to a tenth of a second."""
    node.set(replace(node.now(), wall_offset_ns=50 * MS_NS))
    with clock_warnings() as said, Executor(cluster.url, clock_width=None, clock_warning=0.2) as ex:
        assert list(ex.map(calls.square, range(20), chunksize=1)) == [n * n for n in range(20)]
    assert said() == []


def test_what_is_tolerated_is_not_warned_of(cluster: Cluster, node: SkewedHost) -> None:
    node.set(replace(node.now(), wall_offset_ns=5 * SECOND_NS))
    for clock_warning, count in ((1.0, 1), (10.0, 0), (None, 0)):
        with clock_warnings() as said, Executor(cluster.url, clock_warning=clock_warning) as ex:
            ex.submit(abs, 1).result(PATIENCE_S)
        assert len(said()) == count
