"""`coeval clocks --ntp`, and runs that are tied to UTC: the real command, and servers that tell this host's time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval import Executor, open_run
from coeval.cli._ntp import judged, lines_of
from coeval.clocks import SYSTEM_CLOCK, Snapshot
from coeval.clocks._host_time import HostTime
from coeval.clocks._ntp import NoExchange, NtpExchange, NtpReply, NtpResult, TimeServer
from tests.ntp_server import NtpServer, honest

Coeval = Callable[..., "subprocess.CompletedProcess[str]"]

OFF_NS = 250_000_000


def ahead(query: bytes) -> list[bytes]:
    return [honest(query, OFF_NS)]


def behind(query: bytes) -> list[bytes]:
    return [honest(query, -OFF_NS)]


def words(text: str) -> str:
    return " ".join(text.split())


def test_servers_that_agree_are_shown_with_the_wall_clocks_offset(coeval: Coeval) -> None:
    with NtpServer() as one, NtpServer() as other:
        done = coeval("clocks", "--ntp", one.name, "--ntp", other.name, "--queries", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" agrees\n") >= 2
    assert "agreed" in done.stdout


def test_a_false_server_is_named_and_a_silent_one_as_well(coeval: Coeval) -> None:
    with NtpServer() as gone:
        pass
    with NtpServer() as one, NtpServer() as other, NtpServer(ahead) as false:
        names = [server.name for server in (one, other, false, gone)]
        began_ns = time.time_ns()
        done = coeval("clocks", *(f"--ntp={name}" for name in names), "--queries", 1, "--json")
        ended_ns = time.time_ns()
    assert (done.returncode, done.stderr) == (1, "")
    *sources, agreement = map(json.loads, done.stdout.splitlines())
    told = {source["source"]: source for source in sources}
    assert [told[name]["verdict"] for name in names] == ["agrees", "agrees", "false", "no answer"]
    assert "Connection refused" in told[gone.name]["failures"][0]
    least, _, greatest = told[false.name]["wall_offset_ns"]
    assert least < -OFF_NS < greatest
    assert false.name in agreement["problems"][0]
    least, estimate, greatest = agreement["wall_offset_ns"]
    assert least <= 0 <= greatest, "the servers have this host's own wall clock"
    assert least <= estimate <= greatest
    assert began_ns <= agreement["utc_latest_ns"]
    assert agreement["utc_earliest_ns"] <= ended_ns


def test_servers_that_do_not_agree_are_all_named_and_nothing_is_called_utc(coeval: Coeval) -> None:
    with NtpServer(ahead) as one, NtpServer(behind) as other:
        done = coeval("clocks", "--ntp", one.name, "--ntp", other.name, "--queries", 1)
    assert (done.returncode, done.stderr) == (2, "")
    assert "agreed" not in done.stdout
    assert one.name in words(done.stdout).partition("UNKNOWN")[2]
    assert other.name in words(done.stdout).partition("UNKNOWN")[2]


def test_it_fits_80_columns_with_every_kind_of_source() -> None:
    servers = [TimeServer(name) for name in ("a.example.org", f"{'long' * 9}.example.org", "c", "d", "e")]
    now = SYSTEM_CLOCK.snapshot()

    def exchange(server: TimeServer, off_ns: int, bound_ns: int) -> NtpExchange:
        utc_ns = now.realtime_ns + off_ns
        reply = NtpReply(0, 15, 100, bound_ns, utc_ns, utc_ns)
        return NtpExchange(server, "2001:db8::1", now.raw_before_ns - 5000, now.raw_after_ns, reply)

    results: list[NtpResult] = [
        exchange(servers[0], 0, 123_456),
        exchange(servers[1], 0, 987_654_321),
        exchange(servers[2], -400 * 86_400 * 10**9, 14 * 10**9),
        NoExchange(servers[3], "silent", "no answer from 2001:db8::1 within 2 s"),
        NoExchange(servers[4], "kiss", "it is asked too often (kiss code 'RATE')"),
    ]
    asked = judged("h" * 60, servers, [results], HostTime(None, "", ("no chronyd answers at port 323",)), now)
    lines = [*lines_of(asked, 80)]
    assert [line for line in lines if len(line) > 80] == []
    first = lines.index("") + 2
    assert [line.split()[-1] for line in lines[first : first + 5]] == ["agrees", "agrees", "FALSE", "answer", "answer"]
    text = words("\n".join(lines))
    assert "FALSE ntp c is false: it is at least 34559985." in text
    assert "kiss e: it is asked too often (kiss code 'RATE')" in text
    assert asked.exit_code == 1


def test_a_bound_of_the_hosts_own_is_a_source_like_the_others() -> None:
    now = Snapshot(10**9, 10**18, 0, 10**9 + 100)
    server = TimeServer("a")
    reply = NtpReply(0, 1, 1, 0, 10**18, 10**18)
    exchange = NtpExchange(server, "::1", 10**9 - 1000, 10**9 + 1000, reply)
    own = HostTime(exchange.anchor("x")._replace(source="chrony of h"), "chrony", ())  # type: ignore[arg-type]
    asked = judged("h", [server], [[exchange]], own, now)
    assert [source.name for source in asked.sources] == ["a", "this host's chrony"]
    assert asked.exit_code == 0
    assert "tells no bound" not in "\n".join(lines_of(asked, 80))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--ntp", "ntp://x"], "expected HOST or HOST:PORT"),
        (["run", "--ntp", "x"], "leave one of the two out"),
        ([], "expected a run folder, files of messages, or time servers"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(coeval: Coeval, arguments: list[str], reason: str) -> None:
    done = coeval("clocks", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


# Runs -----------------------------------------------------------------------------------------------------------------

SCRIPT = """
from coeval import Executor
with Executor("local:1") as ex:
    ex.submit(abs, -1).result()
"""


def test_a_script_that_is_run_with_time_servers_is_on_utc_and_the_false_one_is_named(
    coeval: Coeval, folder: Path
) -> None:
    (folder / "script.py").write_text(SCRIPT)
    with NtpServer() as one, NtpServer() as other, NtpServer(ahead) as false:
        servers = [f"--ntp={server.name}" for server in (one, other, false)]
        began_ns = time.time_ns()
        done = coeval("run", "--run", "run", *servers, "script.py")
        ended_ns = time.time_ns()
    assert done.returncode == 0, done.stderr
    timeline = open_run(folder / "run")
    assert timeline.reference_label == "UTC"
    for event in timeline.events:
        assert event.begin.earliest_ns is not None
        assert event.begin.latest_ns is not None
        assert began_ns <= event.begin.latest_ns
        assert event.begin.earliest_ns <= ended_ns
    for verb in ("clocks", "timeline"):
        assert f"ntp {false.name} is false" in words(coeval(verb, "run").stdout)
    facts = json.loads(coeval("clocks", "run", "--json").stdout)["sources"]
    assert {fact["source"]: fact["verdict"] for fact in facts if fact["source"].startswith("ntp ")} == {
        f"ntp {one.name}": "agrees",
        f"ntp {other.name}": "agrees",
        f"ntp {false.name}": "false",
    }


def test_a_map_that_is_recorded_with_a_time_server_is_on_utc(coeval: Coeval, folder: Path) -> None:
    with NtpServer() as server:
        done = coeval("map", "builtins:len", "a", "bc", "--run", "run", "--ntp", server.name, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert open_run(folder / "run").reference_label == "UTC"


@pytest.mark.parametrize("verb", [["run", "script.py"], ["map", "builtins:len", "a"]])
def test_a_server_that_cannot_be_read_is_told_before_anything_is_done(
    coeval: Coeval, folder: Path, verb: list[str]
) -> None:
    (folder / "script.py").write_text(SCRIPT)
    done = coeval(verb[0], "--ntp", "a:b", *verb[1:])
    assert done.returncode == 2
    assert "port 'b'; expected a number" in done.stderr
    assert not (folder / "coeval-runs").exists()


def test_an_executors_timeline_is_on_utc_while_it_runs_and_after(folder: Path) -> None:
    with NtpServer() as one, NtpServer() as other, Executor("local:1", ntp=[one.name, other.name], run="run") as ex:
        ex.submit(abs, -1).result()
    assert ex.timeline.reference_label == "UTC"
    assert open_run("run").reference_label == "UTC"
    # A host that keeps its own time right has a voice too.
    assert {verdict.verdict for clock in ex.timeline.clocks for verdict in clock.sources} == {"agrees"}


def test_an_unreachable_server_costs_a_warning_and_no_call(folder: Path) -> None:
    script = """
import warnings
from coeval import Executor
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    with Executor("local:1", ntp="127.0.0.1:{port}") as ex:
        assert ex.submit(abs, -1).result() == 1
print(len(warned), warned[0].category.__name__, ex.timeline.reference_label)
"""
    with NtpServer() as gone:
        pass
    done = subprocess.run(
        [sys.executable, "-c", script.replace("{port}", str(gone.port))], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.startswith("1 ClockWarning ")


def test_a_wrong_server_is_refused_before_any_worker_is_started() -> None:
    with pytest.raises(ValueError, match="expected HOST or HOST:PORT"):
        Executor("local:1", ntp=["ntp://x"])
