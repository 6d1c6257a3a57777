"""
The local engine beside every other process pool, in the same run: what is to hold, and what was found.

    python benchmarks/pool.py [--row NAME …] [--rivals NAME …] [--rounds 20] [--quick] [--json FILE]

Newcomers are called as their README's first example does; *best* is the rival with the best settings for that row
(preload, chunk size, put). coeval records, and has default settings; only where rivals were told what to preload it is
told the same, and to have its workers up before they are called (`coeval+preload`). The standard executor starts its
own with the first call: an earlier one would wait for the server's imports, as `multiprocessing.Pool` does.

Every contender is a process of its own, a fresh one for each sample where starting is what is measured. All take turns:
one sample each in a round, in an order that changes from round to round. Whoever is not at work is suspended, as idle
pools of some (Ray: some hundred threads) keep a core busy. What takes longer than two seconds has fewer rounds, unless
a claim compares it.

Large arrays go in and out in a loop of a new pool. What is claimed is to hold of the whole loop, whoever takes memory
for how many of its steps, and of its median step (`step_`). Who sends each through a pipe has a shorter loop: its first
step is like the others.

A ratio is coeval's figure over the rival's of the same round. Which rival is best is decided by its median, in this
very run, so that chance helps the rival. The interval round a median is that of the sign test: two order statistics of
the per-round ratios, which cover it with at least 95 % whatever their distribution (with 5 rounds or fewer, the least
and the greatest, which cover less). Where the median is good enough but a part of the interval is not, it says
`held, barely`.

Names in brackets are no pools but floors, measured in the same run and judged by nothing. `(import alone)` is the
caller's own import, which is a part of everybody's time; `(forks alone)` is that beside another interpreter's, from
which eight processes are then forked, and nothing else: what no pool can leave out whose workers are not forked from
the caller. Its ratio to the same rival is printed below the claim. `(copy alone)` is one ordinary copy of the array.

Needs what requirements/bench.lock lists: `make bench`. A rival that is not installed ends the run, unless --rivals
leaves it out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import coeval
from benchmarks.contenders.processes import birth, births, resume, suspend, tree, wait_until_ended

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE / "contenders"

ROUNDS = 20
# Rounds of a contender whose samples take longer than so many seconds, with starting and closing where those belong to
# each, unless a claim compares it.
ROUNDS_SLOW = {2.0: 5, 8.0: 3}
# A sample that takes longer is given up and reported as failed.
SAMPLE_S_MAX = 180.0
# Likewise its end: some pools never end once a worker was killed under them.
CLOSE_S_MAX = 10.0
# What a suspended pool has missed (its timers, its heartbeats) it does within this time, before it is measured.
AWAKE_S = 0.3
# It is let do so at least this often: some give up workers that were not heard of for minutes.
SUSPENDED_S_MAX = 60.0
COVERAGE = 0.95

OURS = "coeval"


class Rival(NamedTuple):
    """
    A contender that is not coeval.

    Attributes:
        module: what it needs installed; "" for the standard library.
        is_thread_safe: its workers are not forked from the caller, who may have threads.
        gives_futures: `concurrent.futures.Future`s, or its own of the same kind.
        at_its_best: it has settings that no README's first example has.
    """

    name: str
    module: str = ""
    is_thread_safe: bool = False
    gives_futures: bool = False
    at_its_best: bool = False


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("ppe-fork", gives_futures=True),
        Rival("ppe-forkserver", is_thread_safe=True, gives_futures=True),
        Rival("ppe-spawn", is_thread_safe=True, gives_futures=True),
        Rival("mp.Pool-fork"),
        Rival("mp.Pool-forkserver", is_thread_safe=True),
        Rival("mp.Pool-spawn", is_thread_safe=True),
        Rival("loky", "loky", is_thread_safe=True, gives_futures=True),
        Rival("joblib", "joblib", is_thread_safe=True),
        Rival("mpire", "mpire"),
        Rival("pebble", "pebble", gives_futures=True),
        Rival("pathos", "pathos"),
        Rival("dask", "distributed", is_thread_safe=True, gives_futures=True),
        Rival("ray", "ray", is_thread_safe=True),
        Rival("ppe-forkserver+preload", is_thread_safe=True, gives_futures=True, at_its_best=True),
        Rival("mp.Pool-forkserver+preload", is_thread_safe=True, at_its_best=True),
    )
}
NEWCOMERS = tuple(name for name, rival in RIVALS.items() if not rival.at_its_best)


def anyone(rival: Rival) -> bool:
    return not rival.at_its_best


def anyone_thread_safe(rival: Rival) -> bool:
    return rival.is_thread_safe and not rival.at_its_best


def best_thread_safe(rival: Rival) -> bool:
    return rival.is_thread_safe


def anyone_with_futures(rival: Rival) -> bool:
    return rival.gives_futures and not rival.at_its_best


def standard_pool(rival: Rival) -> bool:
    return rival.name.startswith("mp.Pool") and not rival.at_its_best


def standard_executor(rival: Rival) -> bool:
    return rival.name.startswith("ppe") and not rival.at_its_best


@dataclass(frozen=True)
class Claim:
    """
    What is to hold.

    Attributes:
        sense: whether the figure, or its ratio or difference, is to be at most or at least the bound.
        against: whose best is compared with; "" in words. None: the figure itself is compared with the bound.
        how: ratio: ours over theirs; difference: ours less theirs.
        ours: which of coeval's own settings it speaks of.
        floor: the contender in brackets that does only what nobody can leave out, "" if none is known.
    """

    sense: Literal["≤", "≥"]
    bound: float
    against: Callable[[Rival], bool] | str | None = None
    words: str = ""
    how: Literal["ratio", "difference"] = "ratio"
    ours: str = OURS
    floor: str = ""

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.sense == "≤" else value >= self.bound

    def __str__(self) -> str:
        return " ".join(
            [f"{self.sense} {self.bound:g}"]
            + ([("times" if self.how == "ratio" else "more than"), self.words] if self.against else [])
        )


@dataclass(frozen=True)
class Figure:
    """One number of a sample, and what is claimed of it."""

    name: str
    unit: str
    claims: tuple[Claim, ...] = ()
    more_is_better: bool = False


@dataclass(frozen=True)
class Row:
    """
    A measurement.

    Attributes:
        measure: the name in `contenders/measures.py`, or what `contenders/cold.py` is asked for.
        is_fresh: each sample has a process of its own; a cold one is a fresh interpreter that is measured from outside
            of any harness.
        rounds_max: more would tell nothing.
    """

    name: str
    title: str
    measure: str
    figures: tuple[Figure, ...]
    workers: int = 2
    is_cold: bool = False
    is_fresh: bool = False
    rounds_max: int = ROUNDS
    contenders: tuple[str, ...] = (OURS, *NEWCOMERS)


PRELOADED = ("coeval+preload", "ppe-forkserver+preload", "mp.Pool-forkserver+preload")
CHUNKED = tuple(name for name in NEWCOMERS if name != "ray")

ROWS = (
    Row(
        "cold",
        "first result of an empty call, from a cold interpreter",
        "first",
        (Figure("ms", "ms", (Claim("≤", 0.8, anyone, "the best rival of any kind"),)),),
        is_cold=True,
    ),
    Row(
        "cold-heavy",
        "the same with numpy and pandas, until all 8 workers are up",
        "heavy",
        (
            Figure(
                "ms",
                "ms",
                (
                    Claim("≤", 0.4, anyone_thread_safe, "the best thread-safe rival"),
                    Claim(
                        "≤",
                        0.75,
                        best_thread_safe,
                        "the best thread-safe rival at its best, by coeval told what to preload",
                        ours="coeval+preload",
                        floor="(forks alone)",
                    ),
                ),
            ),
        ),
        workers=8,
        is_cold=True,
        contenders=(OURS, *NEWCOMERS, *PRELOADED, "(import alone)", "(forks alone)"),
    ),
    Row(
        "submit",
        "empty calls submitted and collected",
        "submit",
        (
            Figure(
                "calls_per_s",
                "/s",
                (
                    Claim("≥", 6, anyone_with_futures, "the best rival that returns futures"),
                    Claim("≥", 2.5, standard_pool, "multiprocessing.Pool"),
                ),
                more_is_better=True,
            ),
        ),
    ),
    Row(
        "round-trip",
        "one warm call after the other, median of each sample",
        "round_trip",
        (Figure("us", "us", (Claim("≤", 0.25, anyone, "the best rival"),)),),
    ),
    Row(
        "map",
        "map of 100 k small items, default settings (10 k or fewer for those that send each item by itself)",
        "map_default",
        (
            Figure(
                "items_per_s",
                "/s",
                (
                    Claim("≥", 100, standard_executor, "ProcessPoolExecutor"),
                    Claim("≥", 1.2, standard_pool, "multiprocessing.Pool"),
                ),
                more_is_better=True,
            ),
        ),
    ),
    Row(
        "map-best",
        "map of 100 k small items (Dask: 2 k): coeval's default beside the rivals' best chunk size",
        "map_best",
        (Figure("items_per_s", "/s", (Claim("≥", 0.95, anyone, "the best rival at its best"),), more_is_better=True),),
        contenders=(OURS, *CHUNKED),
    ),
    Row(
        "efficiency-100us",
        "processor efficiency with calls of 100 us",
        "efficiency_100us",
        (Figure("part", "", (Claim("≥", 0.70),), more_is_better=True),),
    ),
    Row(
        "efficiency-1ms",
        "processor efficiency with calls of 1 ms",
        "efficiency_1ms",
        (Figure("part", "", (Claim("≥", 0.92),), more_is_better=True),),
    ),
    Row(
        "array-in",
        "100 MB array as an argument, changed in place each time",
        "array_in",
        (
            Figure("gb_per_s", "GB/s", (Claim("≥", 1.8, anyone, "the best rival"),), more_is_better=True),
            Figure("step_gb_per_s", "GB/s", (Claim("≥", 1.8, anyone, "the best rival"),), more_is_better=True),
        ),
        is_fresh=True,
        contenders=(OURS, *NEWCOMERS, "(copy alone)"),
    ),
    Row(
        "array-out",
        "100 MB array as a result",
        "array_out",
        (
            Figure("gb_per_s", "GB/s", (Claim("≥", 0.9, anyone, "the best rival"),), more_is_better=True),
            Figure("step_gb_per_s", "GB/s", (Claim("≥", 0.9, anyone, "the best rival"),), more_is_better=True),
        ),
        is_fresh=True,
        contenders=(OURS, *NEWCOMERS, "(copy alone)"),
    ),
    Row(
        "broadcast",
        "one 200 MB array used by 20 calls (coeval: ex.share; Ray: put; Dask: scatter)",
        "broadcast",
        (
            Figure("s", "s", (Claim("≤", 0.4, anyone, "the best rival"),)),
            Figure("step_s", "s", (Claim("≤", 0.4, anyone, "the best rival"),)),
            Figure("memory_mb", "MB", (Claim("≤", 220),)),  # one copy, and a tenth for what else there is
        ),
        is_fresh=True,
        contenders=(OURS, *NEWCOMERS, "(copy alone)"),
    ),
    Row(
        "memory",
        "PSS per worker, numpy and pandas in use, 8 workers, after a collection",
        "memory",
        (
            Figure(
                "mb_per_worker",
                "MB",
                (
                    Claim("≤", 0.4, anyone_thread_safe, "the best thread-safe rival"),
                    Claim("≤", 0.7, best_thread_safe, "the best thread-safe rival at its best"),
                ),
            ),
        ),
        workers=8,
        is_fresh=True,
        rounds_max=5,
        contenders=(OURS, *NEWCOMERS, *PRELOADED),
    ),
    Row(
        "crash",
        "200 calls of 10 ms, one kills its worker",
        "crash",
        (
            Figure("lost", "calls", (Claim("≤", 0),)),
            Figure("whole_again_ms", "ms", (Claim("≤", 10),)),
            Figure("killer_unresolved", "calls", (Claim("≤", 0),)),
        ),
        is_fresh=True,
        rounds_max=5,
    ),
    Row(
        "idle-killed",
        "both idle workers killed, then 20 calls",
        "idle_killed",
        (Figure("completed", "calls", (Claim("≥", 20),), more_is_better=True),),
        is_fresh=True,
        rounds_max=3,
    ),
    Row(
        "idle",
        "an idle pool",
        "idle",
        (
            Figure("processor_ms_per_s", "ms/s", (Claim("≤", 0),)),
            Figure("wakeups_per_s", "/s", (Claim("≤", 0),)),
        ),
        rounds_max=3,
    ),
    Row(
        "recording",
        "what recording costs: coeval, and coeval whose rows are neither built nor kept",
        "recording_cost",
        (
            Figure("submit_us", "us", (Claim("≤", 1, "coeval-unrecorded", "unrecorded", "difference"),)),
            Figure("map_ns", "ns", (Claim("≤", 1.02, "coeval-unrecorded", "unrecorded"),)),
            Figure("work_us", "us", (Claim("≤", 1.02, "coeval-unrecorded", "unrecorded"),)),
        ),
        contenders=(OURS, "coeval-unrecorded"),
    ),
    Row(
        "lazy-map",
        "map over a generator of 1 M items (growth: in its second half)",
        "lazy_map",
        (
            Figure("consumed_percent", "%", (Claim("≤", 1),)),
            Figure("growth_mb", "MB", (Claim("≤", 2),)),
            Figure("beyond_start_mb", "MB"),
        ),
        is_fresh=True,
        rounds_max=1,
        contenders=(OURS,),
    ),
)


# Deciding: values in, values out -------------------------------------------------------------------------------------


class Interval(NamedTuple):
    """A median and the order statistics that bound it."""

    median: float
    low: float
    high: float


def sign_interval(values: Sequence[float], coverage: float = COVERAGE) -> Interval:
    """
    Bound the median of a distribution, whatever it is, from independent samples of it.

    The k-th smallest and k-th greatest, with the greatest k for which both miss the median with a probability of at
    most 1 - coverage; k is 1 where the samples are too few for any.
    """
    ordered, count = sorted(values), len(values)
    if not count:
        raise ValueError("values is empty; expected at least one sample")
    depth, miss = 1, 2 * 0.5**count
    while depth < (count + 1) // 2:
        miss += 2 * math.comb(count, depth) * 0.5**count
        if miss > 1 - coverage:
            break
        depth += 1
    return Interval(statistics.median(ordered), ordered[depth - 1], ordered[count - depth])


@dataclass
class Samples:
    """What one contender gave in a row: figures by round, and why it gave none."""

    by_round: dict[int, dict[str, float]] = field(default_factory=dict)
    problem: str = ""

    def values(self, figure: str) -> list[float]:
        return [sample[figure] for sample in self.by_round.values()]

    def median(self, figure: str) -> float:
        return statistics.median(self.values(figure))


class Verdict(NamedTuple):
    """
    What became of a claim.

    Attributes:
        found: the figure, ratio or difference; None where there is nothing to compare.
        rival: the rival compared with, "" if none.
        word: "held", "held, barely", "not held" or why there is no answer.
    """

    found: Interval | None
    rival: str
    word: str


def judge(claim: Claim, figure: Figure, samples: dict[str, Samples]) -> Verdict:
    """Compare coeval's samples with those of the best rival the claim speaks of, round by round."""
    ours = samples.get(claim.ours, Samples(problem="not measured"))
    if not ours.by_round:
        return Verdict(None, "", ours.problem)
    if claim.against is None:
        return verdict(claim, ours.values(figure.name), "")
    rival = best_rival(claim, figure, samples)
    if not rival:
        return Verdict(None, "", "no rival was measured")
    theirs = samples[rival].by_round
    pairs = [
        (made[figure.name], theirs[number][figure.name]) for number, made in ours.by_round.items() if number in theirs
    ]
    return verdict(claim, [own / other if claim.how == "ratio" else own - other for own, other in pairs], rival)


def floor_of(claim: Claim, figure: Figure, samples: dict[str, Samples]) -> Interval | None:
    """What the claim would find, did coeval do only what nobody can leave out."""
    return judge(replace(claim, ours=claim.floor), figure, samples).found


def best_rival(claim: Claim, figure: Figure, samples: dict[str, Samples]) -> str:
    """The rival with the best median, of those that the claim is against; "" if none was measured."""
    names = [name for name, made in samples.items() if made.by_round and is_compared(claim, name)]
    choose = max if figure.more_is_better else min
    return choose(names, key=lambda name: samples[name].median(figure.name), default="")


def compared(row: Row, samples: dict[str, Samples]) -> set[str]:
    """Those whose figures decide about the row's claims: coeval's, the best rival's, and whose may be better yet."""
    found: set[str] = set()
    for figure, claim in [(each, claim) for each in row.figures for claim in each.claims]:
        found.add(claim.ours)
        if leader := best_rival(claim, figure, samples):
            usual = samples[leader].median(figure.name)
            found |= {leader} | {
                name
                for name, made in samples.items()
                if is_compared(claim, name) and any(better(figure, value, usual) for value in made.values(figure.name))
            }
    return found


def better(figure: Figure, value: float, other: float) -> bool:
    return value > other if figure.more_is_better else value < other


def rounds_of(taken_s: Sequence[float], rounds: int) -> int:
    """How many rounds somebody has whose samples have taken so long, if nothing is compared with them."""
    median_s = statistics.median(taken_s) if taken_s else 0.0
    return min([rounds, *(fewer for longer_s, fewer in ROUNDS_SLOW.items() if median_s > longer_s)])


def is_compared(claim: Claim, name: str) -> bool:
    """Does the claim speak of this contender as a rival?"""
    if claim.against is None or isinstance(claim.against, str):
        return name == claim.against
    return name in RIVALS and claim.against(RIVALS[name])


def verdict(claim: Claim, values: list[float], rival: str) -> Verdict:
    found = sign_interval(values)
    if not claim.holds(found.median):
        return Verdict(found, rival, "not held")
    worst = found.high if claim.sense == "≤" else found.low
    return Verdict(found, rival, "held" if claim.holds(worst) else "held, barely")


# Measuring: processes ------------------------------------------------------------------------------------------------


class Session:
    """
    A contender in a process of its own, which measures when asked and is suspended in between.

    Args:
        row: what it will be asked for.
        place: a folder for its diagnostics.
    """

    def __init__(self, name: str, row: Row, place: Path, *, quick: bool) -> None:
        self._log = open(place / f"{name}.log", "ab")  # noqa: SIM115  (closed with the session)
        command = [str(SCRIPTS / "warm.py"), name, str(row.workers), "quick" if quick else "full"]
        self._process = start_script(command, self._log, stdin=subprocess.PIPE)
        self._measure = row.measure
        self._suspended_s: float | None = None  # since when

    def sample(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.catch_up(0)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{self._measure}\n".encode())
            self._process.stdin.flush()
        with ended_after(self._process, SAMPLE_S_MAX):
            line = self._process.stdout.readline()
        self.suspend()
        if not line:
            return {"failed": no_answer(Path(self._log.name))}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def suspend(self) -> None:
        suspend(self._process.pid)
        self._suspended_s = time.monotonic()

    def catch_up(self, suspended_s_max: float = SUSPENDED_S_MAX) -> bool:
        """Let it do what it has missed, if it was suspended for so long."""
        if self._suspended_s is None or time.monotonic() - self._suspended_s < suspended_s_max:
            return False
        resume(self._process.pid)
        time.sleep(AWAKE_S)
        self._suspended_s = None
        return True

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        resume(self._process.pid)
        its_own = births(self._process.pid)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        end(self._process)
        for pid, born in its_own.items():  # some leave workers behind
            if birth(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        # Whoever is next finds their memory given back, and not on its way.
        deadline_s = time.monotonic() + CLOSE_S_MAX
        for pid, born in its_own.items():
            wait_until_ended(pid, born, max(0.0, deadline_s - time.monotonic()))
        self._process.stdout.close()
        self._log.close()


def cold_sample(name: str, row: Row, place: Path) -> dict[str, Any]:
    with open(place / f"{name}.log", "ab") as log, tempfile.TemporaryDirectory() as folder:
        process = start_script([str(SCRIPTS / "cold.py"), name, row.measure, str(row.workers), folder], log)
        assert process.stdout is not None
        with ended_after(process, SAMPLE_S_MAX):
            line = process.stdout.readline().decode().strip()
        end(process)
        process.stdout.close()
    if line.startswith("not there: "):
        return {"missing": line.partition(": ")[2]}
    if not line:
        return {"failed": no_answer(Path(log.name))}
    return {"figures": {"ms": float(line) * 1000}}


def no_answer(log: Path) -> str:
    said = log.read_text(errors="replace").strip().splitlines()
    return f"it ended or took more than {SAMPLE_S_MAX:g} s; it said last: {said[-1] if said else 'nothing'}"


def start_script(command: list[str], log: Any, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    # The scripts and the workers that their contenders start find this checkout by its path.
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    # A checkout is compiled once, as what is installed was.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, *command], stdin=stdin, stdout=subprocess.PIPE, stderr=log, env=environment
    )


@contextlib.contextmanager
def ended_after(process: subprocess.Popen[bytes], limit_s: float) -> Iterator[None]:
    timer = threading.Timer(limit_s, kill_tree, (process,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait until a script is done; past that, it and whatever descends from it is killed."""
    try:
        process.wait(CLOSE_S_MAX)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        process.wait()


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    for pid in list(tree(process.pid))[::-1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def run_row(row: Row, contenders: Sequence[str], rounds: int, place: Path, *, quick: bool) -> dict[str, Samples]:
    """Let the contenders take turns at a row."""
    samples = {name: Samples() for name in contenders}
    sessions: dict[str, Session] = {}
    taken_s: dict[str, list[float]] = {name: [] for name in contenders}
    shuffled = random.Random(row.name)
    try:
        if not row.is_cold and not row.is_fresh:
            for name in contenders:
                sessions[name] = Session(name, row, place, quick=quick)
                note(samples[name], sessions[name].sample(), None)  # workers start, modules are imported
        for number in range(min(rounds, row.rounds_max)):
            needed = compared(row, samples)
            taking = [
                name
                for name in contenders
                if not samples[name].problem and (name in needed or number < rounds_of(taken_s[name], rounds))
            ]
            for name in shuffled.sample(taking, len(taking)):
                for session in sessions.values():
                    if session.catch_up():
                        session.suspend()
                began_s = time.monotonic()
                note(samples[name], sample(row, name, sessions, place, quick=quick), number)
                taken_s[name].append(time.monotonic() - began_s)
    finally:
        for session in sessions.values():
            session.close()
    return samples


def sample(row: Row, name: str, sessions: dict[str, Session], place: Path, *, quick: bool) -> dict[str, Any]:
    if row.is_cold:
        return cold_sample(name, row, place)
    if not row.is_fresh:
        return sessions[name].sample()
    with contextlib.closing(Session(name, row, place, quick=quick)) as session:
        return session.sample()


def note(samples: Samples, answer: dict[str, Any], number: int | None) -> None:
    """Keep a sample; one problem ends a contender's part in the row, and its samples do not count."""
    if "figures" not in answer:
        samples.by_round.clear()
        samples.problem = (
            f"not there yet: {answer['missing']}" if "missing" in answer else f"failed: {answer['failed']}"
        )
    elif number is not None:
        samples.by_round[number] = answer["figures"]


# Telling -------------------------------------------------------------------------------------------------------------


def told(row: Row, samples: dict[str, Samples]) -> Iterator[str]:
    """The row as lines of text."""
    yield f"\n== {row.name}: {row.title}; {row.workers} workers"
    width = max(map(len, samples))
    first = row.figures[0]
    ranked = sorted(
        (name for name, made in samples.items() if made.by_round),
        key=lambda name: samples[name].median(first.name),
        reverse=first.more_is_better,
    )
    for name in ranked:
        made = samples[name]
        figures = "   ".join(
            f"{figure.name} {number_text(made.median(figure.name)):>9} {figure.unit}" for figure in row.figures
        )
        yield f"  {name:<{width}}  {figures}   ({len(made.by_round)} rounds)"
    for name, made in samples.items():
        if made.problem:
            yield f"  {name:<{width}}  {made.problem}"
    for figure in row.figures:
        for claim in figure.claims:
            found, rival, word = judge(claim, figure, samples)
            against = f" ({rival})" if rival else ""
            yield f"  {word.upper():<12}  {figure.name} {claim}{against}: {interval_text(found)}"
            if claim.floor:
                least = interval_text(floor_of(claim, figure, samples))
                yield f"  {'':<12}  {claim.floor}, what nobody can leave out{against}: {least}"


def interval_text(found: Interval | None) -> str:
    return f"{number_text(found.median)} [{number_text(found.low)}, {number_text(found.high)}]" if found else "-"


def number_text(value: float) -> str:
    if math.isinf(value):
        return "never"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def as_data(row: Row, samples: dict[str, Samples]) -> dict[str, Any]:
    """The row as JSON would have it: every sample, and what became of each claim."""
    return {
        "row": row.name,
        "workers": row.workers,
        "samples": {name: made.by_round for name, made in samples.items()},
        "problems": {name: made.problem for name, made in samples.items() if made.problem},
        "claims": [
            {
                "figure": figure.name,
                "claim": str(claim),
                **judge(claim, figure, samples)._asdict(),
                **({"floor": floor_of(claim, figure, samples)} if claim.floor else {}),
            }
            for figure in row.figures
            for claim in figure.claims
        ],
    }


def machine(rivals: Sequence[str]) -> str:
    modules = sorted({RIVALS[name].module for name in rivals if RIVALS[name].module})
    return (
        f"coeval {coeval.__version__} of {Path(coeval.__file__).parent}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()} "
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.2f}; "
        + ", ".join(f"{module} {version(module)}" for module in modules)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs="+", choices=[row.name for row in ROWS], help="only these")
    parser.add_argument("--rivals", nargs="*", choices=list(RIVALS), default=list(RIVALS), help="only these")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="smaller samples: shows that all works, not what is true")
    parser.add_argument("--json", type=Path, help="also write every sample here")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nobody is to be left suspended
    needed = sorted({RIVALS[name].module for name in given.rivals if RIVALS[name].module})
    absent = [module for module in needed if importlib.util.find_spec(module) is None]
    if absent:
        sys.exit(f"not installed: {', '.join(absent)}. Run `make bench`, or name the others with --rivals.")
    print(machine(given.rivals), flush=True)
    data: dict[str, Any] = {"machine": machine(given.rivals), "rounds": given.rounds, "quick": given.quick, "rows": []}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for row in ROWS:
            if given.row is None or row.name in given.row:
                contenders = [name for name in row.contenders if name not in RIVALS or name in given.rivals]
                samples = run_row(row, contenders, given.rounds, Path(folder), quick=given.quick)
                print("\n".join(told(row, samples)), flush=True)
                data["rows"].append(as_data(row, samples))
                if given.json:
                    given.json.write_text(json.dumps(data, indent=1))


if __name__ == "__main__":
    main()
