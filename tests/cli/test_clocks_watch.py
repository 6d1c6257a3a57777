"""`coeval clocks --watch`: a run that goes on, shown until it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from coeval import Executor
from coeval.cli._clocks_watch import changed_lines, has_ended, screen_lines
from coeval.cli._output import read_run
from coeval.recording import RunFolder
from coeval.recording._rows import ClockRow, EndRow, ExecutorRow, ProcessRow, Row
from coeval.recording._spool import SpoolWriter
from coeval.timeline import RunTimeline

Coeval = Callable[..., "subprocess.CompletedProcess[str]"]
WALL_NS = 1_790_000_000_000_000_000
Started = Callable[..., "subprocess.Popen[str]"]


def test_a_run_that_has_ended_is_shown_once(coeval: Coeval, folder: Path) -> None:
    with Executor("local:1", run=folder / "run") as executor:
        executor.submit(abs, -1).result()
    done = coeval("clocks", "run", "--watch")
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = done.stdout.splitlines()
    assert heading.split()[0] == "host"
    assert "0 s" in row
    (entry,) = map(json.loads, coeval("clocks", "run", "--watch", "--json").stdout.splitlines())
    assert entry["is_reference"]
    assert entry["is_final"]


def test_it_goes_on_while_the_run_does_and_ends_with_it(coeval_started: Started, folder: Path) -> None:
    with Executor("local:1", run=folder / "run") as executor:
        executor.submit(abs, -1).result()
        watching = coeval_started("clocks", "run", "--watch")
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("host")
        assert watching.poll() is None
    assert watching.wait(timeout=30) == 0


def test_ctrl_c_ends_it(coeval_started: Started, folder: Path) -> None:
    with Executor("local:1", run=folder / "run") as executor:
        executor.submit(abs, -1).result()
        watching = coeval_started("clocks", "run", "--watch")
        assert watching.stdout is not None
        watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 130
        assert watching.stderr is not None
        assert watching.stderr.read() == ""


def test_on_a_terminal_the_table_is_drawn_in_place(coeval_started: Started, folder: Path) -> None:
    with Executor("local:1", run=folder / "run") as executor:
        executor.submit(abs, -1).result()
    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    watching = coeval_started("clocks", "run", "--watch", stdout=terminal, env=environment)
    assert watching.wait(timeout=30) == 0
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(main, 1 << 16):
            shown += piece
    except OSError:  # Linux says so when the last writer has gone
        pass
    os.close(main)
    assert b"the run ended" in shown
    assert b"wall clock" in shown


def test_only_what_changed_is_said_again(folder: Path) -> None:
    path = RunFolder.create(folder / "run", command=["python", "shop.py"]).path
    spool = SpoolWriter(path / "0001.spool")

    def state_after(*rows: Row) -> RunTimeline:
        for row in rows:
            spool.append(row)
        spool.rest()
        return read_run(path)

    said: dict[str, str] = {}
    first = state_after(
        ProcessRow(0, "driver", "home", 1, "boot/0/monotonic_raw", "3.11"),
        ClockRow(0, 10**9, WALL_NS, 10**9, 10**9 + 100),
        ExecutorRow(0, "local", 10**9),
    )
    assert not has_ended(first)
    assert any("goes on" in line for line in screen_lines(first, 80))
    heading, row = changed_lines(first, said, as_json=False)
    assert (heading.split()[0], row.split()[0]) == ("host", "home")
    assert list(changed_lines(state_after(), said, as_json=False)) == []
    # The wall clock is set back by a minute.
    stepped = state_after(ClockRow(0, 2 * 10**9, WALL_NS - 59 * 10**9, 2 * 10**9, 2 * 10**9 + 100))
    (change,) = changed_lines(stepped, said, as_json=False)
    assert change.startswith("provisional: home: the wall clock was set by -60.0")
    assert max(map(len, screen_lines(stepped, 80))) <= 80
    ended = state_after(EndRow(0, 3 * 10**9, 0, 0, 0))
    assert has_ended(ended)
    (final,) = changed_lines(ended, said, as_json=False)
    assert final == change.removeprefix("provisional: ")
    assert list(changed_lines(ended, said, as_json=False)) == []


def test_a_folder_that_is_no_run_is_one_sentence(coeval: Coeval, folder: Path) -> None:
    done = coeval("clocks", folder, "--watch")
    assert done.returncode == 2
    assert "is not a run folder" in done.stderr
