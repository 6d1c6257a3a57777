"""
A cluster as bad as real ones get, and a timeline that is right: clocks that are off, slow, and set in mid-run, over
links that are uneven, jittery and lossy.

    python examples/rough_network.py [SECONDS]          at least 16; 24 unless said

Four hosts on this machine, each with an address and clocks of its own: Dask's scheduler and the program on one, and a
worker on each of the others. `work` is called many times, and in the middle one host's wall clock is set forward.
Each call reads this machine's real clocks too, past its host's wrong ones, and everything that the timeline says is
checked against those: the exit code is 1 if any claim fails.

Needs root, /dev/net/tun, a C compiler, and `pip install 'coeval[dask,testing]'`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, TypeAlias

import coeval
from coeval import Executor
from coeval.testing import Link, Network, Skew, SkewedHost, Traffic, true_times
from coeval.timeline import ClockEntry, RunTimeline

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
SECONDS = 24.0

# Calls under way at once, and the pause of the program between two: about forty calls a second.
AHEAD = 6
PAUSE_S = 0.02

# There 6 ms, back 1 ms: from its ends nobody can tell this from 3.5 ms each way, so no estimate can be right to better
# than 2.5 ms, and most tools are wrong by that without knowing.
LINK = Link(delay_s=(0.006, 0.001), jitter_s=0.002, loss=0.01)

# Wall clocks as the issue of many a bug report has them; raw clocks differ in rate as oscillators do.
SKEWS = {
    "node1": Skew(2_500 * MS_NS, 0, 86_400 * SECOND_NS, 30_000),
    "node2": Skew(-40 * MS_NS, 80_000, 3_600 * SECOND_NS, -45_000),
    "node3": Skew(0, 0, 864_000 * SECOND_NS, 12_000),
}
SET_HOST, SET_BY_NS = "node3", 300 * MS_NS


class Seen(NamedTuple):
    """
    What one call saw, and what the program saw of it; all ns.

    Attributes:
        number: of the call.
        host: where it ran.
        sent_ns, began_ns, ended_ns, received_ns: by wall clocks: of the program, the host, the host, the program.
        true_before_ns, true_after_ns: true raw times around the call's mark.
        shown_ns: what the host's raw clock showed between the two.
    """

    number: int
    host: str
    sent_ns: int
    began_ns: int
    ended_ns: int
    received_ns: int
    true_before_ns: int
    shown_ns: int
    true_after_ns: int


# The program, on the head ---------------------------------------------------------------------------------------------


Answer: TypeAlias = tuple[str, int, int, int, int, int]


def work(number: int) -> Answer:
    """Mark a moment, with the true times around it."""
    began_ns = time.time_ns()
    before = true_times()
    shown_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    coeval.mark("here", number=number)
    after = true_times()
    return platform.node(), began_ns, before.raw_ns, shown_ns, after.raw_ns, time.time_ns()


def program(engine: str, folder: Path, seconds: float) -> None:
    """Call for so long; say when half of it is over."""
    numbers = count()
    sent: dict[Future[Answer], tuple[int, int]] = {}
    received = SimpleQueue[tuple[Future[Answer], int]]()
    with open(folder / "seen.jsonl", "w") as out, Executor(engine, run=folder / "run") as ex:
        started_s = time.monotonic()
        half_is_over = False
        while (goes_on := time.monotonic() < started_s + seconds) or sent:
            if goes_on and len(sent) < AHEAD:
                number, sent_ns = next(numbers), time.time_ns()
                future = ex.submit(work, number)
                sent[future] = number, sent_ns
                future.add_done_callback(lambda future: received.put((future, time.time_ns())))
                time.sleep(PAUSE_S)
                continue
            future, received_ns = received.get()
            number, sent_ns = sent.pop(future)
            host, began_ns, before_ns, shown_ns, after_ns, ended_ns = future.result()
            seen = Seen(number, host, sent_ns, began_ns, ended_ns, received_ns, before_ns, shown_ns, after_ns)
            print(json.dumps(seen), file=out)
            if not half_is_over and time.monotonic() > started_s + seconds / 2:
                half_is_over = True
                print("half", flush=True)


# The cluster ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """
    What is left of the cluster.

    Attributes:
        folder: has the run folder `run`.
        hosts: they have ended; their truth has not.
        traffic: between the head and each of them: there and back.
        seen: every call.
    """

    folder: Path
    hosts: dict[str, SkewedHost]
    traffic: dict[str, tuple[Traffic, Traffic]]
    seen: tuple[Seen, ...]


def ran_on_a_rough_network(folder: Path, seconds: float) -> Ran:
    """Run the program on such a cluster, and set a clock when half of the time is over."""
    with rough_cluster(folder) as (network, head, hosts, engine):
        driver = head.popen(
            [sys.executable, __file__, "--on-head", engine, str(folder), str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdout is not None
        assert driver.stdout.readline() == "half\n", "the program has failed"
        now = hosts[SET_HOST].now()
        hosts[SET_HOST].set(replace(now, wall_offset_ns=now.wall_offset_ns + SET_BY_NS))
        driver.communicate()
        assert driver.returncode == 0, "the program has failed"
        traffic = {name: (network.traffic(head, name), network.traffic(name, head)) for name in hosts}
    for name, (there, back) in traffic.items():
        print(f"{name}: {there.lost} of {there.sent} packets there were lost, {back.lost} of {back.sent} back")
    rows = (json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines())
    return Ran(folder, hosts, traffic, tuple(Seen(*row) for row in rows))


@contextmanager
def rough_cluster(folder: Path) -> Iterator[tuple[Network, SkewedHost, dict[str, SkewedHost], str]]:
    """A network, its head with a Dask scheduler, its other hosts each with a worker, and the scheduler's URL."""
    with ExitStack() as stack:
        network = stack.enter_context(Network(LINK))
        log = stack.enter_context(open(folder / "log", "wb"))
        head = network.host("head")
        hosts = {name: network.host(name, skew) for name, skew in SKEWS.items()}

        def start(host: SkewedHost, what: str, *options: str) -> None:
            module = f"distributed.cli.dask_{what}"
            command = [sys.executable, "-m", module, "--host", str(host.address), "--no-dashboard", *options]
            host.popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "PYTHONPATH": our_path()})

        start(head, "scheduler", "--port", "8786")
        scheduler = f"{head.address}:8786"
        for host in hosts.values():
            start(
                host, "worker", f"tcp://{scheduler}", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)
            )
        waits = (
            "import sys, distributed\n"
            "with distributed.Client(sys.argv[1], timeout=60) as client: client.wait_for_workers(3, timeout=60)"
        )
        up = head.popen([sys.executable, "-c", waits, f"tcp://{scheduler}"], stderr=log)
        assert up.wait(120) == 0, (folder / "log").read_text()
        yield network, head, hosts, f"dask://{scheduler}"


def our_path() -> str:
    """So that the hosts' programs import what this one does."""
    return os.pathsep.join(path for path in sys.path if path)


# What the timeline claims, against the truth --------------------------------------------------------------------------


def check_marks(timeline: RunTimeline, ran: Ran) -> list[str]:
    """Every mark lies where the true clocks were read around it."""
    # The timeline counts on the raw clock of the head, which is the true one, plus a constant.
    stamps, instants = timeline.calls[0].attempts[-1].stamps, timeline.calls[0].attempts[-1].instants
    assert stamps.handed_over is not None
    assert instants.handed_over is not None
    assert instants.handed_over.estimate_ns is not None
    constant_ns = instants.handed_over.estimate_ns - stamps.handed_over.reading_ns
    marks = {event.fields["number"]: event for event in timeline.events if event.kind == "mark"}
    wrong, widths_ns, errors_ns = [], [], []
    for seen in ran.seen:
        event = marks[seen.number]
        at = event.begin
        if at.earliest_ns is None or at.latest_ns is None or at.estimate_ns is None:
            wrong.append(f"call {seen.number}: its mark has no bound on one side")
            continue
        least_ns, greatest_ns = seen.true_before_ns + constant_ns, seen.true_after_ns + constant_ns
        if not (at.earliest_ns <= greatest_ns and least_ns <= at.latest_ns):
            wrong.append(
                f"call {seen.number} on {seen.host}: its mark was between {least_ns} and {greatest_ns}, not {at}"
            )
        # To the nanosecond: what the host's clock showed says when that was.
        exact_ns = ran.hosts[seen.host].truth.raw.true(event.begin_stamp.reading_ns)
        if not at.earliest_ns <= exact_ns + constant_ns <= at.latest_ns:
            wrong.append(f"call {seen.number} on {seen.host}: its mark was at {exact_ns + constant_ns}, not {at}")
        if not seen.true_before_ns <= exact_ns <= seen.true_after_ns:
            wrong.append(f"call {seen.number} on {seen.host}: the skew of this host is not what it should be")
        widths_ns.append(at.latest_ns - at.earliest_ns)
        errors_ns.append(abs(at.estimate_ns - exact_ns - constant_ns))
    widest, worst = max(widths_ns, default=0) / MS_NS, max(errors_ns, default=0) / MS_NS
    print(f"{len(ran.seen)} marks checked: intervals are up to {widest:.3f} ms wide")
    print(f"and estimates off by up to {worst:.3f} ms")
    return wrong


def check_order(timeline: RunTimeline) -> list[str]:
    """No call runs backwards on the timeline."""
    backwards = 0
    for call in timeline.calls:
        order = [instant.estimate_ns or 0 for instant in call.attempts[-1].instants if instant is not None]
        backwards += order != sorted(order)
    print(f"{len(timeline.calls)} calls, of which {backwards} run backwards")
    return [f"{backwards} calls run backwards"] if backwards else []


def check_clocks(timeline: RunTimeline, ran: Ran) -> list[str]:
    """The clock table is right about each wall and raw clock, and has the one step that there was."""
    entries = {entry.clock: entry for entry in timeline.clocks}
    wrong = []
    for host in ran.hosts.values():
        entry = entries[host.clock_id]
        wrong += [f"{host.name}: {claim}" for claim in (*wrong_offsets(entry, host), *wrong_changes(entry, host))]
    return wrong


def wrong_offsets(entry: ClockEntry, host: SkewedHost) -> Iterator[str]:
    """The offset of the wall clock when it was last read, and offset and rate of the raw clock."""
    assert entry.wall_at is not None
    assert entry.wall_at.earliest_ns is not None
    assert entry.wall_at.latest_ns is not None
    # The head's wall clock is the true one, and what the timeline counts from.
    true_wall_ns = [
        host.truth.wall.shown(at_ns) - at_ns for at_ns in (entry.wall_at.earliest_ns, entry.wall_at.latest_ns)
    ]
    for grade, wall in (("declared", entry.wall_declared), ("assumed", entry.wall_assumed)):
        if wall.least_ns is None or wall.greatest_ns is None:
            yield f"the {grade} offset of the wall clock is unknown"
        elif not (wall.least_ns <= max(true_wall_ns) and min(true_wall_ns) <= wall.greatest_ns):
            yield f"the {grade} offset of the wall clock is {wall}, and truly {true_wall_ns}"
    fit = entry.fits[-1]
    assert fit.reading_ns is not None
    true_raw_ns = host.truth.raw.offset_ns(fit.reading_ns)
    for grade, raw in (("declared", fit.declared), ("assumed", fit.assumed)):
        if raw.least_ns is None or raw.greatest_ns is None or not raw.least_ns <= true_raw_ns <= raw.greatest_ns:
            yield f"the {grade} offset of the raw clock is {raw}, and truly {true_raw_ns} ns"
    true_rate_ppm = host.skew.raw_rate_ppb / 1000
    rate = f"{fit.rate_ppm_least:+.1f} to {fit.rate_ppm_greatest:+.1f} ppm"
    print(f"{host.name}: the raw clock gains {rate}, truly {true_rate_ppm:+.1f}")
    if not fit.rate_ppm_least <= true_rate_ppm <= fit.rate_ppm_greatest:
        yield f"the rate of the raw clock is {rate}, and truly {true_rate_ppm} ppm"


def wrong_changes(entry: ClockEntry, host: SkewedHost) -> Iterator[str]:
    """The wall clock was set once, or never; how far, and between when."""
    pieces = host.truth.wall.pieces[1:]
    if len(entry.changes) != len(pieces):
        yield f"the wall clock was set {len(pieces)} times, and the timeline has {entry.changes}"
        return
    for change, piece in zip(entry.changes, pieces, strict=True):
        size = f"{change.size_ns_least / MS_NS:+.3f} to {change.size_ns_greatest / MS_NS:+.3f} ms"
        print(f"{host.name}: the wall clock was set by {size}, truly {SET_BY_NS / MS_NS:+.3f}")
        if change.kind != "step" or not change.size_ns_least <= SET_BY_NS <= change.size_ns_greatest:
            yield f"the wall clock was set by {SET_BY_NS} ns, and the timeline has {change}"
        earliest_ns, latest_ns = change.earliest.earliest_ns, change.latest.latest_ns
        if earliest_ns is None or latest_ns is None or not earliest_ns <= piece.since_ns <= latest_ns:
            yield f"the wall clock was set at {piece.since_ns}, and the timeline has {change}"


def wrong_claims(timeline: RunTimeline, ran: Ran) -> Sequence[str]:
    """All that the timeline has wrong."""
    return [*check_marks(timeline, ran), *check_order(timeline), *check_clocks(timeline, ran), *timeline.problems]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--on-head"]:
        program(sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]))
        sys.exit()
    with tempfile.TemporaryDirectory() as scratch:
        left = ran_on_a_rough_network(Path(scratch), float(sys.argv[1]) if sys.argv[1:] else SECONDS)
        failed = wrong_claims(coeval.open_run(Path(scratch) / "run"), left)
    for claim in failed:
        print("WRONG:", claim)
    sys.exit(bool(failed))
