"""
One large array that many calls on a Dask cluster use: coeval's `share` and Dask's `scatter`, on the same workers.

    python benchmarks/dask_share.py [--bytes 200000000] [--calls 20] [--rounds 9]

A round is timed from the array in the caller's hand to the last result, for each way, in an order that changes from
round to round; ratios are taken within a round. It is given up after each, untimed. Each call reads every 512th number.
How much memory it took is read while it is still there: what all processes have for themselves, and the machine's whole
shared memory; nothing else should be going on there.

Twice: with workers on the caller's host, and with workers that are told to be on hosts of their own, so that everything
goes over connections, though these are loopback.

Rivals: `Client.scatter(array, broadcast=True)`, as it is, and with `hash=False`, which is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contenders.dask_cluster import both_on_it, what_runs
from benchmarks.contenders.processes import field_bytes, memory_with_segments_bytes
from coeval.executor import Executor
from coeval.testing._gate import wait_until

OURS = "coeval share"

# How long what was given up may stay, and how much of it may: other programs have shared memory too.
GIVEN_BACK_S_MAX = 60
LEFT_BYTES_MAX = 1_000_000


def some(array: Any, number: int) -> float:
    return float(array[number % 512 :: 512].sum())


class Figure(NamedTuple):
    """
    Attributes:
        time_s: from the array to the last result.
        memory_bytes: how much more was in use with the array there.
    """

    time_s: float
    memory_bytes: int


Way = Callable[[Any, int, Callable[[], None]], list[float]]


def through_coeval(executor: Executor) -> Way:
    def run(array: Any, count: int, look: Callable[[], None]) -> list[float]:
        with executor.share(array) as shared:
            futures = [executor.submit(some, shared, number) for number in range(count)]
            results = [future.result() for future in futures]
            look()
        return results

    return run


def through_dask(client: Any, **options: Any) -> Way:
    def run(array: Any, count: int, look: Callable[[], None]) -> list[float]:
        scattered = client.scatter(array, broadcast=True, **options)
        results: list[float] = client.gather(client.map(some, [scattered] * count, range(count), pure=False))
        look()
        return results

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=200_000_000, help="of the array")
    parser.add_argument("--calls", type=int, default=20, help="that use it")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    print(what_runs())
    print(f"{given.calls} calls with one array of {given.bytes / 1e6:g} MB, middle of {given.rounds} rounds")
    for what, hosts in (("workers on the caller's host", ()), ("workers on two other hosts", ("far", "farther"))):
        with both_on_it([{"COEVAL_CLOCK_ID": host} for host in hosts]) as (client, executor):
            ways = {
                OURS: through_coeval(executor),
                "Dask scatter": through_dask(client),
                "Dask scatter without hash": through_dask(client, hash=False),
            }
            report(what, measured(ways, GivenBack(client), given.bytes, given.calls, given.rounds))


class GivenBack:
    """
    Waits until all is given back that was shared since this was made: shared memory of the machine, which ours is in,
    and what Dask's workers keep.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._before = shared_memory_bytes()

    def wait(self) -> None:
        """
        Raises:
            TimeoutError: something is still there.
        """
        if not wait_until(self._is_so, GIVEN_BACK_S_MAX):
            left = shared_memory_bytes() - self._before
            raise TimeoutError(
                f"{left:,} bytes of shared memory, or keys of Dask's workers, are still there "
                f"{GIVEN_BACK_S_MAX} s after they were given up; does something else run here?"
            )

    def _is_so(self) -> bool:
        if shared_memory_bytes() - self._before > LEFT_BYTES_MAX:
            return False
        return not any(self._client.run(keys_kept).values())


def shared_memory_bytes() -> int:
    return field_bytes(Path("/proc/meminfo").read_text(), "Shmem")


def keys_kept(dask_worker: Any) -> int:
    return len(dask_worker.data)


def measured(
    ways: dict[str, Way], given_back: GivenBack, size: int, count: int, rounds: int
) -> dict[str, list[Figure]]:
    """
    Raises:
        AssertionError: a way gives other results.
        TimeoutError: what a way used stays.
    """
    array = np.random.default_rng(1).random(size // 8)
    right = [some(array, number) for number in range(count)]
    for way in ways.values():  # workers start, modules are imported
        way(array, count, lambda: None)
    figures: dict[str, list[Figure]] = {name: [] for name in ways}
    for number in range(rounds):
        array[0] = number  # another one, or Dask would find it there already
        right[0] = some(array, 0)
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            given_back.wait()
            figures[name].append(timed(ways[name], array, count, right))
    return figures


def timed(way: Way, array: Any, count: int, right: list[float]) -> Figure:
    figure: list[Figure] = []

    def look() -> None:
        took_s = time.perf_counter() - start_s
        figure.append(Figure(took_s, memory_with_segments_bytes(os.getpid()) - before))

    before = memory_with_segments_bytes(os.getpid())
    start_s = time.perf_counter()
    results = way(array, count, look)
    assert np.allclose(results, right, rtol=1e-12), f"{results} and not {right}"  # alignment decides how numpy adds up
    return figure[0]


def report(what: str, figures: dict[str, list[Figure]]) -> None:
    print(f"{what}:")
    for name, values in figures.items():
        ratios = [ours.time_s / theirs.time_s for ours, theirs in zip(figures[OURS], values, strict=True)]
        print(
            f"  {name:26} {statistics.median(value.time_s for value in values):6.3f} s, "
            f"{statistics.median(value.memory_bytes for value in values) / 1e6:6.0f} MB more; "
            f"coeval/this {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
