"""Real services, started by the tests that use them, on loopback, at ports that the system chooses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from coeval.testing._gate import wait_until

# Starting takes one or two seconds; several times that on a busy machine.
START_S_MAX = 60

T = TypeVar("T")


class DaskCluster:
    """
    A scheduler and workers, each a process in a process group of its own.

    Attributes:
        address: the scheduler's, such as "tcp://127.0.0.1:40331".
        url: the same for coeval.
    """

    def __init__(self, folder: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        """
        Args:
            options: further options of `dask scheduler`.
            environment: on top of ours.
        """
        self._folder = folder
        self._environment = environment or {}
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        module = "distributed.cli.dask_scheduler"
        self.scheduler = self._start("scheduler", module, "--port", "0", "--scheduler-file", str(file), *options)
        try:
            self.address: str = self._wait_for(self.scheduler, lambda: json.loads(file.read_text())["address"])
        except BaseException:  # nobody has this object yet
            self.close()
            raise
        self.url = "dask://" + self.address.partition("://")[2]

    def add_worker(
        self, *options: str, threads: int = 1, nanny: bool = False, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker and wait until the scheduler knows it. With a nanny, that is what is returned."""
        name = f"worker{len(self._processes)}"
        kind = "--nanny" if nanny else "--no-nanny"
        started = self._start(
            name,
            "distributed.cli.dask_worker",
            *(self.address, kind, "--nthreads", str(threads), "--name", name),
            *("--local-directory", str(self._folder / name), *options),
            environment=environment,
        )
        log = self._folder / f"{name}.log"
        self._wait_for(started, lambda: log.read_text().index("Registered to"))
        return started

    def log(self, name: str) -> str:
        """What a process wrote, such as "scheduler" or "worker1"."""
        return (self._folder / f"{name}.log").read_text()

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process, and what is in its group, by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """End everything that was started."""
        for process in reversed(self._processes):
            self.kill(process)

    def _start(
        self, name: str, module: str, *options: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join(path for path in sys.path if path)
        with open(self._folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "--host", "127.0.0.1", "--no-dashboard", *options],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": paths, **self._environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _wait_for(self, process: subprocess.Popen[bytes], look: Callable[[], T]) -> T:
        found: list[T] = []

        def looks_well() -> bool:
            with contextlib.suppress(OSError, ValueError):
                found.append(look())
            return bool(found) or process.poll() is not None

        wait_until(looks_well, START_S_MAX)
        logs = "\n".join(path.read_text()[-2000:] for path in self._folder.glob("*.log"))
        assert found, f"Dask did not start (exit code {process.poll()}):\n{logs}"
        return found[0]


@pytest.fixture
def start_dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., DaskCluster]]:
    """Start a scheduler (see `DaskCluster`); it and its workers end with the test."""
    clusters: list[DaskCluster] = []

    def start(*options: str, environment: dict[str, str] | None = None) -> DaskCluster:
        clusters.append(DaskCluster(tmp_path_factory.mktemp("dask"), *options, environment=environment))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture(scope="class")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and two workers of one thread each, for a class."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    try:
        cluster.add_worker()
        cluster.add_worker(nanny=True)
        yield cluster
    finally:
        cluster.close()
