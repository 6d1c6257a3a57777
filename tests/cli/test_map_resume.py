"""`coeval map --resume`: a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from coeval.recording._spool import decode_spool

MODULE = """
import os

def square(text):
    with open(os.environ["RAN"], "a") as file:  # one short write: whole lines
        file.write(text + "\\n")
    if text == os.environ.get("HOLD_AT"):
        with open(os.environ["GATE"]) as gate:  # until the test has killed us
            gate.read()
    return int(text) ** 2
"""

INPUTS = [str(n) for n in range(80)]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(MODULE)
    (tmp_path / "inputs.txt").write_text("\n".join(INPUTS) + "\n")
    os.mkfifo(tmp_path / "gate")
    return tmp_path


def start(here: Path, *options: str, hold_at: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "RAN": str(here / "ran"), "GATE": str(here / "gate"), "HOLD_AT": hold_at}
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "coeval",
            "map",
            "work:square",
            "@inputs.txt",
            "--run",
            "run",
            "-o",
            "out.jsonl",
            *options,
        ],
        cwd=here,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, talk = process.communicate(timeout=60)
    return process.returncode, talk


def kept_before_resume(here: Path) -> list[str]:
    """The inputs whose results the killed process had kept."""
    rows = decode_spool((here / "run" / "0001.ledger").read_bytes()).rows
    return [str(row[1]) for row in rows if row[0] == "result"]


def kill_half_way(here: Path, engine: str) -> None:
    process = start(here, "--engine", engine, hold_at="40")
    # Opening for writing waits until the call has opened it for reading.
    with open(here / "gate", "w"):
        process.send_signal(signal.SIGKILL)
        finish(process)


@pytest.mark.parametrize("engine", ["local:2", "inline:", "dask:2"])
def test_a_killed_run_goes_on_and_gives_what_an_undisturbed_one_gives(here: Path, engine: str) -> None:
    kill_half_way(here, engine)
    ran_before = Counter((here / "ran").read_text().split())
    code, talk = finish(start(here, "--engine", engine, "--resume"))
    assert code == 0, talk
    lines = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert lines == [{"index": n, "input": str(n), "value": n * n} for n in range(80)]
    ran = (here / "ran").read_text().split()
    assert set(ran) == set(INPUTS)
    # Run twice is at most what was in flight: what each of two workers ran, and what it had just sent home; in batches
    # on their way with Dask.
    in_flight_max = 4 if engine != "dask:2" else sum(ran_before.values()) - len(kept_before_resume(here))
    assert len(ran) - 80 <= in_flight_max
    assert all(ran.count(item) == 1 for item in kept_before_resume(here))


def test_a_finished_run_resumed_runs_nothing(here: Path) -> None:
    assert finish(start(here))[0] == 0
    before = (here / "out.jsonl").read_bytes()
    assert finish(start(here, "--resume"))[0] == 0
    assert (here / "out.jsonl").read_bytes() == before
    assert len((here / "ran").read_text().split()) == 80


def test_changed_source_is_refused_and_out_is_left_alone(here: Path) -> None:
    kill_half_way(here, "local:2")
    kept = (here / "out.jsonl").read_bytes()
    (here / "work.py").write_text(MODULE.replace("** 2", "** 3"))
    code, talk = finish(start(here, "--resume"))
    assert code == 2
    assert "the source of work:square is not what it was when run was begun" in talk
    assert (here / "out.jsonl").read_bytes() == kept
    assert finish(start(here, "--resume", "--trust-changes"))[0] == 0


def test_changed_input_is_refused_naming_it(here: Path) -> None:
    assert finish(start(here))[0] == 0
    (here / "inputs.txt").write_text("\n".join(["0", "7", *INPUTS[2:]]) + "\n")
    code, talk = finish(start(here, "--resume"))
    assert code == 2
    assert "input 1 is not what it was" in talk


def test_resuming_wants_a_folder(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coeval", "map", "work:square", "1", "--resume"],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--run DIR" in done.stderr


def test_both_parts_of_the_run_are_on_its_timeline(here: Path) -> None:
    kill_half_way(here, "local:2")
    assert finish(start(here, "--resume"))[0] == 0
    shown = subprocess.run(
        [sys.executable, "-m", "coeval", "timeline", "run", "--limit", "0"],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0
    assert "work:square" in shown.stdout
