"""A Dask cluster on loopback for as long as a benchmark takes, and coeval and Dask's own client on it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import coeval
from coeval.engines._dask._library import Client
from coeval.executor import Executor

WORKERS = 2
START_S_MAX = 60


def what_runs() -> str:
    """Versions and workers, for the first line of a report."""
    return (
        f"coeval {coeval.__version__}, distributed {version('distributed')}, Python {platform.python_version()}, "
        f"{WORKERS} Dask workers of one thread on {platform.system()} {platform.machine()}"
    )


@contextlib.contextmanager
def both_on_it(environments: Sequence[Mapping[str, str]] = ()) -> Iterator[tuple[Any, Executor]]:
    """Dask's client and coeval's executor on one cluster; see `cluster`."""
    with (
        cluster(environments) as address,
        Client(address, set_as_default=False) as client,
        Executor("dask://" + address.partition("://")[2]) as executor,
    ):
        yield client, executor


@contextlib.contextmanager
def cluster(environments: Sequence[Mapping[str, str]] = ()) -> Iterator[str]:
    """
    A scheduler and workers, each a process, on loopback.

    Args:
        environments: for each worker, on top of ours; empty: ours.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.ExitStack() as stack:
        log = stack.enter_context(open(Path(folder) / "log", "wb"))

        def start(module: str, *options: str, environment: Mapping[str, str] | None = None) -> None:
            command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--no-dashboard", *options]
            env = {**os.environ, **(environment or {})}
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env)
            stack.callback(process.wait)
            stack.callback(process.kill)

        file = Path(folder) / "scheduler.json"
        start("distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file))
        for number in range(WORKERS):
            options = ("--no-nanny", "--nthreads", "1", "--name", str(number), "--local-directory", f"worker{number}")
            start(
                "distributed.cli.dask_worker",
                *("--scheduler-file", str(file), *options),
                environment=environments[number] if environments else None,
            )
        # Without the file's name a client would wait for ever for a scheduler that did not start.
        deadline_s = time.monotonic() + START_S_MAX
        while not file.exists():
            if time.monotonic() > deadline_s:
                sys.exit(f"Dask's scheduler did not start: {(Path(folder) / 'log').read_text()}")
            time.sleep(0.05)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(WORKERS, timeout=START_S_MAX)
            address: str = client.scheduler.address
        yield address
