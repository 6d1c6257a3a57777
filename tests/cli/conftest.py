"""The real command, run as a person runs it, in a folder of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "coeval")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COEVAL_ENGINE", raising=False)
    return tmp_path


@pytest.fixture
def coeval(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command to its end; `stdin=` is what it reads."""

    def run(*arguments: object, stdin: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False, **options)

    return run


@pytest.fixture
def coeval_started(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command whose output is read while it runs; whatever is left of it is ended after the test."""
    started: list[subprocess.Popen[str]] = []
    # A shell starts what it puts into the background with SIGINT ignored, and so would whatever is started here.
    sigint_before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*COMMAND, *map(str, arguments)], text=True, bufsize=1, **pipes)
        started.append(process)
        return process

    yield start
    signal.signal(signal.SIGINT, sigint_before)
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                with contextlib.suppress(OSError):  # what it did not read cannot be flushed
                    stream.close()
