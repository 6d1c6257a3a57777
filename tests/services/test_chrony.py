"""
Runs tied to UTC by real chronyd servers on loopback, some of them wrong.

The truth is this host's wall clock, which the right servers serve; chronyd -x never sets it. A wrong server runs on a
skewed host, whose wall clock is off.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coeval import Executor, mark, open_run
from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.clocks._chrony import NoTracking, read_chrony
from coeval.clocks._host import Synchronisation
from coeval.clocks._host_time import read_host_time
from coeval.clocks._ntp import NtpExchange, TimeServer, TimeServers
from coeval.testing import Skew, SkewedHost
from coeval.testing._gate import wait_until
from coeval.timeline import RunTimeline

START_S_MAX = 30
OFF_NS = 250_000_000


class Chronyd:
    """
    A chronyd that sets no clock.

    Attributes:
        port: where it serves NTP; 0: nowhere.
        command_port: where it answers what it knows; 0: nowhere.
        name: how `--ntp` names it.
    """

    def __init__(self, folder: Path, *lines: str, host: SkewedHost | None = None, serves: bool = True) -> None:
        self.port = free_port() if serves else 0
        self.command_port = 0 if serves else free_port()
        self.name = f"127.0.0.1:{self.port}"
        folder.mkdir()
        config = folder / "chrony.conf"
        addresses = ["bindaddress 127.0.0.1", "bindcmdaddress 127.0.0.1", "bindcmdaddress /"]
        ports = [f"port {self.port}", f"cmdport {self.command_port}", f"pidfile {folder / 'pid'}"]
        config.write_text("\n".join([*lines, *addresses, *ports, ""]))
        program = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert program, "chronyd is missing: see system-packages.txt"
        self.log = folder / "log"
        start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen if host is None else host.popen
        with open(self.log, "wb") as log:
            self._process = start(
                [program, "-x", "-U", "-d", "-u", getpass.getuser(), "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, is_ready: Callable[[], bool]) -> None:
        wait_until(lambda: is_ready() or self._process.poll() is not None, START_S_MAX)
        assert is_ready(), f"chronyd did not start (exit code {self._process.poll()}):\n{self.log.read_text()}"

    def answers(self) -> bool:
        return isinstance(TimeServers([TimeServer("127.0.0.1", self.port)]).ask(0.2)[0], NtpExchange)

    def knows_utc(self) -> bool:
        """It has had some answers; with the first one its bound is a quarter of a second."""
        try:
            return read_chrony(SYSTEM_CLOCK, self.command_port).max_error_ns < 10_000_000
        except NoTracking:
            return False

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        port: int = channel.getsockname()[1]
    return port


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Chronyd]]:
    """Start an NTP server whose clock is `off_ns` ahead; it ends with the test."""
    started: list[Chronyd] = []
    hosts: list[SkewedHost] = []

    def start(off_ns: int = 0) -> Chronyd:
        if off_ns:
            hosts.append(SkewedHost(f"off{len(hosts)}", Skew(wall_offset_ns=off_ns), isolated=False))
        number = len(started)
        lines = ["local stratum 1", "allow 127.0.0.1"]
        server = Chronyd(tmp_path / f"chronyd{number}", *lines, host=hosts[-1] if off_ns else None)
        started.append(server)
        server.wait_for(server.answers)
        return server

    yield start
    for server in started:
        server.end()
    for host in hosts:
        host.end()


def true_utc(number: int) -> tuple[int, int]:
    """The truth around a mark."""
    before = time.time_ns()
    mark("now", number=number)
    return before, time.time_ns()


def check_truth(timeline: RunTimeline, truths: list[tuple[int, int]]) -> int:
    """Every mark's interval holds the true UTC; gives the widest."""
    marks = {event.fields["number"]: event.begin for event in timeline.events if event.name == "now"}
    assert len(marks) == len(truths)
    widest = 0
    for number, (before, after) in enumerate(truths):
        found = marks[number]
        assert found.earliest_ns is not None
        assert found.latest_ns is not None
        assert found.earliest_ns <= after
        assert before <= found.latest_ns
        widest = max(widest, found.latest_ns - found.earliest_ns)
    return widest


def test_with_three_servers_utc_is_inside_and_the_one_that_is_250_ms_off_is_named(
    start_server: Callable[..., Chronyd], tmp_path: Path
) -> None:
    good, other, false = start_server(), start_server(), start_server(OFF_NS)
    names = [server.name for server in (good, false, other)]
    with Executor("local:2", ntp=names, run=tmp_path / "run") as ex:
        truths = list(ex.map(true_utc, range(50)))
    timeline = open_run(tmp_path / "run")
    assert timeline.reference_label == ex.timeline.reference_label == "UTC"
    widest = check_truth(timeline, truths)
    assert widest < OFF_NS // 5, "so wide that the false server would not matter"
    (problem,) = (text for text in timeline.problems if "is false" in text)
    assert problem.startswith(f"ntp {false.name} is false: it is at least 2")
    assert "ms ahead of what" in problem
    for server in (good, other):
        assert f"ntp {server.name}" in problem


def test_with_two_servers_that_disagree_both_are_named_and_nothing_is_called_utc(
    start_server: Callable[..., Chronyd], tmp_path: Path
) -> None:
    """Both are wrong, so that a host which keeps its own time right does not outvote one of them."""
    ahead, behind = start_server(OFF_NS), start_server(-OFF_NS)
    with Executor("local:2", ntp=[ahead.name, behind.name], run=tmp_path / "run") as ex:
        list(ex.map(true_utc, range(10)))
    timeline = open_run(tmp_path / "run")
    assert timeline.reference_label.startswith("time of host ")
    (problem,) = (text for text in timeline.problems if "sources of UTC agree" in text)
    assert f"ntp {ahead.name}" in problem
    assert f"ntp {behind.name}" in problem
    shown = subprocess.run(
        [sys.executable, "-m", "coeval", "clocks", str(tmp_path / "run")], capture_output=True, text=True, timeout=60
    ).stdout
    assert shown.startswith("reference: time of host ")
    assert ahead.name in shown
    assert behind.name in shown


def test_the_command_says_of_each_server_whether_it_is_believed(start_server: Callable[..., Chronyd]) -> None:
    good, other, false = start_server(), start_server(), start_server(-OFF_NS)
    names = [server.name for server in (good, other, false)]
    command = [sys.executable, "-m", "coeval", "clocks", "--queries", "1", *(f"--ntp={name}" for name in names)]
    before = time.time_ns()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 1, done.stderr
    assert time.time_ns() > before
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("127.0.0.1:")}
    assert rows == {good.name: "agrees", other.name: "agrees", false.name: "FALSE"}
    assert f"ntp {false.name} is false" in " ".join(done.stdout.split())


def test_what_a_chronyd_of_this_host_knows_holds_the_true_utc(
    start_server: Callable[..., Chronyd], tmp_path: Path
) -> None:
    server = start_server()
    lines = [f"server 127.0.0.1 port {server.port} iburst minpoll 0 maxpoll 0"]
    own = Chronyd(tmp_path / "own", *lines, serves=False)
    try:
        own.wait_for(own.knows_utc)
        before = SYSTEM_CLOCK.snapshot()
        nothing = Synchronisation("unknown", None, "")
        found = read_host_time(
            SYSTEM_CLOCK, clock_id(SYSTEM_CLOCK), chrony_port=own.command_port, kernel=lambda: nothing
        )
    finally:
        own.end()
    assert found.asked == "chrony"
    assert found.anchor is not None
    true_ns = before.realtime_ns + found.anchor.reading_ns - before.raw_before_ns
    assert found.anchor.earliest_ns <= true_ns <= found.anchor.latest_ns
    assert found.anchor.latest_ns - found.anchor.earliest_ns < 50_000_000


def test_a_chronyd_that_serves_its_own_clock_knows_no_utc(tmp_path: Path) -> None:
    own = Chronyd(tmp_path / "own", "local stratum 1", serves=False)
    try:
        reasons: list[str] = []

        def refuses() -> bool:
            try:
                read_chrony(SYSTEM_CLOCK, own.command_port)
            except NoTracking as reason:
                reasons.append(str(reason))
            return "serves this host's own clock" in reasons[-1]

        own.wait_for(refuses)
    finally:
        own.end()
