"""Ctrl-C ends every verb with one line and the shell's exit code, wherever it is."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval import merge
from coeval.testing._gate import wait_until

Start = Callable[..., "subprocess.Popen[str]"]

# More than a pipe and all buffers hold, so that whoever writes them waits for their reader.
ROWS = 20_000


@pytest.fixture
def rows(folder: Path) -> Path:
    lines = (f"2026-11-27T07:00:00.{number % 1000:03}Z {'x' * 100}\n" for number in range(ROWS))
    (folder / "web.log").write_text("".join(lines))
    merge("web.log", "all.parquet")
    return folder


@pytest.mark.parametrize(
    "command",
    [("query", "from timeline", "all.parquet", "--to", "jsonl"), ("join", "all.parquet", "all.parquet")],
    ids=lambda command: command[0],
)
def test_a_verb_that_writes_to_a_reader_who_waits_is_interrupted(
    rows: Path, coeval_started: Start, command: tuple[str, ...]
) -> None:
    process = coeval_started(*command)
    assert process.stdout is not None and process.stdout.read(1) == "{"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "interrupted: nothing more is written\n"
    assert process.returncode == 130


def test_a_query_that_would_take_for_ever_is_interrupted(rows: Path, coeval_started: Start) -> None:
    process = coeval_started("query", "select sum(a.range) from range(1000000000000) a, timeline", "all.parquet")
    # The threads of DuckDB are there once it was asked.
    assert wait_until(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) > 1, 60)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "interrupted: nothing more is written\n")
    assert process.returncode == 130
