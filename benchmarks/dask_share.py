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
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import coeval
from benchmarks.contenders.processes import memory_with_segments_bytes
from benchmarks.dask_small_calls import WORKERS, cluster, coeval_url
from coeval.engines._dask._library import Client
from coeval.executor import Executor

OURS = "coeval share"


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
    print(
        f"coeval {coeval.__version__}, distributed {version('distributed')}, Python {platform.python_version()}, "
        f"{WORKERS} Dask workers of one thread on {platform.system()} {platform.machine()}"
    )
    print(f"{given.calls} calls with one array of {given.bytes / 1e6:g} MB, middle of {given.rounds} rounds")
    for what, hosts in (("workers on the caller's host", ()), ("workers on two other hosts", ("far", "farther"))):
        with (
            cluster([{"COEVAL_CLOCK_ID": host} for host in hosts]) as address,
            Client(address, set_as_default=False) as client,
            Executor(coeval_url(address)) as executor,
        ):
            ways = {
                OURS: through_coeval(executor),
                "Dask scatter": through_dask(client),
                "Dask scatter without hash": through_dask(client, hash=False),
            }
            report(what, measured(ways, given.bytes, given.calls, given.rounds))


def measured(ways: dict[str, Way], size: int, count: int, rounds: int) -> dict[str, list[Figure]]:
    """
    Raises:
        AssertionError: a way gives other results.
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
            figures[name].append(timed(ways[name], array, count, right))
    return figures


def timed(way: Way, array: Any, count: int, right: list[float]) -> Figure:
    figure: list[Figure] = []

    def look() -> None:
        took_s = time.perf_counter() - start_s
        figure.append(Figure(took_s, memory_with_segments_bytes(os.getpid()) - before))

    wait_until_steady()
    before = memory_with_segments_bytes(os.getpid())
    start_s = time.perf_counter()
    results = way(array, count, look)
    assert np.allclose(results, right, rtol=1e-12), f"{results} and not {right}"  # alignment decides how numpy adds up
    return figure[0]


def wait_until_steady() -> None:
    """What was used before is given back: within a second, memory changes by less than 10 MB."""
    last = memory_with_segments_bytes(os.getpid())
    for _ in range(20):
        time.sleep(1)
        now = memory_with_segments_bytes(os.getpid())
        if abs(now - last) < 10_000_000:
            return
        last = now


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
