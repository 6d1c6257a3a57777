"""Shared objects on a real scheduler and real workers: what crosses the wire, and what happens to it when they die."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest

from coeval.engines._dask._library import Client
from coeval.errors import CallNotSendable, WorkerDied
from coeval.executor import Executor
from coeval.testing import Gate, SkewedHost
from coeval.testing import _calls as calls
from coeval.testing._gate import wait_until
from coeval.testing._leaks import memory_files
from coeval.testing._network import Network, why_no_network
from tests.services.test_dask import PATIENCE_S, end_dask_worker, make_gate, with_our_path

if TYPE_CHECKING:
    from tests.services.conftest import DaskCluster

MEBIBYTE = 1 << 20
BLOCK_BYTES = 8 * MEBIBYTE

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def block(first: int = 7, size: int = BLOCK_BYTES) -> calls.Block:
    return calls.Block(bytes([first]) + bytes(size - 1))


def where_behind_gate(gate: Gate, shared: Any) -> tuple[int, int]:
    gate.wait()
    return calls.where_block_is(shared)


def kill_dask_worker_at(number: int, at: int, shared: Any) -> int:
    if number == at:
        end_dask_worker()
    return number + int(shared.view[0])


def kill_dask_worker_with(shared: Any) -> None:
    assert shared.view[0] == 7
    end_dask_worker()


def fetch_counts(dask_scheduler: Any) -> list[int]:
    offices = [plugin for name, plugin in dask_scheduler.plugins.items() if name.startswith("coeval-")]
    return [count for office in offices for count in office._shares.fetch_counts()]


def fetched(cluster: DaskCluster) -> list[int]:
    """For each object that is shared on a cluster, how often it was sent over a wire."""
    with Client(cluster.address, set_as_default=False) as client:
        counts: list[int] = client.run_on_scheduler(fetch_counts)
        return counts


def places(executor: Executor, shared: Any, folder: Path, workers: int) -> list[tuple[int, int]]:
    """Where each worker of the cluster has an object in memory: a call on each, all at once."""
    folder.mkdir()
    gate = make_gate(folder)
    futures = [executor.submit(where_behind_gate, gate, shared) for _ in range(workers)]
    gate.wait_for_arrivals(workers)
    gate.open()
    return [future.result(PATIENCE_S) for future in futures]


def on_host(name: str) -> dict[str, str]:
    """What makes a worker believe that it is on a host of its own."""
    return {"COEVAL_CLOCK_ID": name}


class TestWire:
    """What is sent, and how often."""

    def test_on_the_callers_own_host_nothing_is_sent(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        for _ in range(2):
            cluster.add_worker()
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            assert len(set(places(executor, shared, tmp_path / "a", 2))) == 1
            assert fetched(cluster) == [0]

    def test_two_workers_of_another_host_fetch_it_once_and_map_one_memory(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        for _ in range(2):
            cluster.add_worker(environment=on_host("far"))
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            assert len(set(places(executor, shared, tmp_path / "a", 2))) == 1
            futures = [executor.submit(calls.first_bytes, shared, number) for number in range(50)]
            assert [future.result(PATIENCE_S) for future in futures] == [[7]] * 50
            assert fetched(cluster) == [1]

    def test_each_of_two_hosts_fetches_it_once(self, start_dask: Callable[..., DaskCluster], tmp_path: Path) -> None:
        cluster = start_dask()
        for host in ("far", "far", "farther", "farther"):
            cluster.add_worker(environment=on_host(host))
        with (
            Executor(cluster.url) as executor,
            executor.share(block()) as shared,
            executor.share(block(8)) as other,
        ):
            assert len(set(places(executor, shared, tmp_path / "a", 4))) == 2
            assert fetched(cluster) == [2, 0], "the other one was not needed"
            assert len(set(places(executor, other, tmp_path / "b", 4))) == 2
            assert fetched(cluster) == [2, 2]

    @pytest.mark.skipif(why_no_network() is not None, reason=f"{why_no_network()}")
    def test_content_crosses_to_each_host_once_by_the_bytes_of_its_network_interface(self, tmp_path: Path) -> None:
        size = 16 * MEBIBYTE
        with contextlib.ExitStack() as stack:
            network = stack.enter_context(Network())
            head, *others = (network.host(name) for name in ("head", "node1", "node2"))
            with open(tmp_path / "log", "wb") as log:

                def start(host: SkewedHost, what: str, *options: str) -> None:
                    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", str(host.address)]
                    command += ["--no-dashboard", *options]
                    host.popen(command, stdout=log, stderr=log, cwd=tmp_path, env=with_our_path())

                start(head, "scheduler", "--port", "8786")
                for host in 2 * others:
                    start(host, "worker", f"tcp://{head.address}:8786", "--nthreads", "1", "--no-nanny")
            driver = head.popen(
                [sys.executable, "-c", DRIVER, f"{head.address}:8786", str(tmp_path / "gate"), str(size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=with_our_path(),
            )
            assert driver.stdout is not None
            assert driver.stdin is not None
            assert driver.stdout.readline() == "ready\n", (tmp_path / "log").read_text()
            before = [bytes_received(host) for host in others]
            driver.stdin.write("go\n")
            driver.stdin.flush()
            answers = json.loads(driver.stdout.readline())
            received = [bytes_received(host) - then for host, then in zip(others, before, strict=True)]
            driver.communicate(timeout=PATIENCE_S)
            assert driver.returncode == 0
        assert answers == [7] * 24
        for count in received:
            assert size <= count < 1.2 * size, f"{received} bytes for {size} on each host"


# On the head: a call on each of four workers at once, and twenty more, all with one shared object.
DRIVER = """
import json, pathlib, sys
from coeval.engines._dask._library import Client
from coeval.executor import Executor
from coeval.testing import Gate, _calls as calls

address, folder, size = sys.argv[1:]
with Client(f"tcp://{address}", timeout=60) as client:
    client.wait_for_workers(4, timeout=60)
gate = Gate(pathlib.Path(folder), 60)
gate.folder.mkdir()
with Executor(f"dask://{address}") as executor:
    list(executor.map(calls.square, range(100)))
    print("ready", flush=True)
    sys.stdin.readline()
    with executor.share(calls.Block(bytes([7]) + bytes(int(size) - 1))) as shared:
        futures = [executor.submit(calls.first_bytes_behind_gate, gate, shared) for _ in range(4)]
        gate.wait_for_arrivals(4)
        gate.open()
        futures += [executor.submit(calls.first_bytes, shared) for _ in range(20)]
        print(json.dumps([first for future in futures for first in future.result(60)]), flush=True)
        sys.stdin.readline()
"""


def bytes_received(host: SkewedHost) -> int:
    with host.popen(["cat", "/proc/net/dev"], stdout=subprocess.PIPE, text=True) as reader:
        printed, _ = reader.communicate()
    (line,) = (line for line in printed.splitlines() if line.strip().startswith("eth0:"))
    return int(line.split()[1])


class TestLives:
    """Workers that come, go and die while something is shared."""

    def test_worker_that_joins_later_has_it_too(self, start_dask: Callable[..., DaskCluster], tmp_path: Path) -> None:
        cluster = start_dask()
        cluster.add_worker(environment=on_host("far"))
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            assert len(places(executor, shared, tmp_path / "a", 1)) == 1
            cluster.add_worker(environment=on_host("far"))
            assert len(set(places(executor, shared, tmp_path / "b", 2))) == 1
            cluster.add_worker(environment=on_host("farther"))
            assert len(set(places(executor, shared, tmp_path / "c", 3))) == 2
            assert fetched(cluster) == [2]

    def test_worker_that_died_and_came_back_gets_it_again(self, start_dask: Callable[..., DaskCluster]) -> None:
        cluster = start_dask()
        cluster.add_worker(nanny=True, environment=on_host("far"))
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            assert executor.submit(calls.first_bytes, shared).result(PATIENCE_S) == [7]
            assert isinstance(executor.submit(kill_dask_worker_with, shared).exception(PATIENCE_S), WorkerDied)
            assert executor.submit(calls.first_bytes, shared).result(PATIENCE_S) == [7]
            assert fetched(cluster) == [2]

    def test_memory_outlives_the_worker_that_fetched_it(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        first = cluster.add_worker(environment=on_host("far"))
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            (before,) = places(executor, shared, tmp_path / "a", 1)
            cluster.add_worker(environment=on_host("far"))
            assert set(places(executor, shared, tmp_path / "b", 2)) == {before}
            cluster.kill(first)
            # A new process of the pool maps it from what the second worker kept.
            assert isinstance(executor.submit(calls.die_with_block, shared).exception(PATIENCE_S), WorkerDied)
            assert executor.submit(calls.where_block_is, shared).result(PATIENCE_S) == before
            assert fetched(cluster) == [1]

    def test_all_hosts_that_had_it_may_die(self, start_dask: Callable[..., DaskCluster], tmp_path: Path) -> None:
        cluster = start_dask()
        first = [cluster.add_worker(environment=on_host(host)) for host in ("far", "farther")]
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            assert len(set(places(executor, shared, tmp_path / "a", 2))) == 2
            for worker in first:
                cluster.kill(worker)
            late = executor.submit(calls.first_bytes, shared)
            cluster.add_worker(environment=on_host("farthest"))
            assert late.result(PATIENCE_S) == [7]

    def test_item_with_a_handle_that_kills_its_dask_worker_fails_alone_in_its_chunk(
        self, start_dask: Callable[..., DaskCluster]
    ) -> None:
        cluster = start_dask()
        for _ in range(3):
            cluster.add_worker(environment=on_host("far"))
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            results = executor.map(kill_dask_worker_at, range(8), [4] * 8, [shared] * 8, chunksize=8)
            assert [next(results) for _ in range(4)] == [7, 8, 9, 10]
            with pytest.raises(WorkerDied):
                next(results)
            executor.shutdown()
            assert executor.statistics()[3:5] == (7, 1), "finished, failed"

    def test_host_without_room_fails_the_call_with_the_reason_and_gets_it_when_there_is_room(
        self, start_dask: Callable[..., DaskCluster]
    ) -> None:
        cluster = start_dask()
        worker = cluster.add_worker(environment=on_host("far"))
        with Executor(cluster.url) as executor, executor.share(block()) as shared:
            assert executor.submit(calls.square, 2).result(PATIENCE_S) == 4
            limits = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (MEBIBYTE, limits[1]))
            error = executor.submit(calls.first_bytes, shared).exception(PATIENCE_S)
            assert isinstance(error, CallNotSendable)
            assert "no shared memory for a shared object of 8,388," in str(error)
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, limits)
            assert executor.submit(calls.first_bytes, shared).result(PATIENCE_S) == [7]

    def test_killed_caller_leaves_no_memory_on_the_cluster(
        self, start_dask: Callable[..., DaskCluster], tmp_path: Path
    ) -> None:
        cluster = start_dask()
        cluster.add_worker(environment=on_host("far"))
        gate = make_gate(tmp_path)
        script = f"""
from coeval.executor import Executor
from coeval.testing import Gate, _calls
from pathlib import Path
executor = Executor({cluster.url!r})
shared = executor.share(_calls.Block(bytes({BLOCK_BYTES})))
executor.submit(_calls.first_bytes_behind_gate, Gate(Path({str(gate.folder)!r}), {PATIENCE_S}), shared).result()
"""

        def large() -> list[tuple[int, int]]:
            return [file for file, size in memory_files().items() if size >= BLOCK_BYTES and file not in before]

        before = memory_files()
        with subprocess.Popen([sys.executable, "-c", script], env=with_our_path()) as caller:
            gate.wait_for_arrivals(1)
            assert len(large()) == 2, "the caller's and the host's"
            caller.kill()
        assert wait_until(lambda: not large(), PATIENCE_S)
