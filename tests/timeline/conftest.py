"""
A run on simulated hosts: the rows that a driver would record, from clocks that are known, and the truth beside them.

The driver's raw clock is true time here. A host's raw clock is `origin_ns + (1 + rate_ppm) * true`; its wall clock is
what it believes of the date.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from coeval.recording import Recording
from coeval.recording._rows import (
    ClockRow,
    EndRow,
    EventRow,
    ExecutorRow,
    FunctionRow,
    HostRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)

START_NS = 7_000_000_000_000
WALL_NS = 1_790_000_000_000_000_000


@dataclass(frozen=True)
class Host:
    name: str
    origin_ns: int = 0
    rate_ppm: int = 0
    wall_ahead_ns: int = 0
    claims: str = ""

    @property
    def clock(self) -> str:
        return self.claims or f"boot-{self.name}/0/monotonic_raw"

    def reading(self, true_ns: int) -> int:
        return self.origin_ns + true_ns + true_ns * self.rate_ppm // 1_000_000

    def snapshot(self, process: int, true_ns: int) -> ClockRow:
        wall_ns = WALL_NS + true_ns - START_NS + self.wall_ahead_ns
        return ClockRow(process, self.reading(true_ns - 50), wall_ns, wall_ns, self.reading(true_ns + 50))


@dataclass
class SimulatedRun:
    rows: list[Row]
    true_ns: dict[tuple[int, str], int] = field(default_factory=dict)

    @property
    def recording(self) -> Recording:
        return Recording(self.rows)


def simulate(
    workers: Sequence[Host],
    *,
    seed: int = 1,
    call_count: int = 40,
    driver: Host = Host("home"),
    delay_ns_max: int = 400_000,
    batch_items: int = 1,
) -> SimulatedRun:
    """Call after call on random workers, process 1 being the first of `workers`; truth by (call, what)."""
    random_ = random.Random(seed)
    run = SimulatedRun(
        [
            ProcessRow(0, "driver", driver.name, 100, driver.clock, "3.11.7"),
            HostRow(0, driver.reading(START_NS), "Europe/Berlin", 7200, "no", -1, "install chrony"),
            driver.snapshot(0, START_NS),
            ExecutorRow(0, "simulated", driver.reading(START_NS)),
            FunctionRow(0, 0, "shop:work", "00"),
        ]
    )
    for number, host in enumerate(workers, 1):
        run.rows.append(ProcessRow(number, "worker", host.name, 100 + number, host.clock, "3.11.7", number - 1))
        run.rows.append(host.snapshot(number, START_NS + number * 1000))
    true_ns = START_NS + 1_000_000
    for batch in range(call_count):
        process = random_.randrange(len(workers)) + 1
        host = workers[process - 1]
        sent = true_ns
        started = sent + random_.randrange(delay_ns_max) + 1
        inside = started + random_.randrange(50_000)
        finished = inside + random_.randrange(200_000)
        seen = finished + random_.randrange(delay_ns_max) + 1
        calls = list(range(batch * batch_items, (batch + 1) * batch_items))
        for call in calls:
            for what, when in (("handed over", sent), ("started", started), ("finished", finished), ("seen", seen)):
                run.true_ns[call, what] = when
        run.true_ns[calls[0], "mark"] = inside
        run.rows.append(SentRow(0, batch, 1, 0, calls, driver.reading(sent) + 10))
        run.rows.append(
            OutcomeRow(
                0,
                batch,
                0,
                batch_items,
                "ok",
                process,
                driver.reading(sent),
                host.reading(started),
                host.reading(finished),
                driver.reading(seen),
            )
        )
        run.rows.append(EventRow(process, 0, batch, 0, "mark", host.reading(inside), None, "inside", {"n": batch}))
        true_ns += random_.randrange(300_000)
    for number, host in enumerate(workers, 1):
        run.rows.append(host.snapshot(number, true_ns + 10_000_000))
    run.rows.append(driver.snapshot(0, true_ns + 20_000_000))
    run.rows.append(EndRow(0, driver.reading(true_ns + 20_000_000), call_count * batch_items, 0, 0))
    return run


@pytest.fixture
def simulated() -> Callable[..., SimulatedRun]:
    return simulate


@pytest.fixture
def far_host() -> Callable[..., Host]:
    return Host
