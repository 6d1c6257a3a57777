"""The clocks of this host, and their names."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from coeval.clocks import SYSTEM_CLOCK, Snapshot, clock_id

RAW = getattr(time, "CLOCK_MONOTONIC_RAW", None)


@pytest.mark.skipif(RAW is None, reason="this platform has no clock that nothing slews")
def test_readings_are_those_of_the_clock_that_nothing_steps_or_slews() -> None:
    assert RAW is not None
    assert SYSTEM_CLOCK.name == "monotonic_raw"
    before_ns = time.clock_gettime_ns(RAW)
    reading_ns = SYSTEM_CLOCK.raw_ns()
    assert type(reading_ns) is int
    assert before_ns <= reading_ns <= time.clock_gettime_ns(RAW)


def test_a_reading_runs_no_line_of_python() -> None:
    lines: list[str] = []
    raw_ns = SYSTEM_CLOCK.raw_ns
    sys.setprofile(lambda frame, event, _: lines.append(event) if event == "call" else None)
    try:
        raw_ns()
    finally:
        sys.setprofile(None)
    assert lines == []


def test_a_snapshot_holds_the_other_clocks_between_two_readings() -> None:
    wall_before_ns, before_ns = time.time_ns(), SYSTEM_CLOCK.raw_ns()
    snapshot = SYSTEM_CLOCK.snapshot()
    assert type(snapshot) is Snapshot
    assert before_ns <= snapshot.raw_before_ns <= snapshot.raw_after_ns <= SYSTEM_CLOCK.raw_ns()
    assert abs(snapshot.realtime_ns - wall_before_ns) < 60 * 10**9  # the wall clock may be set meanwhile
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(snapshot.boottime_ns - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < 60 * 10**9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="boot ids and time namespaces are Linux's")
def test_a_clock_is_named_by_the_kernels_boot_its_time_namespace_and_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COEVAL_CLOCK_ID", raising=False)
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    namespace = os.readlink("/proc/self/ns/time") if os.path.lexists("/proc/self/ns/time") else "0"  # noqa: PTH115
    name = clock_id(SYSTEM_CLOCK)
    assert name == f"{boot}/{namespace.removeprefix('time:[').removesuffix(']')}/monotonic_raw"
    assert clock_id(SYSTEM_CLOCK, generation=2) == f"{name}#2"


def test_processes_of_one_host_name_its_clock_alike() -> None:
    code = "from coeval.clocks import SYSTEM_CLOCK, clock_id; print(clock_id(SYSTEM_CLOCK))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == clock_id(SYSTEM_CLOCK)


def test_the_environment_may_name_the_host_and_may_change_its_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("a", "b"):
        monkeypatch.setenv("COEVAL_CLOCK_ID", host)
        assert clock_id(SYSTEM_CLOCK) == f"{host}/{SYSTEM_CLOCK.name}"
