from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval import Executor
from coeval.cli._clocks_of_run import clock_lines
from coeval.recording import RunFolder
from coeval.recording._rows import (
    ClockRow,
    ExchangeRow,
    ExecutorRow,
    FunctionRow,
    HostRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.recording._spool import SpoolWriter
from coeval.timeline import open_run

Coeval = Callable[..., "subprocess.CompletedProcess[str]"]

WALL_NS = 1_790_000_000_000_000_000
FAR_NS = 10**15
STEP_NS = 10_000_000_000


def recorded(path: Path, rows: list[Row]) -> Path:
    folder = RunFolder.create(path, command=["python", "shop.py"])
    spool = SpoolWriter(folder.path / "0001.spool")
    for row in rows:
        spool.append(row)
    spool.rest()
    return path


@pytest.fixture
def two_hosts(folder: Path) -> Path:
    """A driver, and a worker on another host whose wall clock is 2 s ahead and is set 10 s forward at the end."""
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "boot-home/0/monotonic_raw", "3.11"),
        HostRow(0, 10**9, "Europe/Berlin", 7200, "no", -1, "install chrony"),
        ClockRow(0, 10**9, WALL_NS, 10**9, 10**9 + 100),
        ExecutorRow(0, "dask", 10**9),
        FunctionRow(0, 0, "shop:work", ""),
        ProcessRow(1, "worker", "far", 2, "boot-far/0/monotonic_raw", "3.11", 0),
        ClockRow(1, FAR_NS + 10**9, WALL_NS + 2 * 10**9, FAR_NS + 10**9, FAR_NS + 10**9 + 100),
    ]
    for batch in range(100):
        sent = 2 * 10**9 + batch * 10**7
        rows.append(SentRow(0, batch, 1, 0, [batch], sent))
        started = FAR_NS + sent + 200_000
        rows.append(OutcomeRow(0, batch, 0, 1, "ok", 1, sent, started, started + 10**6, sent + 1_500_000))
    rows.append(ExchangeRow(0, 1, 3_500_000_000, FAR_NS + 3_500_200_000, FAR_NS + 3_500_210_000, 3_500_500_000))
    rows.append(ExchangeRow(0, 1, 0, 0, FAR_NS + 3_600_200_000, 3_600_500_000))  # only an introduction
    rows.append(
        ClockRow(1, FAR_NS + 4 * 10**9, WALL_NS + 5 * 10**9 + STEP_NS, FAR_NS + 4 * 10**9, FAR_NS + 4 * 10**9 + 100)
    )
    rows.append(ClockRow(0, 4 * 10**9, WALL_NS + 3 * 10**9, 4 * 10**9, 4 * 10**9 + 100))
    return recorded(folder / "two", rows)


def test_it_shows_offset_rate_bounds_steps_and_what_to_do(coeval: Coeval, two_hosts: Path) -> None:
    done = coeval("clocks", two_hosts)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert "reference: time of host home" in text
    assert "home, the reference raw clock boot-home/0/monotonic_raw" in text
    assert "0 by definition" in text
    assert "+12.0000 s ±" in text
    assert "against the wall clock of home" in text
    assert "102 from it and 101 to it bound it; one of them each way is a probe, which carried no call" in text
    assert "the wall clock was set by +10.000 s ±1.6 ms, between" in text
    assert "synchronised no: install chrony" in text
    assert "Europe/Berlin, +02:00 from UTC" in text
    assert "ppm, certainly" in text


def test_json_gives_integers_that_hold_the_truth(coeval: Coeval, two_hosts: Path) -> None:
    home, far = (json.loads(line) for line in coeval("clocks", two_hosts, "--json").stdout.splitlines())
    assert (home["is_reference"], far["is_reference"]) == (True, False)
    least, estimate, greatest = far["wall_offset_declared_ns"]
    assert least <= 2 * 10**9 + STEP_NS <= greatest
    assert least <= estimate <= greatest
    (change,) = far["changes"]
    assert change["size_ns"][0] <= STEP_NS <= change["size_ns"][1]
    assert far["synchronised"] == "unknown"
    assert far["utc_offset_s"] is None


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_longer_than_the_screen_and_no_number_is_broken(two_hosts: Path, columns: int) -> None:
    found = open_run(two_hosts)
    lines = [line for line in clock_lines(found, columns) if "monotonic_raw" not in line]
    assert max(map(len, lines)) <= max(columns, 80)
    joined = " ".join(" ".join(lines).split())
    wide = " ".join(" ".join(line for line in clock_lines(found, 10_000) if "monotonic_raw" not in line).split())
    assert joined == wide


def double(number: int) -> int:
    return 2 * number


def test_processes_of_one_host_share_one_clock_that_their_messages_checked(coeval: Coeval, folder: Path) -> None:
    with Executor("local:2", run=folder / "run") as executor:
        assert sum(executor.map(double, range(10))) == 90
    text = " ".join(coeval("clocks", folder / "run").stdout.split())
    assert "messages checked that they share it" in text
    assert "the times of its" in text
    assert "CLASH" not in text


def test_cloned_machines_that_share_a_boot_id_are_told_apart_and_named(coeval: Coeval, folder: Path) -> None:
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "boot/0/monotonic_raw", "3.11"),
        ClockRow(0, 10**9, WALL_NS, 0, 10**9 + 100),
        ProcessRow(1, "worker", "clone", 2, "boot/0/monotonic_raw", "3.11", 0),
        ExecutorRow(0, "dask", 10**9),
        SentRow(0, 0, 1, 0, [0], 2 * 10**9),
        OutcomeRow(0, 0, 0, 1, "ok", 1, 2 * 10**9, 500, 900, 2 * 10**9 + 1000),
    ]
    done = coeval("clocks", recorded(folder / "clones", rows))
    text = " ".join(done.stdout.split())
    assert "CLASH Processes clone:2 and home:1 both claim clock" in text
    assert "boot/0/monotonic_raw~clone:2" in text


def test_a_folder_that_is_no_run_is_one_sentence_and_exit_code_2(coeval: Coeval, folder: Path) -> None:
    done = coeval("clocks", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a run folder" in done.stderr


def test_a_picture_shows_the_wall_clock_of_each_host(coeval: Coeval, two_hosts: Path, folder: Path) -> None:
    done = coeval("clocks", two_hosts, "--plot", "clocks.svg")
    assert (done.returncode, done.stderr) == (0, "2 clocks drawn in clocks.svg\n")
    assert "reference: time of host home" in done.stdout
    assert (folder / "clocks.svg").stat().st_size > 10_000
