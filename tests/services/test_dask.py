"""The Dask engine on a real scheduler and real workers."""

from __future__ import annotations

import contextlib
import operator
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import cloudpickle
import pytest

import coeval
from coeval.engines import Batch, Function, Outcome, open_engine
from coeval.engines._dask._library import Client
from coeval.engines._payload import take
from coeval.engines.dask import BATCHES_PER_THREAD, WINDOW_MIN
from coeval.errors import CallStopped, EngineError, WorkerDied
from coeval.executor import Executor, Retry
from coeval.testing import EngineContract, Gap, Gate, leaks
from coeval.testing import _calls as calls
from coeval.testing._gate import wait_until

if TYPE_CHECKING:
    from tests.services.conftest import DaskCluster


# So that no worker waits for the network, calls are sent ahead of time, short ones several together; what was sent is
# running for the executor and cannot be cancelled.
SENT_AHEAD = Gap("never", "calls are sent ahead of time, and what was sent cannot be cancelled")


class TestDask(EngineContract):
    gaps: ClassVar = {
        "test_shutdown_cancels_what_waits_when_asked": SENT_AHEAD,
        "test_interrupted_with_block_cancels_what_waits_and_ends_what_runs": SENT_AHEAD,
    }

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_cluster(cls, dask_cluster: DaskCluster) -> None:
        cls.engine = dask_cluster.url
        # Dask keeps a thread for large messages from the first of them on.
        with Executor(cls.engine) as warm:
            assert len(warm.submit(bytes, 20 << 20).result()) == 20 << 20

    @pytest.fixture(autouse=True)
    def _what_was_sent_ahead_is_done(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Before the contract looks whether a behaviour left calls behind."""
        shared: Executor | None = request.getfixturevalue("ex") if "ex" in request.fixturenames else None
        yield
        if shared is not None:
            wait_until(lambda: shared.statistics().running == 0, self.patience_s)

    def test_closing_the_iterator_cancels_what_waits(self, tmp_path: Path) -> None:  # type: ignore[override]
        """As in the contract, but for what was sent ahead."""
        gate = self.gate(tmp_path)
        count = 1000
        with self.executor() as own:
            try:
                results = own.map(calls.pass_gate, [gate] * count, buffersize=count)
                gate.wait_for_arrivals(self.workers)
                cast(Generator[None], results).close()
            finally:
                gate.open()
        assert len(gate.arrived()) <= own_window(self.workers)
        assert own.statistics().cancelled >= count - own_window(self.workers)

    def test_program_that_ends_without_shutdown_waits_for_its_calls(self, tmp_path: Path) -> None:
        """As in the contract, but for relative paths: Dask's workers have a working directory of their own."""
        body = f"""
            import pathlib
            from coeval.testing._calls import touch
            executor = make_executor()
            for number in range(20):
                executor.submit(touch, pathlib.Path({str(tmp_path)!r}) / f"ran-{{number}}")
        """
        self.run_script(tmp_path, body)
        assert len(list(tmp_path.glob("ran-*"))) == 20


def own_window(threads: int) -> int:
    return BATCHES_PER_THREAD * threads


PATIENCE_S = 30

# Workers need not be able to import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def end_dask_worker() -> None:
    """Called in a local pool's worker: kill the Dask worker, which is its parent or a parent of that."""
    pid = os.getpid()
    while not any(name in Path(f"/proc/{pid}/cmdline").read_bytes() for name in (b"dask_worker", b"spawn_main")):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    threading.Event().wait(PATIENCE_S)  # this process goes with it


def kill_dask_worker(folder: Path) -> None:
    (folder / f"ran-{uuid.uuid4().hex}").touch()
    end_dask_worker()


def kill_dask_worker_at(number: int, at: int, folder: Path) -> int:
    (folder / f"{number}-{uuid.uuid4().hex}").touch()
    if number == at:
        end_dask_worker()
    return number * number


def run_numbered(number: int, deadly: int, folder: Path) -> int:
    """Call 0 waits at the gate; the deadly one then kills its Dask worker."""
    (folder / f"{number}-{uuid.uuid4().hex}").touch()
    if number == 0:
        Gate(folder / "gate", PATIENCE_S).wait()
    if number == deadly:
        end_dask_worker()
    return number


def bytes_of_some_work(size: int) -> bytes:
    """Long enough that the next parcel is at hand when it is over."""
    return bytes(size) if sum(range(1_500_000)) else b""


class TestReservations:
    """What is at hand behind a call that runs."""

    @pytest.mark.parametrize("deadly", [0, 1], ids=["the one that runs", "the one behind it"])
    def test_call_that_kills_its_dask_worker_fails_alone_and_the_others_run(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path, deadly: int
    ) -> None:
        cluster = start_dask()
        cluster.add_worker()
        gate = make_gate(tmp_path)
        with Executor(cluster.url) as executor, distributed_client(cluster) as client:
            executor.submit(calls.square, 1).result(PATIENCE_S)
            futures = [executor.submit(run_numbered, number, deadly, tmp_path) for number in range(4)]
            gate.wait_for_arrivals(1)
            assert wait_until(lambda: reserved(client), PATIENCE_S)
            gate.open()
            error = futures[deadly].exception(PATIENCE_S)
            assert isinstance(error, WorkerDied)
            cluster.add_worker()
            results = [future.result(PATIENCE_S) for future in futures if future is not futures[deadly]]
            assert results == [number for number in range(4) if number != deadly]
        assert sorted(ran(tmp_path)) == [0, 1, 2, 3], "each once"

    def test_no_call_waits_for_a_long_one_while_another_worker_is_free(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        for _ in range(2):
            cluster.add_worker()
        gate = make_gate(tmp_path)
        with Executor(cluster.url) as executor:
            for _ in range(3):
                long = executor.submit(run_numbered, 0, -1, tmp_path)
                short = [executor.submit(run_numbered, number, -1, tmp_path) for number in range(1, 30)]
                assert [future.result(PATIENCE_S) for future in short] == list(range(1, 30))
                assert not long.done()
                gate.open()
                assert long.result(PATIENCE_S) == 0
                (tmp_path / "gate" / "open").unlink()

    def test_reserved_call_that_is_stopped_never_runs(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker()
        gate = make_gate(tmp_path)
        with Executor(cluster.url) as executor, distributed_client(cluster) as client:
            executor.submit(calls.square, 1).result(PATIENCE_S)
            first, second, third = (executor.submit(run_numbered, number, -1, tmp_path) for number in range(3))
            gate.wait_for_arrivals(1)
            assert wait_until(lambda: reserved(client), PATIENCE_S)
            assert executor.stop(second)
            assert isinstance(second.exception(PATIENCE_S), CallStopped)
            gate.open()
            assert (first.result(PATIENCE_S), third.result(PATIENCE_S)) == (0, 2)
        assert sorted(ran(tmp_path)) == [0, 2]

    def test_results_of_every_size_come_home_from_calls_that_follow_each_other(
        self, start_dask: Callable[..., DaskCluster]
    ) -> None:
        cluster = start_dask()
        cluster.add_worker(threads=2)
        sizes = [10, 100_000, 3_000_000] * 5
        with Executor(cluster.url) as executor:
            futures = [executor.submit(bytes_of_some_work, size) for size in sizes]
            assert [len(future.result(PATIENCE_S)) for future in futures] == sizes


class TestLostWorker:
    """A Dask worker that dies, with everything that runs beside it."""

    @pytest.mark.parametrize("nanny", [False, True], ids=["without a nanny", "with a nanny"])
    def test_call_on_a_killed_dask_worker_fails_alone_and_is_not_run_again(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path, nanny: bool
    ) -> None:
        cluster = start_dask()
        for _ in range(2):
            cluster.add_worker(nanny=nanny)
        with Executor(cluster.url) as executor:
            before = [executor.submit(calls.square, number) for number in range(20)]
            deadly = executor.options(name="deadly").submit(kill_dask_worker, tmp_path)
            after = [executor.submit(calls.square, number) for number in range(20)]
            error = deadly.exception(PATIENCE_S)
            assert isinstance(error, WorkerDied)
            assert (error.signal, error.exit_code, error.host) == ("", None, socket.gethostname())
            assert [future.result(PATIENCE_S) for future in before + after] == 2 * [n * n for n in range(20)]
            assert executor.submit(calls.square, 12).result(PATIENCE_S) == 144
        assert len(list(tmp_path.glob("ran-*"))) == 1

    def test_item_that_kills_its_dask_worker_fails_alone_in_its_chunk(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        for _ in range(3):
            cluster.add_worker()
        with Executor(cluster.url) as executor:
            results = executor.map(kill_dask_worker_at, range(8), [4] * 8, [tmp_path] * 8, chunksize=8)
            assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
            with pytest.raises(WorkerDied):
                next(results)
            executor.shutdown()
            assert executor.statistics()[3:5] == (7, 1), "finished, failed"
        ran = [int(path.name.partition("-")[0]) for path in tmp_path.iterdir()]
        assert set(ran) == set(range(8))
        assert ran.count(4) <= 2, "in its chunk, and once more alone"

    def test_call_is_tried_again_on_another_worker_when_asked(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        for _ in range(2):
            cluster.add_worker()
        with Executor(cluster.url, retries=Retry(1, on_death=True)) as executor:
            assert isinstance(executor.submit(kill_dask_worker, tmp_path).exception(PATIENCE_S), WorkerDied)
        assert len(list(tmp_path.glob("ran-*"))) == 2

    def test_calls_of_a_worker_that_is_retired_run_elsewhere(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker()
        (tmp_path / "gate").mkdir()
        gate = Gate(tmp_path / "gate", PATIENCE_S)
        with Executor(cluster.url) as executor, distributed_client(cluster) as client:
            running = executor.submit(calls.pass_gate, gate, 7)
            gate.wait_for_arrivals(1)
            (old,) = client.scheduler_info()["workers"]
            cluster.add_worker()
            client.retire_workers([old])
            gate.wait_for_arrivals(2)
            gate.open()
            assert running.result(PATIENCE_S) == 7

    def test_scheduler_that_dies_fails_what_is_out_and_what_comes(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker()
        (tmp_path / "gate").mkdir()
        gate = Gate(tmp_path / "gate", PATIENCE_S)
        with leaks(), Executor(cluster.url) as executor:
            running = executor.submit(calls.pass_gate, gate)
            gate.wait_for_arrivals(1)
            cluster.kill(cluster.scheduler)
            for future in (running, executor.submit(calls.square, 2)):
                error = future.exception(PATIENCE_S)
                assert isinstance(error, EngineError)
                assert cluster.address in str(error)


class TestCluster:
    """What is told of the cluster, and what is left on it."""

    def test_window_follows_the_cluster(self, start_dask: Callable[..., DaskCluster]) -> None:
        cluster = start_dask()
        engine = open_engine(cluster.url)
        engine.start(lambda outcome: None)
        try:
            assert engine.window() == WINDOW_MIN, "what is sent makes a cluster grow that can"
            cluster.add_worker(threads=2)
            assert wait_until(lambda: engine.window() == 2 * BATCHES_PER_THREAD, PATIENCE_S)
            second = cluster.add_worker(threads=3)
            assert wait_until(lambda: engine.window() == 5 * BATCHES_PER_THREAD, PATIENCE_S)
            cluster.kill(second)
            assert wait_until(lambda: engine.window() == 2 * BATCHES_PER_THREAD, PATIENCE_S)
        finally:
            engine.close()

    def test_calls_wait_for_the_first_worker(self, start_dask: Callable[..., DaskCluster]) -> None:
        cluster = start_dask()
        with Executor(cluster.url) as executor:
            futures = [executor.submit(calls.square, number) for number in range(10)]
            cluster.add_worker()
            assert [future.result(PATIENCE_S) for future in futures] == [n * n for n in range(10)]

    def test_dask_worker_runs_as_many_calls_at_once_as_it_has_threads(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker(threads=3)
        gate = Gate(tmp_path, PATIENCE_S)
        with Executor(cluster.url) as executor:
            futures = [executor.submit(calls.pass_gate, gate, number) for number in range(6)]
            assert len(gate.wait_for_arrivals(3)) == 3
            assert wait_until(lambda: executor.statistics().workers == 3, PATIENCE_S)
            gate.open()
            assert [future.result(PATIENCE_S) for future in futures] == list(range(6))

    def test_labelled_lines_of_calls_are_printed_by_the_caller(
        self, start_dask: Callable[..., DaskCluster], capsys: pytest.CaptureFixture[str]
    ) -> None:
        cluster = start_dask()
        cluster.add_worker()
        with Executor(cluster.url, output="labelled") as executor:
            pid = executor.submit(os.getpid).result(PATIENCE_S)
            for number in range(3):
                executor.submit(print, "line", number).result(PATIENCE_S)
            lines = [event for event in executor.timeline.events if event.kind == "output"]
        label = f"host={socket.gethostname()} pid={pid}"
        labelled = [f"(print call={number + 1} {label}) line {number}" for number in range(3)]
        assert capsys.readouterr().out.splitlines() == labelled
        assert [(line.call, line.fields["text"]) for line in lines] == [(n + 1, f"line {n}") for n in range(3)]
        assert set(labelled) <= set(cluster.log("worker1").splitlines())

    def test_two_executors_share_a_cluster(self, start_dask: Callable[..., DaskCluster]) -> None:
        cluster = start_dask()
        cluster.add_worker(threads=2)
        with Executor(cluster.url) as one, Executor(cluster.url) as other:
            ours, theirs = one.map(calls.square, range(50)), other.map(calls.square, range(50, 100))
            assert [*ours, *theirs] == [number * number for number in range(100)]

    def test_closed_executor_leaves_the_cluster_as_it_was(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker(threads=2)
        (tmp_path / "gate").mkdir()
        gate = Gate(tmp_path / "gate", PATIENCE_S)
        with distributed_client(cluster) as client:
            mine = client.submit(pow, 2, 3)
            assert mine.result() == 8
            before = holdings_of(client)
            with leaks():
                with Executor(cluster.url) as executor:
                    assert list(executor.map(calls.square, range(50))) == [n * n for n in range(50)]
                with pytest.raises(KeyboardInterrupt), Executor(cluster.url) as executor:
                    [executor.submit(calls.pass_gate, gate) for _ in range(9)]
                    gate.wait_for_arrivals(2)
                    raise KeyboardInterrupt
            wait_until(lambda: holdings_of(client) == before, PATIENCE_S)
            assert holdings_of(client) == before
            assert mine.result() == 8

    def test_caller_that_was_killed_leaves_the_cluster_as_it_was(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker(threads=2)
        (tmp_path / "gate").mkdir()
        gate = Gate(tmp_path / "gate", PATIENCE_S)
        script = f"""
from coeval.executor import Executor
from coeval.testing import Gate, _calls
from pathlib import Path
executor = Executor({cluster.url!r})
futures = [executor.submit(_calls.pass_gate, Gate(Path({str(gate.folder)!r}), {PATIENCE_S})) for _ in range(9)]
futures[0].result()
"""
        with distributed_client(cluster) as client:
            before = holdings_of(client)
            with subprocess.Popen([sys.executable, "-c", script], env=with_our_path()) as caller:
                workers = gate.wait_for_arrivals(2)
                caller.kill()
            wait_until(lambda: holdings_of(client) == before, PATIENCE_S)
            assert holdings_of(client) == before
        assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), PATIENCE_S)

    def test_stamps_are_readings_of_the_clock_of_the_host_that_ran_the_call(
        self, start_dask: Callable[..., DaskCluster]
    ) -> None:
        cluster = start_dask()
        cluster.add_worker(environment={"COEVAL_CLOCK_ID": "another-host"})
        outcomes: list[Outcome] = []
        engine = open_engine(cluster.url)
        engine.start(outcomes.append)
        try:
            function = Function(0, "operator:neg", pickle.dumps(operator.neg))
            engine.send(Batch(5, 1, function, [pickle.dumps(((n,), {})) for n in range(3)], [0, 1, 2]))
            assert wait_until(lambda: any(outcome.batch == 5 for outcome in outcomes), PATIENCE_S)
        finally:
            engine.close()
        ready = [outcome for outcome in outcomes if outcome.batch < 0 and outcome.events]
        (done,) = [outcome for outcome in outcomes if outcome.batch == 5]
        assert [event.kind for event in ready[0].events] == ["clock"]
        assert done.worker is not None
        assert done.worker == ready[0].worker
        assert done.worker.clock.startswith("another-host/")
        assert [take(value) for value in done.values] == [0, -1, -2]
        # Here both are one clock, so all four can be compared.
        assert list(done.stamps) == sorted(done.stamps)
        assert done.stamps.handed_over_ns > 0


class TestConnecting:
    """What can be wrong before the first call."""

    def test_scheduler_that_is_not_there_is_told_of_soon_and_with_its_address(self) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
            port = nobody.getsockname()[1]
            with leaks(), pytest.raises(EngineError, match=f"tcp://127.0.0.1:{port}"):
                Executor(f"dask://127.0.0.1:{port}")

    def test_worker_with_another_coeval_is_refused_at_the_start_and_later(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        package = Path(coeval.__file__).parent
        shutil.copytree(package, tmp_path / "coeval", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / "coeval" / "_version.py").write_text('__version__ = "0.0.1"\n')
        cluster = start_dask()
        sentence = rf"has coeval 0\.0\.1; here it is {re.escape(coeval.__version__)}.*pip install"
        with Executor(cluster.url) as early:
            cluster.add_worker(environment=with_our_path(tmp_path))
            with pytest.raises(EngineError, match=sentence):
                early.submit(calls.square, 2).result(PATIENCE_S)
        with leaks(), pytest.raises(EngineError, match=sentence):
            Executor(cluster.url)

    def test_worker_without_coeval_is_told_of(self, start_dask: Callable[..., DaskCluster], tmp_path: Path) -> None:
        (tmp_path / "coeval").mkdir()
        (tmp_path / "coeval" / "__init__.py").write_text("raise ModuleNotFoundError('No module named coeval')")
        cluster = start_dask()
        with Executor(cluster.url) as early:
            cluster.add_worker(environment=with_our_path(tmp_path))
            with pytest.raises(EngineError, match="No module named coeval"):
                early.submit(calls.square, 2).result(PATIENCE_S)
        with pytest.raises(EngineError, match=r"worker tcp://.* has no coeval; here .*pip install"):
            Executor(cluster.url)

    def test_missing_distributed_names_its_extra(self, tmp_path: Path) -> None:
        (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('No module named distributed')")
        script = "import coeval.executor; coeval.executor.Executor('dask://127.0.0.1:1')"
        done = subprocess.run(
            [sys.executable, "-c", script], env=with_our_path(tmp_path), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert "UnknownEngine" in done.stderr
        assert "pip install 'coeval[dask]'" in done.stderr

    def test_tls_goes_through_the_url(self, start_dask: Callable[..., DaskCluster], tmp_path: Path) -> None:
        authority, certificate, key = make_certificates(tmp_path)
        options = ("--protocol", "tls", "--tls-ca-file", authority, "--tls-cert", certificate, "--tls-key", key)
        cluster = start_dask(*options)
        cluster.add_worker(*options)
        assert cluster.address.startswith("tls://")
        host = cluster.address.removeprefix("tls://")
        with leaks(), Executor(f"dask+tls://{host}?ca_file={authority}&cert={certificate}&key={key}") as executor:
            assert list(executor.map(calls.square, range(10))) == [n * n for n in range(10)]
        with pytest.raises(EngineError, match=host):
            Executor(f"dask://{host}")


class TestOwnCluster:
    """`dask:` alone."""

    def test_cluster_of_its_own_runs_calls_and_is_gone_with_its_executor(self) -> None:
        with Executor("dask:1") as warm:  # Dask keeps a thread from its first task on
            warm.submit(calls.square, 1).result(PATIENCE_S)
        with leaks(), Executor("dask:2") as executor:
            assert executor.capabilities.same_host
            assert list(executor.map(calls.square, range(100))) == [n * n for n in range(100)]
            error = executor.submit(os._exit, 3).exception(PATIENCE_S)
            assert isinstance(error, WorkerDied)
            assert error.exit_code == 3

    def test_cluster_of_its_own_cannot_be_reached_from_outside(self) -> None:
        with Executor("dask:1") as executor:
            assert executor.submit(calls.square, 2).result(PATIENCE_S) == 4
            listening = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
            mine = set(own_sockets())
            addresses = [row[1] for row in listening if row[3] == "0A" and f"socket:[{row[9]}]" in mine]
        assert all(address.startswith("0100007F:") for address in addresses), addresses

    def test_program_needs_no_main_guard_and_is_told_nothing_by_dask(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "from coeval.executor import Executor\n"
            "with Executor('dask:2') as executor:\n"
            "    print(sum(executor.map(lambda number: number * number, range(10))))\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            env=with_our_path(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "285\n", "")


# What the tests look with ---------------------------------------------------------------------------------------------


def make_gate(folder: Path) -> Gate:
    (folder / "gate").mkdir()
    return Gate(folder / "gate", PATIENCE_S)


def ran(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[0]) for path in folder.iterdir() if "-" in path.name]


def reserved(client: Any) -> bool:
    return bool(client.run_on_scheduler(count_reserved))


def count_reserved(dask_scheduler: Any) -> int:
    offices = [plugin for name, plugin in dask_scheduler.plugins.items() if name.startswith("coeval-")]
    return sum(len(office._state._reserved) for office in offices)


def what_is_there(dask_scheduler: Any) -> tuple[Any, ...]:
    return (
        sorted(map(str, dask_scheduler.tasks)),
        sorted(dask_scheduler.plugins),
        sorted(dask_scheduler.handlers),
        sorted(dask_scheduler.clients),
    )


def what_is_there_too(dask_worker: Any) -> tuple[Any, ...]:
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return sorted(dask_worker.plugins), sorted(pid for path in children for pid in path.read_text().split())


def holdings_of(client: Any) -> tuple[Any, ...]:
    return client.run_on_scheduler(what_is_there), client.run(what_is_there_too)


@contextlib.contextmanager
def distributed_client(cluster: DaskCluster) -> Iterator[Any]:
    with Client(cluster.address, set_as_default=False) as client:
        yield client


def with_our_path(*first: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, first), *filter(None, sys.path)])}


def own_sockets() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            target = str(descriptor.readlink())
            if target.startswith("socket:"):
                yield target


def make_certificates(folder: Path) -> tuple[str, str, str]:
    """An authority's certificate, one that it signed, and that one's key."""
    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    request, certificate, key = folder / "me.csr", folder / "me.pem", folder / "me.key"
    signed_by = ["-CA", authority, "-CAkey", authority_key, "-CAcreateserial"]
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    for arguments in (
        ["req", "-x509", *new_key, "-keyout", authority_key, "-out", authority, "-days", "2", "-subj", "/CN=test-ca"],
        ["req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=127.0.0.1"],
        ["x509", "-req", "-in", request, "-out", certificate, "-days", "2", *signed_by],
    ):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    return str(authority), str(certificate), str(key)
