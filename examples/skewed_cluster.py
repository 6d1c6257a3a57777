"""
Calls on a cluster whose clocks are wrong, and a timeline that is right.

    python examples/skewed_cluster.py           on a Dask cluster here, each worker a host with clocks of its own
    python examples/skewed_cluster.py --here    the same calls on local processes

`main` is an ordinary program; nothing in it knows of clocks, hosts or Dask. The rest makes the cluster, knows the true
clocks, and checks what the timeline says against them: the exit code is 1 if any claim fails.

Needs `pip install 'coeval[dask,testing]'` and a C compiler. With root the hosts have namespaces of their own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

from coeval import Executor
from coeval.testing import Skew, SkewedHost
from coeval.timeline import ClockEntry, OffsetBounds, RunTimeline

CALLS = 300
WIDTH_NS_MAX = 20_000_000
SECOND_NS = 1_000_000_000

# What nobody on the cluster knows. Raw clocks are what coeval stamps with; they too differ in base and rate.
SKEWS = {
    "node1": Skew(wall_offset_ns=3_500_000_000, raw_offset_ns=86_400 * SECOND_NS, raw_rate_ppb=60_000),
    "node2": Skew(wall_offset_ns=-120 * SECOND_NS, raw_offset_ns=3_600 * SECOND_NS, raw_rate_ppb=-45_000),
    "node3": Skew(wall_rate_ppb=100_000, raw_offset_ns=864_000 * SECOND_NS, raw_rate_ppb=20_000),
}

# A program, as anybody writes it --------------------------------------------------------------------------------------


def work(number: int) -> tuple[int, int]:
    """Some milliseconds of work; when it began and ended by the wall clock of wherever it ran."""
    began_ns = time.time_ns()
    sum(range(100_000 + number))
    return began_ns, time.time_ns()


def main(engine: str | None) -> RunTimeline:
    """Many calls at once; count what the wall clocks make of them."""
    with Executor(engine) as ex:
        submitted_ns: dict[Future[tuple[int, int]], int] = {}
        seen_ns: dict[Future[tuple[int, int]], int] = {}
        for number in range(CALLS):
            at_ns = time.time_ns()
            future = ex.submit(work, number)
            submitted_ns[future] = at_ns
            future.add_done_callback(lambda future: seen_ns.update({future: time.time_ns()}))
        wait(submitted_ns)
    impossible = 0
    for future, at_ns in submitted_ns.items():
        began_ns, ended_ns = future.result()
        impossible += began_ns < at_ns or seen_ns[future] < ended_ns
    print(f"{CALLS} calls on {engine or 'local processes'}. By wall clock, {impossible} of them began")
    print("before they were submitted, or were seen before they ended.\n")
    return ex.timeline


# The cluster ----------------------------------------------------------------------------------------------------------


@contextmanager
def skewed_cluster() -> Iterator[tuple[str, list[SkewedHost]]]:
    """A Dask scheduler, and a worker on each skewed host; its URL and the hosts."""
    from distributed import Client

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context(open(folder / "log", "wb"))
        file = folder / "scheduler.json"

        def start(name: str, skew: Skew, what: str, *options: str) -> SkewedHost:
            host = stack.enter_context(SkewedHost(name, skew))
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard"]
            host.popen([*command, "--scheduler-file", str(file), *options], stdout=log, stderr=log)
            return host

        start("head", Skew(), "scheduler", "--port", "0")
        worker = ("worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        hosts = [start(name, skew, *worker) for name, skew in SKEWS.items()]
        with Client(scheduler_file=str(file), timeout=60) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(len(hosts), timeout=60)
            address = client.scheduler.address
        yield address.replace("tcp://", "dask://"), hosts


# What the timeline claims, against the truth --------------------------------------------------------------------------


def check_clocks(timeline: RunTimeline, hosts: Sequence[SkewedHost]) -> list[str]:
    """Print the clock table beside the truth; which of its claims are wrong."""
    entries = {entry.clock: entry for entry in timeline.clocks}
    wrong = []
    print(f"{'host':6} {'wall clock ahead by':>29} {'truly':>15} {'ppm of raw clock':>16} {'truly':>7}")
    for host in hosts:
        entry = entries.pop(host.clock_id)
        wall, fit = entry.wall_declared, entry.fits[-1]
        true_wall_ns = [host.truth.wall.shown(at_ns) - at_ns for at_ns in wall_read_between(entry)]
        true_rate_ppm = host.skew.raw_rate_ppb / 1000
        ahead = f"{seconds(wall.estimate_ns)} ± {width(wall) / 2e6:.3f} ms"
        rate = f"{fit.rate_ppm_least:+.0f} to {fit.rate_ppm_greatest:+.0f}"
        print(f"{host.name:6} {ahead:>29} {seconds(true_wall_ns[0]):>15} {rate:>16} {true_rate_ppm:>+7.1f}")

        assert fit.reading_ns is not None
        true_raw_ns = host.truth.raw.offset_ns(fit.reading_ns)
        for what, bounds, truth in (
            ("declared offset of the wall clock", entry.wall_declared, true_wall_ns),
            ("assumed offset of the wall clock", entry.wall_assumed, true_wall_ns),
            ("declared offset of the raw clock", fit.declared, [true_raw_ns]),
            ("assumed offset of the raw clock", fit.assumed, [true_raw_ns]),
        ):
            least, greatest = bounds.least_ns, bounds.greatest_ns
            if least is None or greatest is None or not (least <= max(truth) and min(truth) <= greatest):
                wrong.append(f"{host.name}: the {what} is between {least} and {greatest} ns, and truly {truth[0]} ns")
        if not fit.rate_ppm_least <= true_rate_ppm <= fit.rate_ppm_greatest:
            wrong.append(f"{host.name}: the rate is not {true_rate_ppm} ppm")
        if entry.width_ns_greatest is None or entry.width_ns_greatest >= WIDTH_NS_MAX:
            wrong.append(f"{host.name}: an interval is {entry.width_ns_greatest} ns wide")
    widest_ns = max(entry.width_ns_greatest or 0 for entry in timeline.clocks)
    print(f"\nwidest declared interval {widest_ns / 1e6:.3f} ms")
    return wrong + [f"a clock nobody made: {clock}" for clock, entry in entries.items() if not entry.is_reference]


def wall_read_between(entry: ClockEntry) -> tuple[int, int]:
    """When the wall clock of the table's row was read, by the timeline: earliest and latest."""
    at = entry.wall_at
    assert at is not None
    assert at.earliest_ns is not None
    assert at.latest_ns is not None
    return at.earliest_ns, at.latest_ns


def check_calls(timeline: RunTimeline, hosts: Sequence[SkewedHost]) -> list[str]:
    """Every start and end lies where it truly was, and nothing begins before its cause."""
    raw = {host.clock_id: host.truth.raw for host in hosts}
    wrong, backwards, checked = [], 0, 0
    for call in timeline.calls:
        stamps, instants = call.attempts[-1].stamps, call.attempts[-1].instants
        assert stamps.handed_over is not None
        assert instants.handed_over is not None
        assert instants.handed_over.estimate_ns is not None
        # The timeline counts on this process's raw clock plus a constant.
        constant_ns = instants.handed_over.estimate_ns - stamps.handed_over.reading_ns
        order = []
        for stamp, instant in zip(stamps, instants, strict=True):
            assert stamp is not None
            assert instant is not None
            true_ns = constant_ns + (
                raw[stamp.clock].true(stamp.reading_ns) if stamp.clock in raw else stamp.reading_ns
            )
            checked += 1
            if instant.earliest_ns is None or instant.latest_ns is None:
                wrong.append(f"call {call.number}: a time has no bound on one side")
            elif not instant.earliest_ns <= true_ns <= instant.latest_ns:
                wrong.append(f"call {call.number}: {true_ns} is not within {instant}")
            order.append(instant.estimate_ns or 0)
        backwards += order != sorted(order)
    if len(timeline.calls) != CALLS:
        wrong.append(f"the timeline has {len(timeline.calls)} calls of {CALLS}")
    if backwards:
        wrong.append(f"{backwards} calls start before their hand-over, or are seen before they ended")
    print(f"{checked} times checked against the truth; on the timeline {backwards} calls run backwards")
    return wrong


def width(bounds: OffsetBounds) -> int:
    """From least to greatest, ns; -1: unknown."""
    return -1 if bounds.least_ns is None or bounds.greatest_ns is None else bounds.greatest_ns - bounds.least_ns


def seconds(offset_ns: int | None) -> str:
    """An offset for people."""
    return "unknown" if offset_ns is None else f"{offset_ns / 1e9:+.6f} s"


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        main(None)
        sys.exit()
    with skewed_cluster() as (url, nodes):
        found = main(url)
        failed = [*check_clocks(found, nodes), *check_calls(found, nodes)]
    for claim in failed:
        print("WRONG:", claim)
    sys.exit(bool(failed))
