"""Dask workers whose clocks are wrong: the engine contract a day off, and the example that knows the truth."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from coeval.executor import Executor
from coeval.testing import Skew, SkewedHost
from tests.services.test_dask import TestDask as DaskContract

DAY_NS = 86_400 * 10**9
START_S_MAX = 60


class TestDaskWithWorkersADayOff(DaskContract):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_cluster(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("skewed")
        with (
            SkewedHost("head") as head,
            SkewedHost("ahead", Skew(DAY_NS, 50_000, 10 * DAY_NS, 50_000)) as ahead,
            SkewedHost("behind", Skew(-DAY_NS, -50_000, 20 * DAY_NS, -50_000)) as behind,
        ):
            start(head, folder, "scheduler", "--port", "0")
            for host in (ahead, behind):
                start(host, folder, "worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder))
            with Client(scheduler_file=str(folder / "scheduler.json"), timeout=START_S_MAX) as client:  # type: ignore[no-untyped-call]
                client.wait_for_workers(2, timeout=START_S_MAX)
                cls.engine = client.scheduler.address.replace("tcp://", "dask://")
            # Dask keeps a thread for large messages from the first of them on.
            with Executor(cls.engine) as warm:
                assert len(warm.submit(bytes, 20 << 20).result()) == 20 << 20
                assert len(warm.timeline.clocks) > 1
            yield


def start(host: SkewedHost, folder: Path, what: str, *options: str) -> None:
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard"]
    with open(folder / f"{host.name}.log", "wb") as log:
        host.popen(
            [*command, "--scheduler-file", str(folder / "scheduler.json"), *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def test_the_example_is_right_about_every_clock_of_a_skewed_cluster() -> None:
    done = run_example()
    assert done.returncode == 0, done.stdout + done.stderr
    impossible = re.search(r"By wall clock, (\d+) of them began", done.stdout)
    assert impossible
    assert int(impossible[1]) > 20, "the wall clocks were right"
    assert "1200 times checked against the truth; on the timeline 0 calls run backwards" in done.stdout
    assert re.search(r"^node1 +\+3\.\d{6} s ± \d+\.\d{3} ms +\+3\.500000 s ", done.stdout, re.MULTILINE)


def test_the_example_runs_unchanged_on_local_processes() -> None:
    done = run_example("--here")
    assert (done.returncode, done.stderr) == (0, "")
    assert "300 calls on local processes. By wall clock, 0 of them began" in done.stdout


def run_example(*args: str) -> subprocess.CompletedProcess[str]:
    example = Path(__file__).parents[2] / "examples" / "skewed_cluster.py"
    return subprocess.run([sys.executable, str(example), *args], capture_output=True, text=True, timeout=100)
