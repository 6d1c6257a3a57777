"""
How long does a worker take to start, by each method?

    python benchmarks/spikes/start.py [ROUNDS]

Each round is a fresh interpreter, the methods in turn. A worker here says that it runs and waits; what the pool's own
worker imports comes on top, once for a server and a fork, for each worker with spawn.

    bare     an interpreter like this one that ends at once: what no start by exec goes below
    first    from asking for a starter to the first worker's word, after the starter's own module was imported
    early    the server only: from posix_spawn to the first worker's word, nothing else being done meanwhile
    eight    eight more: from the first request to the last word
    close    nine workers and the server gone
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKER = """
import itertools
import os

def work(commands, results, board, cell, lifeline):
    os.write(results, b"r")
    os.read(commands, 1)
"""


class Ends:
    """The pool's ends of one worker's pipes."""

    def __init__(self) -> None:
        self.commands_read, self.commands = os.pipe()
        self.results, self.results_write = os.pipe()
        self.board = os.memfd_create("board")

    def theirs(self) -> tuple[int, int, int]:
        return self.commands_read, self.results_write, self.board

    def wait(self) -> None:
        for fd in self.theirs():
            os.close(fd)
        assert os.read(self.results, 1) == b"r"


def measure_bare() -> None:
    """One figure: milliseconds from posix_spawn to the end of an interpreter that does nothing."""
    began_ns = time.perf_counter_ns()
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "import os; os._exit(0)"], os.environ), 0)
    print((time.perf_counter_ns() - began_ns) / 1e6)


def measure_early() -> None:
    """One figure: milliseconds from posix_spawn to the first word."""
    from coeval.engines.local import _channel
    from coeval.engines.local._launch import LaunchedServer

    ends = Ends()
    began_ns = time.perf_counter_ns()
    server = LaunchedServer(entry="spike_worker:work")
    _channel.send(server.channel, ("start", 0, 0, {}), [*ends.theirs(), 1, 2])
    ends.wait()
    print((time.perf_counter_ns() - began_ns) / 1e6)
    server.channel.close()
    os.close(server.lifeline)
    os.waitpid(server.pid, 0)


def measure(method: str) -> None:
    """Three figures, in milliseconds."""
    from coeval.engines.local._starters import starter_of

    moments_ns = [time.perf_counter_ns()]
    starter = starter_of(method, entry="spike_worker:work")  # type: ignore[arg-type]
    for count in (1, 8):
        ends = [Ends() for _ in range(count)]
        for number, one in enumerate(ends):
            starter.start(10 * count + number, one.theirs(), 0)
        for one in ends:
            one.wait()
        moments_ns.append(time.perf_counter_ns())
    starter.events()
    starter.close()
    moments_ns.append(time.perf_counter_ns())
    print(*((later - earlier) / 1e6 for earlier, later in itertools.pairwise(moments_ns)))


def main(rounds: int) -> None:
    methods = ["bare", "early", "server", "fork", "spawn"]
    figures: dict[str, list[list[float]]] = {method: [] for method in methods}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spike_worker.py").write_text(WORKER)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, *filter(None, sys.path)])}
        for _ in range(rounds + 1):
            for method in methods:
                command = [sys.executable, __file__, "--of", method]
                printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
                figures[method].append([float(text) for text in printed.split()])
    print(f"median of {rounds} rounds, ms, Python {sys.version.split()[0]}")
    for method, rows in figures.items():
        medians = [statistics.median(column) for column in zip(*rows[1:], strict=True)]  # the first filled the caches
        names = ["first"] if len(medians) == 1 else ["first", "eight", "close"]
        print(f"{method:7}", "  ".join(f"{name} {value:6.1f}" for name, value in zip(names, medians, strict=True)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--of"]:
        alone = {"bare": measure_bare, "early": measure_early}.get(sys.argv[2])
        alone() if alone else measure(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
