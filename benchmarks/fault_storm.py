"""
Everything goes wrong at once, and every call ends with exactly one right outcome.

    python benchmarks/fault_storm.py [--seconds 600] [--calls 50000] [--seed N] [--rival-seconds 30] [--only coeval]

Calls kill their worker, segfault, leave, overrun their time limit, stop their process, return and raise what cannot
travel, and take what cannot be rebuilt. Meanwhile workers are killed and stopped from outside, running calls are ended
by `ex.stop`, and memory for segments runs out (a limit on the size of files, which memfd segments obey, in the caller
for a while and in workers for good). Most calls are innocent, and those must not notice.

Which outcomes are right is known for each call beforehand. An innocent call may end with `WorkerDied` only if the
storm killed the very process that the error names, and only one call for each such process. At the end no process,
thread, descriptor or segment may be left. Exit code 1 if any of that does not hold; the seed gives the same calls
again, in the same order.

Beside it, in storms of their own: `ProcessPoolExecutor` and loky (`make bench` installs it; where it is missing, the
rest is run and that is said at the beginning and at the end). They have no time limit and no stop, so calls that
need one are left out for them, and a pool that broke or hangs is replaced by a new one, which they do not do by
themselves. What is counted is the innocent calls they lost.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contenders import faults
from benchmarks.contenders.processes import tree

# What each needs installed; "" for the standard library.
RIVALS = {"standard": "", "loky": "loky"}
WORKERS = 4
# Calls submitted and not collected.
OUTSTANDING = 100
TIME_LIMIT_S = 0.1
# A call without an outcome after this long has none.
HUNG_S = 60.0
HUNG_RIVAL_S = 5.0
# Of the outside: a fault about so often.
FAULT_EVERY_S = 0.2
STOPPED_S = 0.3
DROUGHT_S = 0.5
# The longest that a storm may take beyond its time, where the machine cannot keep up with the calls asked for.
LATE_FACTOR = 3.0

NO_MEMORY = frozenset({"MemoryError", "OSError", "CallNotSendable", "ResultNotSendable"})


class Kind(NamedTuple):
    """
    A kind of call.

    Attributes:
        share: of a thousand calls.
        right: names of the exceptions that are right outcomes; "value" for the value.
        has_limit: it never ends by itself, but by its time limit.
        is_stopped: likewise by `ex.stop`.
        argument: makes a second argument.
    """

    function: Callable[..., Any]
    share: int
    right: frozenset[str]
    has_limit: bool = False
    is_stopped: bool = False
    argument: Callable[[int], object] | None = None


def only(*names: str) -> frozenset[str]:
    return frozenset(names)


DIED = only("WorkerDied")
KINDS = (
    Kind(faults.fine, 770, only("value")),
    Kind(faults.slow, 60, only("value")),
    Kind(faults.raises, 30, only("LookupError")),
    Kind(faults.kills_itself, 8, DIED),
    Kind(faults.segfaults, 4, DIED),
    Kind(faults.leaves, 4, DIED),
    Kind(faults.exits, 10, only("CallExited")),
    Kind(faults.overruns, 4, only("TimeLimitExceeded"), has_limit=True),
    Kind(faults.stops_itself, 4, only("TimeLimitExceeded"), has_limit=True),
    Kind(faults.overruns, 4, only("CallStopped", "CancelledError"), is_stopped=True),
    Kind(faults.returns_poison, 10, only("ResultNotSendable")),
    Kind(faults.returns_bomb, 10, only("ResultNotSendable")),
    Kind(faults.raises_poison, 10, only("RemoteError")),
    Kind(faults.fine, 10, only("CallNotSendable"), argument=lambda _: faults.CannotBeSent()),
    Kind(faults.fine, 10, only("CallNotSendable"), argument=lambda _: faults.CannotBeRebuilt()),
    Kind(faults.takes_block, 30, only("value") | NO_MEMORY, argument=faults.new_block),
    Kind(faults.gives_block, 20, only("value") | NO_MEMORY),
    Kind(faults.gives_block_in_need, 2, only("value") | NO_MEMORY),
)
assert sum(kind.share for kind in KINDS) == 1000


def is_innocent(kind: Kind) -> bool:
    return "value" in kind.right


class Call(NamedTuple):
    number: int
    kind: Kind
    future: Future[Any]


@dataclass
class Tally:
    """What became of the calls."""

    calls: int = 0
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    innocents: int = 0
    innocents_lost: int = 0
    hung: int = 0
    pools_broken: int = 0
    died_with: Counter[int] = field(default_factory=Counter)

    def judge(self, call: Call, outcome: str, what: object, killed: set[int]) -> None:
        """
        Count a call's outcome.

        Args:
            outcome: "value", the name of an exception's class, or "hung".
            what: the value or the exception.
            killed: processes that the storm killed from outside.
        """
        self.calls += 1
        self.innocents += is_innocent(call.kind)
        self.hung += outcome == "hung"
        pid = getattr(what, "pid", 0) if outcome == "WorkerDied" else 0
        if pid:
            self.died_with[pid] += 1
        complaint = self._complaint(call, outcome, what, pid in killed, self.died_with[pid] if pid else 0)
        if complaint:
            self.wrong.append(f"call {call.number} {call.kind.function.__name__}: {complaint}")
            self.innocents_lost += is_innocent(call.kind)
        else:
            self.right[outcome] += 1

    def _complaint(self, call: Call, outcome: str, what: object, was_killed: bool, deaths: int) -> str:
        if deaths > 1:
            return f"the {deaths}. call that fails with the same worker: {what}"
        if outcome not in call.kind.right and not was_killed:
            return f"{outcome}, expected {' or '.join(sorted(call.kind.right))}: {what}"
        if outcome == "value" and not is_right_value(call, what):
            return f"a wrong value: {what!r:.200}"
        return ""


def is_right_value(call: Call, value: Any) -> bool:
    answer, block = value if isinstance(value[0], tuple) else (value, None)
    if block is not None and (len(block.data) != faults.BLOCK_BYTES or block.data[-1] != call.number % 251):
        return False
    sized = call.kind.function in (faults.takes_block, faults.gives_block, faults.gives_block_in_need)
    return bool(answer[0] == call.number and answer[2] == (faults.BLOCK_BYTES if sized else 0))


class Weather:
    """
    Faults from outside, in a thread of their own: workers are killed and stopped, memory for segments runs out.

    It knows a worker by a call's answer, and touches it only while it still descends from this process.
    """

    def __init__(self, seed: int, *, has_drought: bool) -> None:
        self._random = random.Random(seed)
        self._faults = (self._kill, self._kill, self._stop, self._drought)[: 4 if has_drought else 3]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._rage, name="weather")
        self.seen: deque[int] = deque(maxlen=WORKERS)
        self.killed: set[int] = set()
        self.count: Counter[str] = Counter()
        self.trouble = ""

    def __enter__(self) -> Weather:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _rage(self) -> None:
        try:
            while not self._over.wait(self._random.uniform(0, 2 * FAULT_EVERY_S)):
                self._random.choice(self._faults)()
        except BaseException as error:
            self.trouble = f"the weather ended with {type(error).__name__}: {error}"  # and the rest was no storm
            raise

    def _worker(self) -> int | None:
        here = set(tree(os.getpid())) - {os.getpid()}
        known = [pid for pid in tuple(self.seen) if pid in here]
        return self._random.choice(known) if known else None

    def _kill(self) -> None:
        pid = self._worker()
        if pid is not None:
            self.killed.add(pid)
            self._signal(pid, signal.SIGKILL)

    def _stop(self) -> None:
        pid = self._worker()
        if pid is not None:
            self._signal(pid, signal.SIGSTOP)
            self._over.wait(STOPPED_S)
            if pid in set(tree(os.getpid())):
                self._signal(pid, signal.SIGCONT)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        self.count[number.name] += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _drought(self) -> None:
        self.count["drought"] += 1
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, usual[1]))
        self._over.wait(DROUGHT_S)
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def drawn_kinds(seed: int, kinds: tuple[Kind, ...]) -> Iterator[Kind]:
    chance = random.Random(seed)
    while True:
        yield from chance.choices(kinds, [kind.share for kind in kinds], k=100)


def outcome_of(call: Call, wait_s: float) -> tuple[str, object]:
    try:
        return "value", call.future.result(wait_s)
    except CancelledError as error:
        return "CancelledError", error
    except BaseException as error:
        if not call.future.done():
            return "hung", f"no outcome after {wait_s:g} s"
        return type(error).__name__, error


def due(began_s: float, seconds: float, calls: int) -> Iterator[int]:
    """Numbers of calls, spread over the time there is; fewer where the machine cannot keep up with so many."""
    for number in range(calls):
        ahead_s = began_s + seconds * number / calls - time.monotonic()
        if ahead_s > 0:
            time.sleep(ahead_s)
        elif ahead_s < -LATE_FACTOR * seconds:
            return
        yield number


# coeval --------------------------------------------------------------------------------------------------------------


def storm_coeval(seconds: float, calls: int, seed: int) -> dict[str, Any]:
    """Let the storm rage over coeval; what is left behind is among the complaints."""
    from coeval.testing import Leak, leaks

    tally, began_s = Tally(), time.monotonic()
    weather = Weather(seed, has_drought=True)
    try:
        with leaks(settle_s=20):
            brave(tally, weather, began_s, seconds, calls, seed)
            # A call's error and the frame that caught it refer to each other, and so keep the last call's result.
            gc.collect()
    except Leak as leak:
        tally.wrong.append(f"left behind: {leak}")
    if weather.trouble:
        tally.wrong.append(weather.trouble)
    return report("coeval", tally, weather, began_s)


def brave(tally: Tally, weather: Weather, began_s: float, seconds: float, calls: int, seed: int) -> None:
    from coeval import Executor

    outstanding: deque[Call] = deque()
    to_stop: deque[Call] = deque()
    outcomes: Counter[int] = Counter()  # by call, of those that have any

    def collect() -> None:
        call = outstanding.popleft()
        outcome, what = outcome_of(call, HUNG_S)
        if outcome == "value" and call.kind.function is faults.fine:
            weather.seen.append(what[1])  # type: ignore[index]
        tally.judge(call, outcome, what, weather.killed)

    def stop_those_that_run() -> None:
        for call in list(to_stop):
            if call.future.done() or (call.future.running() and executor.stop(call.future)):
                to_stop.remove(call)

    with Executor("local", max_workers=WORKERS) as executor, weather:
        limited = executor.options(time_limit=TIME_LIMIT_S)
        for number, kind in zip(due(began_s, seconds, calls), drawn_kinds(seed, KINDS), strict=False):
            through = limited if kind.has_limit else executor
            arguments = (number,) if kind.argument is None else (number, kind.argument(number))
            call = Call(number, kind, through.submit(kind.function, *arguments))
            call.future.add_done_callback(lambda _, number=number: outcomes.update((number,)))  # type: ignore[misc]
            outstanding.append(call)
            if kind.is_stopped:
                to_stop.append(call)
            stop_those_that_run()
            while outstanding and (outstanding[0].future.done() or len(outstanding) > OUTSTANDING):
                if outstanding[0] in to_stop:
                    executor.stop(outstanding[0].future)
                    to_stop.remove(outstanding[0])
                collect()
        for call in to_stop:
            executor.stop(call.future)
        while outstanding:
            collect()
    # Callbacks run after the future's waiters were woken, so not before here all have.
    tally.wrong += [f"call {number}: {count} outcomes" for number, count in outcomes.items() if count != 1]
    if len(outcomes) != tally.calls:
        tally.wrong.append(f"{tally.calls} calls, of which {len(outcomes)} have an outcome")


# Rivals --------------------------------------------------------------------------------------------------------------


def storm_rival(name: str, seconds: float, calls: int, seed: int) -> dict[str, Any]:
    """The same storm over a pool that may break; it gets a new one each time."""
    tally, began_s = Tally(), time.monotonic()
    kinds = tuple(kind for kind in KINDS if not kind.has_limit and not kind.is_stopped)
    outstanding: deque[Call] = deque()
    weather = Weather(seed, has_drought=False)
    pool = new_rival(name)
    with weather:
        for number, kind in zip(due(began_s, seconds, calls), drawn_kinds(seed, kinds), strict=False):
            arguments = (number,) if kind.argument is None else (number, kind.argument(number))
            try:
                future = pool.submit(kind.function, *arguments)
            except RuntimeError:  # broken, or its processes are
                tally.pools_broken += 1
                replace(pool)
                pool = new_rival(name)
                future = pool.submit(kind.function, *arguments)
            outstanding.append(Call(number, kind, future))
            while outstanding and (outstanding[0].future.done() or len(outstanding) > OUTSTANDING):
                if judge_rival(outstanding.popleft(), tally, weather) == "hung":
                    tally.pools_broken += 1
                    replace(pool)
                    pool = new_rival(name)
        while outstanding:
            judge_rival(outstanding.popleft(), tally, weather)
    replace(pool)
    return report(name, tally, weather, began_s)


def judge_rival(call: Call, tally: Tally, weather: Weather) -> str:
    outcome, what = outcome_of(call, HUNG_RIVAL_S)
    if outcome == "value" and call.kind.function is faults.fine:
        weather.seen.append(what[1])  # type: ignore[index]
    if outcome != "hung" and not is_innocent(call.kind):
        tally.calls += 1  # any exception is right: which class it is, is coeval's promise and not theirs
        tally.right[outcome] += 1
    else:
        tally.judge(call, outcome, what, set())
    return outcome


def new_rival(name: str) -> Any:
    if name == "loky":
        from benchmarks.contenders.pools import library

        return library("loky").get_reusable_executor(max_workers=WORKERS)
    return ProcessPoolExecutor(WORKERS)


def replace(pool: Any) -> None:
    """End what is left of a broken pool: it does not always do so itself."""
    if isinstance(pool, ProcessPoolExecutor):
        pool.shutdown(wait=False, cancel_futures=True)
    else:
        pool.shutdown(wait=False, kill_workers=True)
    for pid in list(tree(os.getpid()))[:0:-1]:
        command = Path(f"/proc/{pid}/cmdline")
        with contextlib.suppress(OSError):
            if b"resource_tracker" not in command.read_bytes():
                os.kill(pid, signal.SIGKILL)


# Telling -------------------------------------------------------------------------------------------------------------


def report(name: str, tally: Tally, weather: Weather, began_s: float) -> dict[str, Any]:
    return {
        "name": name,
        "seconds": time.monotonic() - began_s,
        "calls": tally.calls,
        "innocents": tally.innocents,
        "innocents lost": tally.innocents_lost,
        "hung": tally.hung,
        "pools broken": tally.pools_broken,
        "right": dict(tally.right),
        "wrong": tally.wrong,
        "weather": dict(weather.count),
    }


def told(made: dict[str, Any]) -> str:
    lines = [
        (
            f"{made['name']}: {made['calls']} calls in {made['seconds']:.0f} s; of {made['innocents']} innocent ones "
            f"{made['innocents lost']} lost; {made['hung']} without an outcome; {made['pools broken']} pools broken"
        ),
        "  right outcomes: " + ", ".join(f"{count} {name}" for name, count in sorted(made["right"].items())),
        "  from outside: "
        + (", ".join(f"{count} {name}" for name, count in sorted(made["weather"].items())) or "none"),
    ]
    if made["name"] == "coeval":
        lines.append(f"  wrong: {len(made['wrong'])}")
        lines += [f"    {complaint}" for complaint in made["wrong"][:20]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--rival-seconds", type=float, default=30, help="for each rival; 0: none")
    parser.add_argument(
        "--only", choices=["coeval", "standard", "loky"], help="this one, in this very process, as JSON"
    )
    given = parser.parse_args()
    if given.only:
        storm = storm_coeval if given.only == "coeval" else lambda *rest: storm_rival(given.only, *rest)
        print(json.dumps(storm(given.seconds, given.calls, given.seed)))
        return
    print(f"seed {given.seed}, {given.calls} calls in {given.seconds:g} s, {WORKERS} workers", flush=True)
    rivals = [*RIVALS] if given.rival_seconds else []
    missing = [name for name in rivals if (module := RIVALS[name]) and importlib.util.find_spec(module) is None]
    not_run = f"not run, as it is not installed: {', '.join(missing)}. Run `make bench`, or pass --rival-seconds 0."
    if missing:
        print(not_run, flush=True)
    ours = in_its_own_process("coeval", given.seconds, given.calls, given.seed)
    print(told(ours), flush=True)
    for name in rivals:
        if name not in missing:
            calls = max(1, round(given.calls * given.rival_seconds / given.seconds))
            print(told(in_its_own_process(name, given.rival_seconds, calls, given.seed)), flush=True)
    if missing:
        print(not_run, flush=True)
    sys.exit(1 if ours["wrong"] else 0)


def in_its_own_process(name: str, seconds: float, calls: int, seed: int) -> dict[str, Any]:
    # Also on standard error: what a worker that was killed from outside had to say.
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, "--only", name, "--seconds", str(seconds), "--calls", str(calls)]
    done = subprocess.run(
        [*command, "--seed", str(seed)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    if done.returncode:
        sys.exit(f"the storm over {name} ended with exit code {done.returncode}; seed {seed} replays it")
    made: dict[str, Any] = json.loads(done.stdout)
    return made


if __name__ == "__main__":
    main()
