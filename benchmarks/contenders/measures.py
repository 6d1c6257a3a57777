"""
What is measured, one function each: it takes a contender and gives figures by name.

A figure that comes from wrong results would be worth nothing, so every measure checks what came back.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.contenders import calls, pools
from benchmarks.contenders.processes import PeakMemory, activity, memory_bytes, memory_with_segments_bytes, rollup_bytes

Figures = dict[str, float]

MB = 1_000_000
ARRAY_BYTES = calls.ARRAY_BYTES
SHARED_BYTES = 200 * MB
SHARED_CALLS = 20
CHUNKS = (512, 4096, 12_500, 25_000)
IDLE_S = 3.0

CRASH_CALLS = 200
CRASH_AT = 60
IDLE_CALLS = 20
# A call that has no outcome after this long never gets one: the work itself takes a second.
LOST_S = 8.0
LOST_QUICK_S = 4.0


class Contender:
    """A pool that starts when it is first used, with what measures keep between samples."""

    def __init__(self, name: str, workers: int, *, quick: bool) -> None:
        self.name = name
        self.workers = workers
        self.quick = quick
        self.kept: dict[str, Any] = {}

    @cached_property
    def pool(self) -> pools.Pool:
        return pools.start(self.name, self.workers)

    @property
    def is_started(self) -> bool:
        return "pool" in self.__dict__

    def count(self, full: int) -> int:
        return max(10, full // 10) if self.quick else full

    def meet(self, function: Callable[[Any], int] = calls.meet) -> list[int]:
        """Have every worker up, and give their pids."""
        if not self.pool.has_workers:
            return []
        with tempfile.TemporaryDirectory() as folder:
            return self.pool.each(function, [(folder, self.workers)] * self.workers)


def submit(contender: Contender) -> Figures:
    count = contender.count(contender.pool.submits)
    began_s = time.perf_counter()
    results = contender.pool.each(calls.empty, range(count))
    taken_s = time.perf_counter() - began_s
    check(results == [None] * count, "results of empty calls")
    return {"calls_per_s": count / taken_s, "us_per_call": taken_s / count * 1e6}


def round_trip(contender: Contender) -> Figures:
    call, taken_ns = contender.pool.call, []
    for number in range(contender.count(contender.pool.round_trips)):
        began_ns = time.perf_counter_ns()
        result = call(calls.successor, number)
        taken_ns.append(time.perf_counter_ns() - began_ns)
        check(result == number + 1, "the result of a call")
    return {"us": statistics.median(taken_ns) / 1000}


def map_default(contender: Contender) -> Figures:
    items = range(contender.count(contender.pool.map_items))
    return timed_map(items, lambda: contender.pool.map(calls.successor, items))


def map_best(contender: Contender) -> Figures:
    """With the chunk that proves best when all are tried once; coeval as it is."""
    if contender.name.startswith("coeval"):
        return map_default(contender)
    items = range(contender.count(contender.pool.chunked_items))

    def rate(size: int) -> float:
        return timed_map(items, lambda: contender.pool.map_in_chunks(calls.successor, items, size))["items_per_s"]

    if "chunk" not in contender.kept:
        contender.kept["chunk"] = max(CHUNKS, key=rate)
    size: int = contender.kept["chunk"]
    return {"items_per_s": rate(size), "chunk": size}


def timed_map(items: range, run: Callable[[], list[Any]]) -> Figures:
    began_s = time.perf_counter()
    results = run()
    taken_s = time.perf_counter() - began_s
    check(results == list(range(1, len(items) + 1)), "the results of a map")
    return {"items_per_s": len(items) / taken_s, "ns_per_item": taken_s / len(items) * 1e9}


def efficiency_100us(contender: Contender) -> Figures:
    return efficiency(contender, 100, contender.count(4000))


def efficiency_1ms(contender: Contender) -> Figures:
    return efficiency(contender, 1000, contender.count(1000))


def efficiency(contender: Contender, work_us: int, count: int) -> Figures:
    """Of what the cores of its workers could do, the part that was work."""
    began_s = time.perf_counter()
    contender.pool.each(calls.burn, [work_us] * count)
    taken_s = time.perf_counter() - began_s
    return {"part": count * work_us / 1e6 / contender.workers / taken_s, "us_per_call": taken_s / count * 1e6}


def array_in(contender: Contender) -> Figures:
    """A loop that changes all of an array in place, and then has it used; the change is not timed."""
    from benchmarks.contenders import heavy

    contender.meet(heavy.meet)
    array = ones(ARRAY_BYTES)

    def step(number: int) -> float:
        index = number * 99_991 % len(array)
        array[:] = -number
        began_s = time.perf_counter()
        result = contender.pool.call(heavy.element, (array, index))
        taken_s = time.perf_counter() - began_s
        check(result == -number, "an array that was changed in place: the worker saw the old one")
        return taken_s

    return rates(ARRAY_BYTES, loop(contender, contender.pool.array_steps, step))


def array_out(contender: Contender) -> Figures:
    """A loop that takes an array from a worker, which changes one element of it each time."""
    from benchmarks.contenders import heavy

    contender.meet(heavy.meet_with_array)

    def step(number: int) -> float:
        began_s = time.perf_counter()
        array = contender.pool.call(heavy.kept_array, (ARRAY_BYTES, float(number)))
        taken_s = time.perf_counter() - began_s
        check(array.nbytes == ARRAY_BYTES and array[0] == number and array[-1] == 1, "an array that a call returned")
        return taken_s

    return rates(ARRAY_BYTES, loop(contender, contender.pool.array_steps, step))


def broadcast(contender: Contender) -> Figures:
    """
    A loop that changes an array in place and then has many calls use it, with nobody looking; then one step more for
    the memory beyond what was in use before the loop. The change is not timed.
    """
    from benchmarks.contenders import heavy

    contender.meet(heavy.meet)
    array = ones(SHARED_BYTES)
    indices = range(0, len(array), len(array) // SHARED_CALLS)[:SHARED_CALLS]

    def step(number: int) -> float:
        array[:] = -number
        began_s = time.perf_counter()
        results = contender.pool.with_one_array(heavy.element_of, array, indices)
        taken_s = time.perf_counter() - began_s
        check(results == [-number] * SHARED_CALLS, "elements of a shared array")
        return taken_s

    gc.collect()
    began_bytes = memory_with_segments_bytes(os.getpid())
    taken_s = loop(contender, contender.pool.shared_steps, step)
    with PeakMemory() as memory:
        step(len(taken_s) + 1)
    return {
        "s": statistics.fmean(taken_s),
        "step_s": statistics.median(taken_s),
        "memory_mb": (memory.peak_bytes - began_bytes) / MB,
    }


def loop(contender: Contender, count: int, step: Callable[[int], float]) -> list[float]:
    """
    What each of so many steps took in a new pool, whose workers are up and have imported what they need. The first step
    is one of them: whoever takes memory for it, and for later ones, has that in the loop's time, as its user has.
    """
    return [step(number) for number in range(1, min(count, 3 if contender.quick else count) + 1)]


def ones(size_bytes: int) -> Any:
    """An array, made once the workers are there, so that none that was forked shares its memory."""
    import numpy

    return numpy.ones(size_bytes // 8)


def rates(size_bytes: int, taken_s: list[float]) -> Figures:
    """Of a loop, and of its median step."""
    return {
        "gb_per_s": size_bytes / 1e9 / statistics.fmean(taken_s),
        "step_gb_per_s": size_bytes / 1e9 / statistics.median(taken_s),
    }


def memory(contender: Contender) -> Figures:
    """What each worker adds to a caller that has numpy and pandas loaded, after every worker collected its garbage."""
    if contender.name.endswith("+preload"):  # its server starts before the caller imports
        contender.pool  # noqa: B018  (starts it)
    from benchmarks.contenders import heavy

    alone_bytes = rollup_bytes(os.getpid(), "Pss")
    contender.meet(heavy.meet)
    contender.meet(heavy.meet_collected)
    return {"mb_per_worker": (memory_bytes(os.getpid()) - alone_bytes) / contender.workers / MB}


def crash(contender: Contender) -> Figures:
    """One of many calls kills its worker. Whole again: the first call begins on a worker that was not there before."""
    contender.meet()
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "killed"
        given = [(number, CRASH_AT, str(note)) for number in range(CRASH_CALLS)]
        began_s = time.perf_counter()
        outcomes = outcomes_of(contender, calls.nap_or_die, given)
        taken_s = time.perf_counter() - began_s
        killed_ns = int(note.read_text()) if note.exists() else 0
    check(killed_ns > 0, "the call that kills its worker: it did not run")
    stamps = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    before = {pid for pid, began_ns, _ in stamps if began_ns < killed_ns}
    after_ns = [began_ns for pid, began_ns, _ in stamps if pid not in before and began_ns > killed_ns]
    lost = sum(not isinstance(outcome, tuple) for number, outcome in enumerate(outcomes) if number != CRASH_AT)
    return {
        "lost": lost,
        "killer_unresolved": float(outcomes[CRASH_AT] == "no outcome"),
        "whole_again_ms": (min(after_ns) - killed_ns) / 1e6 if after_ns else float("inf"),
        "s": taken_s,
    }


def idle_killed(contender: Contender) -> Figures:
    for pid in set(contender.meet()):
        with contextlib.suppress(ProcessLookupError):  # some pools end the others themselves
            os.kill(pid, signal.SIGKILL)
        wait_until_dead(pid)
    outcomes = outcomes_of(contender, calls.successor, list(range(IDLE_CALLS)))
    return {"completed": sum(outcome == number + 1 for number, outcome in enumerate(outcomes))}


def wait_until_dead(pid: int) -> None:
    # A zombie counts: it is up to its parent, who may be the pool under test, when it goes.
    deadline_s = time.monotonic() + LOST_S
    with contextlib.suppress(OSError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            check(time.monotonic() < deadline_s, f"a killed worker: {pid} does not end")


def outcomes_of(contender: Contender, function: Callable[[Any], Any], arguments: list[Any]) -> list[Any]:
    """For each call its value, or the name of the exception that it ended with, or "no outcome"."""
    pool, deadline_s = contender.pool, time.monotonic() + (LOST_QUICK_S if contender.quick else LOST_S)
    try:
        handles = [submitted(pool, function, argument) for argument in arguments]
    except pools.NotThere:  # all or nothing
        try:
            return pool.each(function, arguments)
        except Exception as error:
            return [type(error).__name__] * len(arguments)
    return [
        handle if isinstance(handle, str) else outcome_of(pool, handle, max(0.05, deadline_s - time.monotonic()))
        for handle in handles
    ]


def submitted(pool: pools.Pool, function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return pool.submit(function, argument)
    except pools.NotThere:
        raise
    except Exception as error:  # a broken pool says so here
        return type(error).__name__


def outcome_of(pool: pools.Pool, handle: Any, timeout_s: float) -> Any:
    try:
        return pool.result(handle, timeout_s)
    except Exception as error:
        return "no outcome" if "Timeout" in type(error).__name__ else type(error).__name__


def idle(contender: Contender) -> Figures:
    contender.meet()
    contender.pool.each(calls.empty, range(100))
    time.sleep(0.5)  # what was under way settles
    before = activity(os.getpid())
    time.sleep(IDLE_S)
    after = activity(os.getpid())
    return {
        "processor_ms_per_s": (after.processor_ns - before.processor_ns) / 1e6 / IDLE_S,
        "wakeups_per_s": (after.switches - before.switches) / IDLE_S,
    }


# A map of 10 ms differs by a fifth from one time to the next, by itself.
RECORDED_MAPS = 15


def recording_cost(contender: Contender) -> Figures:
    """The same work for coeval with and without a recording; what each call and each item takes."""
    check_recorded(contender)
    return {
        "submit_us": submit(contender)["us_per_call"],
        "map_ns": statistics.median(map_default(contender)["ns_per_item"] for _ in range(RECORDED_MAPS)),
        "work_us": efficiency_100us(contender)["us_per_call"],
    }


def check_recorded(contender: Contender) -> None:
    if "recorded" not in contender.kept:
        contender.pool.each(calls.empty, range(10))
        pool: Any = contender.pool.pool
        recorded = len(pool.timeline.calls)
        check((recorded == 0) == (contender.name == "coeval-unrecorded"), f"a recording: {recorded} calls are in it")
        contender.kept["recorded"] = recorded


def lazy_map(contender: Contender) -> Figures:
    """`map` over a long generator: how much of it is read before the first result, and what memory does meanwhile."""
    count, consumed = contender.count(1_000_000), 0

    def items() -> Iterator[int]:
        nonlocal consumed
        while consumed < count:
            consumed += 1
            yield consumed

    contender.meet()
    before_bytes = memory_bytes(os.getpid())
    pool: Any = contender.pool.pool
    results = pool.map(calls.successor, items())
    check(next(results) == 2, "the first result")
    consumed_first, half_bytes, number = consumed, 0, 1
    for number, result in enumerate(results, start=2):
        if result != number + 1:
            check(False, f"result {number}")
        if number == count // 2:
            half_bytes = memory_bytes(os.getpid())
    check(number == count, "the number of results")
    end_bytes = memory_bytes(os.getpid())
    return {
        "consumed_percent": consumed_first / count * 100,
        "growth_mb": (end_bytes - half_bytes) / MB,
        "beyond_start_mb": (end_bytes - before_bytes) / MB,
    }


class WrongResult(Exception):
    """What came back is not what should have; whatever was measured does not count."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise WrongResult(what)


MEASURES: dict[str, Callable[[Contender], Figures]] = {
    measure.__name__: measure
    for measure in (
        submit, round_trip, map_default, map_best, efficiency_100us, efficiency_1ms, array_in, array_out, broadcast,
        memory, crash, idle_killed, idle, recording_cost, lazy_map,
    )
}  # fmt: skip
