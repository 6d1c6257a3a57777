"""The benchmarks decide rightly, and run in a short form; what is true of speed they say in their long one."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import clock_scale, clock_steps, text_logs
from benchmarks.clock_accuracy import ROWS as TRAFFIC
from benchmarks.clock_accuracy import measure
from benchmarks.contenders import faults
from benchmarks.contenders.clock_estimators import RIVALS as ESTIMATORS
from benchmarks.contenders.clock_estimators import Exchanges, line_between_hulls, weighted_regression
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
    Row,
    Samples,
    anyone,
    anyone_thread_safe,
    compared,
    judge,
    rounds_of,
    sign_interval,
    told,
)
from coeval.alignment import Alignment, Messages
from coeval.clocks import ClockId
from coeval.testing.virtual import Step, TrueStep, VirtualNetwork

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
# Continuous integration has the patience for a minute of it.
STORM_S = 60 if os.environ.get("CI") else 8


def run(*command: object, timeout_s: float = 100, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=None if path is None else {**os.environ, "PYTHONPATH": str(path)},
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


def test_a_floor_is_compared_with_the_same_rival_and_judged_by_nothing() -> None:
    claim = Claim("≤", 0.5, anyone_thread_safe, "the best", ours="coeval+preload", floor="(forks alone)")
    figure = Figure("x", "ms", (claim,))
    made = {"coeval+preload": samples(9, 9), "(forks alone)": samples(7, 9), "ppe-spawn": samples(10, 10)}
    *_, judged, floor = told(Row("heavy", "", "", (figure,)), made)
    assert judged.endswith("the best (ppe-spawn): 0.9 [0.9, 0.9]")
    assert floor.strip() == "(forks alone), what nobody can leave out (ppe-spawn): 0.8 [0.7, 0.9]"


def test_rounds_that_only_one_of_the_two_has_do_not_count() -> None:
    made = {OURS: samples(1, 1, 1, 9, 9, 9), "loky": samples(2, 2, 2)}
    assert judge(Claim("≤", 0.5, anyone), Figure("x", "s"), made).word == "held"


def test_what_was_not_measured_holds_nothing_and_says_why() -> None:
    made = {OURS: Samples(problem="not there yet: ex.share"), "loky": samples(1)}
    assert judge(Claim("≤", 9, anyone), Figure("x", "s"), made) == (None, "", "not there yet: ex.share")
    made = {OURS: samples(1), "loky": Samples(problem="failed: wrong result")}
    assert judge(Claim("≤", 9, anyone), Figure("x", "s"), made) == (None, "", "no rival was measured")


def test_who_takes_long_has_fewer_rounds_unless_a_claim_compares_it() -> None:
    assert [rounds_of(taken_s, 20) for taken_s in ([], [1.9, 1.9, 9.0], [2.1], [9.0, 8.1])] == [20, 20, 5, 3]
    assert rounds_of([9.0], 2) == 2
    row = Row("x", "x", "x", (Figure("x", "s", (Claim("≤", 1, anyone_thread_safe),)),))
    made = {
        OURS: samples(1),
        "ppe-fork": samples(1),
        "loky": samples(4, 4),
        "dask": samples(3, 3),
        "(floor)": samples(0),
    }
    assert compared(row, made) == {OURS, "dask"}
    made["loky"] = samples(2, 4, 4)
    assert compared(row, made) == {OURS, "dask", "loky"}  # its best is better than what the leader usually has
    assert compared(row, {}) == {OURS}


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


# Estimating an offset ------------------------------------------------------------------------------------------------


def exchanges(offset_at: Any, *, queueing_ns: int = 40_000) -> tuple[Exchanges, Any]:
    """Exchanges one second apart with delays that are alike both ways, and far readings to ask about."""
    sent = np.arange(200, dtype=np.int64) * 10**9
    delay = 90_000 + np.random.default_rng(1).exponential(queueing_ns, len(sent)).astype(np.int64)
    arrived = sent + delay + offset_at(sent)
    received = sent + 2 * delay + 10_000
    asked = (sent + offset_at(sent))[::3] + 123_456_789
    return Exchanges.of(sent, arrived, arrived + 10_000, received), asked


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_is_exact_where_the_offset_stands_still_and_both_ways_take_equally_long(name: str) -> None:
    known, asked = exchanges(lambda sent: np.full(len(sent), 10**15 + 7), queueing_ns=0)
    whole, rest = known.offsets_ns(ESTIMATORS[name], asked)
    assert np.abs(whole - (10**15 + 7) + rest).max() < 1


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if "regression" in name or "line" in name])
def test_estimators_that_fit_a_line_follow_a_rate(name: str) -> None:
    known, asked = exchanges(lambda sent: 10**15 + sent * 30 // 10**6)
    whole, rest = known.offsets_ns(ESTIMATORS[name], asked)
    true = 10**15 + (asked - 10**15) * 30 // 1_000_030
    late = slice(2, None)  # two exchanges make no slope
    assert np.abs(whole - true + rest)[late].max() < 50_000


def test_a_regression_forgets_what_was_before_a_change_of_rate() -> None:
    known, asked = exchanges(lambda sent: 10**15 + np.abs(sent - 100 * 10**9) * 30 // 10**6)
    whole, rest = known.offsets_ns(weighted_regression, asked)
    true = 10**15 + np.abs(asked - 10**15 - 100 * 10**9) * 30 // 10**6
    error = np.abs(whole - true + rest)
    assert error[asked > 10**15 + 120 * 10**9].max() < 20_000


def test_a_line_that_fails_stays_the_last_one_that_held() -> None:
    known, asked = exchanges(lambda sent: 10**15 + np.maximum(sent - 100 * 10**9, 0) * 300 // 10**6)
    whole, rest = known.offsets_ns(line_between_hulls, asked)
    early = asked < 10**15 + 90 * 10**9
    assert np.abs(whole - 10**15 + rest)[early].max() < 200_000
    assert np.abs(whole - 10**15 + rest)[-1] < 2_000_000  # the clock is 30 ms away there


def test_cut_stamps_are_taken_at_their_middle_or_at_the_end_that_is_certain() -> None:
    def column(value: int) -> Any:
        return np.array([value], dtype=np.int64)

    known = Exchanges.of(
        column(1000), column(6000), column(6000), column(1000), near_resolution_ns=10, far_resolution_ns=1000
    )
    assert known.offset_origin_ns == 5000
    assert (known.midpoint[0], known.upper[0], known.lower[0]) == (495, 1000, -10)


@pytest.mark.parametrize("row", TRAFFIC, ids=lambda row: row.name)
def test_both_grades_hold_the_truth_over_every_kind_of_traffic(row: Any) -> None:
    made = measure(row, seeds=[11], questions=200)
    assert made.missed == {"declared": 0, "assumed": 0}
    assert made.reversed == 0
    assert all(len(errors.all_us) == 200 and np.isfinite(errors.all_us).all() for errors in made.errors.values())


def test_the_accuracy_of_clocks_is_judged_row_by_row(tmp_path: Path) -> None:
    done = run(BENCHMARKS / "clock_accuracy.py", "--quick", "--row", "lan", "bursts", "--json", tmp_path / "made.json")
    lan, bursts = json.loads((tmp_path / "made.json").read_text())
    failed = [row["row"] for row in (lan, bursts) if row["failures"]]
    assert (done.returncode, done.stdout.count("NOT HELD")) == (
        1 if failed else 0,
        len(lan["failures"]) + len(bursts["failures"]),
    )
    assert lan["methods"].keys() == {"coeval, assumed", "coeval, declared", *ESTIMATORS}
    assert done.stdout.count("<- smallest") == 4, "both grades have one estimate"
    assert failed == []


# Finding steps and wrong pairs -----------------------------------------------------------------------------------


class Found(NamedTuple):
    clock: ClockId
    earliest_ns: int
    latest_ns: int
    size_ns_least: int = 0
    size_ns_greatest: int = 0


A, B = ClockId("a"), ClockId("b")


def test_a_step_counts_as_found_where_its_clock_and_the_readings_around_it_are_right() -> None:
    true = [TrueStep(A, 5, 5, 100, 1000, 1100), TrueStep(B, 9, 9, -100, 1000, 900)]
    near, wide, back = Found(A, 999, 1101), Found(A, 0, 5000), Found(B, 1000, 900)
    assert clock_steps.judge_steps([wide, near, back], true) == ([near, back], [])
    assert clock_steps.judge_steps([Found(A, 1001, 5000), Found(B, 0, 899)], true) == ([], true)
    assert clock_steps.judge_steps([Found(B, 0, 5000)], true[:1]) == ([], true[:1])
    assert clock_steps.judge_steps([near], [true[0], true[0]]) == ([near], [true[0]])


def test_missed_and_invented_steps_and_rejected_right_messages_do_not_hold() -> None:
    fine = clock_steps.Tally("wrong", messages=100_000, wrong=500, contradicting=250, right_rejected=49)
    assert fine.failures() == []
    assert len(replace(fine, right_rejected=50).failures()) == 1
    assert len(replace(fine, contradicting_kept=1, invented=1, turned_round=1).failures()) == 3
    steps = clock_steps.Tally("steps", steps=10, right_rejected=1000)
    assert steps.failures() == []
    for fault in ("missed", "wrongly_sized", "invented", "outside"):
        faulty = replace(steps)
        setattr(faulty, fault, 1)
        assert len(faulty.failures()) == 1


def test_a_wrong_pair_contradicts_where_it_is_too_fast_and_about_half_are() -> None:
    trace = clock_steps.network("wrong", 3).trace(3)
    found = clock_steps.contradicting(trace)
    too_fast = trace.received_true_ns - trace.sent_true_ns < -clock_steps.ROUND_TRIP_NS_MIN * 2
    assert found.any()
    assert not (found & ~trace.wrong).any()
    assert not (too_fast & ~found).any()
    assert not (found & (trace.received_true_ns - trace.sent_true_ns > 0)).any()


@pytest.mark.parametrize("part", clock_steps.PARTS)
def test_traces_have_the_faults_that_their_part_is_about(part: str) -> None:
    traces = [clock_steps.network(part, seed).trace(seed) for seed in range(6)]
    assert {step.clock for trace in traces for step in trace.steps} == (set() if part == "wrong" else {A, B})
    assert {bool(trace.wrong.any()) for trace in traces} == {part != "steps"}


def test_a_reading_comes_twice_where_a_clock_was_set_back_and_only_there() -> None:
    near = ClockId("near")
    shapes = {near: [Step(5 * 10**9, -(10**9)), Step(20 * 10**9, 10**9)]}
    trace = VirtualNetwork(shapes, [], 30).trace(1)
    readings = np.array([39, 40, 45, 50, 51, 195, 200], dtype=np.int64) * 10**8
    assert clock_steps.repeated(trace, near, readings).tolist() == [False, True, True, True, False, False, False]


def test_steps_and_wrong_pairs_are_judged_once_alignment_tells_them() -> None:
    done = run(BENCHMARKS / "clock_steps.py", "--seeds", "2")
    if not hasattr(Alignment, "steps"):
        assert (done.returncode, done.stdout) == (1, "NOT HELD: alignment finds no steps and rejects no messages yet\n")
        return
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "held"), done.stdout + done.stderr


# Taking in much evidence --------------------------------------------------------------------------------------------


def test_a_world_gives_the_same_messages_in_batches_of_which_none_is_too_fast() -> None:
    world = clock_scale.World.of(20)
    batches = list(world.batches(1000, 300))
    assert [len(batch) for batch, _ in batches] == [300, 300, 300, 100]
    assert np.array_equal(next(world.batches(1000, 300))[0].sent_ns, batches[0][0].sent_ns)
    sent = np.concatenate([sent for _, sent in batches])
    assert (np.diff(sent) >= 0).all()
    for batch, sent in batches:
        for row in range(0, len(batch), 50):
            sender, receiver = (world.clocks[code[row]] for code in (batch.sender, batch.receiver))
            assert sender.readings_ns([sent[row]]) == batch.sent_ns[row]
            arrived = receiver.true_ns([batch.received_ns[row]])[0]
            assert arrived >= sent[row] + clock_scale.MINIMUM_NS - 1


class WholeEvidence:
    """Keeps every message, so that what the benchmark does with evidence can be seen without a summary."""

    def __init__(self) -> None:
        self.parts: list[Messages] = []

    def add(self, messages: Messages) -> None:
        self.parts.append(messages)

    def messages(self) -> Messages:
        return Messages.concatenated(self.parts)


def test_a_stream_and_a_live_pair_are_added_whole_and_aligned_to_the_truth() -> None:
    stream, live = WholeEvidence(), WholeEvidence()
    found = clock_scale.streamed(30_000, 2, stream)
    assert (found["outside"], found["turned"], found["kept"]) == (0, 0, 30_000)
    found = clock_scale.online(2_500, live)
    assert (found["outside"], found["turned"], found["messages"]) == (0, 0, 2_500)
    assert [len(part) for part in live.parts] == [1000, 1000, 500]
    assert found["most_bytes"] >= found["before_bytes"] > 10**7


def test_the_scale_of_a_pair_is_measured() -> None:
    done = run(BENCHMARKS / "clock_scale.py", "--quick", "--part", "pair", "growth")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "held"), done.stdout + done.stderr
    assert done.stdout.count("M per s of processor") == 3


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
        ("array-in", ["ppe-fork"]),
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
    expected = {OURS, *rivals, *{"recording": ["coeval-unrecorded"], "array-in": ["(copy alone)"]}.get(row, [])}
    assert {name for name, by_round in made["samples"].items() if len(by_round) == 2} == expected
    assert all(claim["word"] in ("held", "held, barely", "not held") for claim in made["claims"])
    assert len(made["claims"]) == sum(
        len(figure.claims) for known in ROWS if known.name == row for figure in known.figures
    )
    assert done.stdout.count("HELD") == len(made["claims"])


@pytest.mark.parametrize("floor", ["(import alone)", "(forks alone)"])
def test_a_floor_of_starting_is_measured_without_a_pool(floor: str, tmp_path: Path) -> None:
    done = run(BENCHMARKS / "contenders" / "cold.py", floor, "heavy", 2, tmp_path, path=BENCHMARKS.parent)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
    assert len(list(tmp_path.iterdir())) == (2 if "forks" in floor else 0)


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


def test_the_benchmark_of_text_logs_reads_every_record_of_every_format() -> None:
    done = run(BENCHMARKS / "text_logs.py", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("MB/s") == 2 * len(text_logs.KINDS)


def test_the_benchmark_of_clock_tables_takes_every_row_through_every_step() -> None:
    done = run(BENCHMARKS / "clock_tables.py", 0.05)
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["50,000"] * 4


def test_a_process_that_has_ended_is_a_tree_of_itself() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert list(tree(ended.pid)) == [ended.pid]


def test_the_benchmark_of_tables_reads_every_row_of_every_format() -> None:
    done = run(BENCHMARKS / "tables.py", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("MB/s") == 6
    assert done.stdout.count("pyarrow's time") == 2


def test_the_benchmark_of_joins_compares_everyone_on_the_same_files() -> None:
    command = [sys.executable, str(BENCHMARKS / "join.py"), "--rows", "20000", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    # At this size a process start decides; what counts is the long form.
    assert done.returncode in (0, 1), done.stderr
    assert "failed" not in done.stdout
    assert done.stdout.count("ours / DuckDB's best:") == 2
    for contender in ("coeval", "duckdb zstd", "duckdb snappy", "duckdb ordered", "polars"):
        assert done.stdout.count(f"  {contender} ") == 2
