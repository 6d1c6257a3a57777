"""
Small calls on a Dask cluster: coeval's futures and Dask's own, on the same workers, in turns.

    python benchmarks/dask_small_calls.py [--calls 20000] [--rounds 5]

Each round sends the calls both ways, one after the other and in an order that changes from round to round, to the same
scheduler and workers; the ratio is taken within a round, and the middle one of all rounds is printed. Empty calls show
the price of a call. Calls of 100 ms show that gathering short calls into batches does not delay long ones: there the
ideal is (calls x 0.1 s / workers).

Rival: `distributed.Client.map` and `gather`, the fastest way that Dask offers. coeval: `Executor.submit` for each call,
then `result()` of each.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contenders.dask_cluster import WORKERS, both_on_it, what_runs
from coeval.executor import Executor


def empty(_: int) -> None:
    return None


def long(_: int) -> None:
    time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000, help="empty calls in a round")
    parser.add_argument("--long-calls", type=int, default=60, help="calls of 100 ms in a round")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(what_runs())
    with both_on_it() as (client, executor):
        ways: dict[str, Callable[[Callable[[int], None], int], None]] = {
            "coeval": lambda function, count: through_coeval(executor, function, count),
            "Dask": lambda function, count: through_dask(client, function, count),
        }
        compare("empty calls", ways, empty, given.calls, given.rounds)
        compare("calls of 100 ms", ways, long, given.long_calls, given.rounds)


def through_coeval(executor: Executor, function: Callable[[int], None], count: int) -> None:
    for future in [executor.submit(function, number) for number in range(count)]:
        future.result()


def through_dask(client: Any, function: Callable[[int], None], count: int) -> None:
    client.gather(client.map(function, range(count), pure=False))


def compare(
    what: str,
    ways: dict[str, Callable[[Callable[[int], None], int], None]],
    function: Callable[[int], None],
    count: int,
    rounds: int,
) -> None:
    for way in ways.values():  # workers start, modules are imported
        way(function, WORKERS)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            start_s = time.perf_counter()
            ways[name](function, count)
            rates[name].append(count / (time.perf_counter() - start_s))
    ratios = [ours / theirs for ours, theirs in zip(rates["coeval"], rates["Dask"], strict=True)]
    print(
        f"{count} {what}, middle of {rounds} rounds: "
        + ", ".join(f"{name} {statistics.median(values):,.1f}/s" for name, values in rates.items())
        + f"; coeval/Dask {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
