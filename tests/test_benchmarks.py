"""The benchmarks decide rightly, and run in a short form; what is true of speed they say in their long one."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contenders import faults
from benchmarks.contenders.processes import activity, memory_bytes, tree
from benchmarks.fault_storm import KINDS, Call, Kind, Tally
from benchmarks.pool import (
    NEWCOMERS,
    OURS,
    RIVALS,
    ROWS,
    Claim,
    Figure,
    Interval,
    Samples,
    anyone,
    anyone_thread_safe,
    judge,
    sign_interval,
)

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
# Continuous integration has the patience for a minute of it.
STORM_S = 60 if os.environ.get("CI") else 8


def run(*command: object, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def samples(*values: float) -> Samples:
    return Samples({number: {"x": value} for number, value in enumerate(values)})


# Deciding ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_interval_holds_the_median_and_does_not_depend_on_the_order(
    values: list[float], chance: random.Random
) -> None:
    found = sign_interval(values)
    assert found.low <= found.median <= found.high
    shuffled = list(values)
    chance.shuffle(shuffled)
    assert sign_interval(shuffled) == found


@pytest.mark.parametrize("count", range(6, 60))
def test_the_interval_misses_the_median_with_at_most_one_in_twenty_and_a_narrower_one_with_more(count: int) -> None:
    found = sign_interval(range(count))
    depth = int(found.low) + 1  # its place from below, and from above
    assert found.high == count - depth

    def miss(depth: int) -> Fraction:
        return Fraction(2 * sum(math.comb(count, number) for number in range(depth)), 2**count)

    assert miss(depth) <= Fraction(1, 20) < miss(depth + 1)


def test_few_samples_give_the_least_and_the_greatest() -> None:
    assert sign_interval([3.0, 1.0, 2.0]) == Interval(2.0, 1.0, 3.0)
    with pytest.raises(ValueError, match="at least one sample"):
        sign_interval([])


def test_a_ratio_is_taken_within_rounds_and_against_the_best_of_those_the_claim_speaks_of() -> None:
    figure = Figure("x", "ms")
    made = {
        OURS: samples(1, 2, 3),
        "ppe-fork": samples(2, 2, 2),
        "ppe-spawn": samples(4, 8, 12),
        "ppe-forkserver+preload": samples(1, 1, 1),
    }
    assert judge(Claim("≤", 0.3, anyone_thread_safe), figure, made) == (Interval(0.25, 0.25, 0.25), "ppe-spawn", "held")
    assert judge(Claim("≤", 0.5, anyone), figure, made) == (Interval(1.0, 0.5, 1.5), "ppe-fork", "not held")


def test_a_claim_whose_interval_crosses_the_bound_is_held_barely() -> None:
    made = {OURS: samples(10, 20, 30), "loky": samples(10, 10, 10)}
    figure = Figure("x", "/s", more_is_better=True)
    assert judge(Claim("≥", 2, anyone), figure, made).word == "held, barely"
    assert judge(Claim("≥", 1, anyone), figure, made).word == "held"
    assert judge(Claim("≤", 20), figure, made).word == "held, barely"
    assert judge(Claim("≤", 12, "loky", how="difference"), figure, made) == (
        Interval(10, 0, 20),
        "loky",
        "held, barely",
    )


def test_rounds_that_only_one_of_the_two_has_do_not_count() -> None:
    made = {OURS: samples(1, 1, 1, 9, 9, 9), "loky": samples(2, 2, 2)}
    assert judge(Claim("≤", 0.5, anyone), Figure("x", "s"), made).word == "held"


def test_what_was_not_measured_holds_nothing_and_says_why() -> None:
    made = {OURS: Samples(problem="not there yet: ex.share"), "loky": samples(1)}
    assert judge(Claim("≤", 9, anyone), Figure("x", "s"), made) == (None, "", "not there yet: ex.share")
    made = {OURS: samples(1), "loky": Samples(problem="failed: wrong result")}
    assert judge(Claim("≤", 9, anyone), Figure("x", "s"), made) == (None, "", "no rival was measured")


def test_every_newcomer_is_in_every_row_that_is_not_ours_alone() -> None:
    for row in ROWS:
        absent = set(NEWCOMERS) - set(row.contenders)
        assert absent <= ({"ray"} if row.name == "map-best" else set()) or not set(row.contenders) & set(RIVALS)


def died(pid: int) -> BaseException:
    from coeval.errors import WorkerDied

    return WorkerDied("the worker died", pid=pid)


def tallied(kind: Kind, outcome: str, what: object, killed: set[int], times: int = 1) -> Tally:
    tally = Tally()
    for number in range(times):
        future: Future[Any] = Future()
        tally.judge(Call(number, kind, future), outcome, what, killed)
    return tally


FINE, KILLER = KINDS[0], KINDS[3]


def test_an_innocent_call_may_die_only_with_a_worker_that_the_storm_killed_and_only_one_of_them() -> None:
    assert tallied(FINE, "WorkerDied", died(7), killed={7}).wrong == []
    assert len(tallied(FINE, "WorkerDied", died(7), killed={8}).wrong) == 1
    twice = tallied(FINE, "WorkerDied", died(7), killed={7}, times=2)
    assert len(twice.wrong) == 1
    assert twice.innocents_lost == 1


def test_the_storm_knows_wrong_values_hung_calls_and_wrong_exceptions() -> None:
    assert tallied(FINE, "value", (0, 7, 0), set()).wrong == []
    assert "a wrong value" in tallied(FINE, "value", (5, 7, 0), set()).wrong[0]
    assert tallied(FINE, "hung", "no outcome", set()).hung == 1
    assert tallied(FINE, "hung", "no outcome", set()).innocents_lost == 1
    assert tallied(KILLER, "WorkerDied", died(9), set()).wrong == []
    assert "expected WorkerDied" in tallied(KILLER, "value", (0, 7, 0), set()).wrong[0]
    block = next(kind for kind in KINDS if kind.function is faults.gives_block)
    assert "a wrong value" in tallied(block, "value", ((0, 7, 9), faults.Block(b"x")), set()).wrong[0]


# Looking at processes ------------------------------------------------------------------------------------------------


def test_memory_and_activity_of_a_tree_count_its_descendants() -> None:
    code = "import sys; held = bytearray(50_000_000); print(len(held), flush=True); sys.stdin.readline()"
    before_bytes, before = memory_bytes(os.getpid()), activity(os.getpid())
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in set(tree(os.getpid()))
        assert memory_bytes(os.getpid()) - before_bytes > 45_000_000
        assert activity(os.getpid()).processor_ns > before.processor_ns
        child.communicate(b"\n")
    assert child.pid not in set(tree(os.getpid()))


# Running -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "rivals"),
    [
        ("cold", ["ppe-fork", "mp.Pool-fork"]),
        ("submit", ["ppe-fork", "mp.Pool-fork"]),
        ("crash", ["ppe-fork"]),
        ("idle-killed", ["ppe-fork"]),
        ("recording", []),
    ],
)
def test_a_row_of_the_pool_benchmark_measures_everyone_and_judges_every_claim(
    row: str, rivals: list[str], tmp_path: Path
) -> None:
    options = ["--quick", "--rounds", "2", "--row", row, "--json", tmp_path / "made.json"]
    done = run(BENCHMARKS / "pool.py", *options, "--rivals", *rivals)
    assert done.returncode == 0, done.stderr
    (made,) = json.loads((tmp_path / "made.json").read_text())["rows"]
    assert made["problems"] == {}
    expected = {OURS, "coeval-unrecorded"} if row == "recording" else {OURS, *rivals}
    assert {name for name, by_round in made["samples"].items() if len(by_round) == 2} == expected
    assert all(claim["word"] in ("held", "held, barely", "not held") for claim in made["claims"])
    assert len(made["claims"]) == sum(
        len(figure.claims) for known in ROWS if known.name == row for figure in known.figures
    )
    assert done.stdout.count("HELD") == len(made["claims"])


def test_no_innocent_call_is_lost_and_nothing_is_left_when_one_of_many_kills_its_worker(tmp_path: Path) -> None:
    options = ["--quick", "--rounds", "1", "--row", "crash", "idle-killed", "--json", tmp_path / "made.json"]
    done = run(BENCHMARKS / "pool.py", *options, "--rivals")
    assert done.returncode == 0, done.stderr
    crash, idle_killed = json.loads((tmp_path / "made.json").read_text())["rows"]
    assert crash["samples"][OURS]["0"]["lost"] == crash["samples"][OURS]["0"]["killer_unresolved"] == 0
    assert idle_killed["samples"][OURS]["0"]["completed"] == 20


def test_a_rival_that_is_not_installed_is_named() -> None:
    code = "import runpy, sys; sys.modules['ray'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [str(BENCHMARKS / "pool.py"), "--rivals", "ray", "--rounds", "1"]
    done = run("-c", f"import sys; sys.argv = {arguments}; {code}")
    assert done.returncode == 1
    assert "not installed: ray. Run `make bench`" in done.stderr


@pytest.mark.timeout(STORM_S * 4 + 60)
def test_every_call_of_a_storm_of_faults_ends_with_one_right_outcome_and_nothing_is_left() -> None:
    calls = STORM_S * 80
    done = run(
        BENCHMARKS / "fault_storm.py", "--seconds", STORM_S, "--calls", calls, "--rival-seconds", 0,
        timeout_s=STORM_S * 4 + 50,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"coeval: {calls} calls in " in done.stdout
    assert done.stdout.startswith("seed ")


def test_a_process_that_has_ended_is_a_tree_of_itself() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert list(tree(ended.pid)) == [ended.pid]
