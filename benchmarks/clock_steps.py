"""
Faults in the evidence: clocks that step, and messages that were paired wrongly.

    python benchmarks/clock_steps.py [--seeds 1000] [--first SEED] [--part steps wrong both]

Three virtual clocks exchange messages for 40 s, 25 times per second between each two. In "steps" the two that are not
the reference step: not at all, once or twice, either way, by 1.3 to 100 000 times the least round trip (a step below it
cannot be proven). In "wrong" 0.5 % of the messages have the send stamp of another one. In "both" they do both.

Exit code 1 unless in "steps" each step that two messages or more of a pair prove is found, between two readings of its
clock that it lies between, with its size within the size found, and no other step is found; in "wrong" every wrong
message that contradicts the right ones is rejected and of the right ones less than 0.05 %, and no step is found; in all
parts no accepted message is turned round; and in "steps" the declared interval holds the truth. (With wrong messages it
cannot always: one that is too fast by less than the slack contradicts nothing. How often that happens is counted.) A
line names each seed that fails, and the seed makes it again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coeval.alignment import UNKNOWN_ESTIMATE, Alignment, align
from coeval.clocks import ClockId
from coeval.testing.virtual import (
    Constant,
    Light,
    Linear,
    RandomWalk,
    Shape,
    Step,
    Trace,
    Traffic,
    TrueStep,
    VirtualNetwork,
)

REFERENCE, OTHERS = ClockId("reference"), (ClockId("a"), ClockId("b"))
SPAN_S = 40.0
RATE_PER_S = 25.0
DELAYS = Light(90_000, mean_ns=20_000)
ROUND_TRIP_NS_MIN = 2 * DELAYS.minimum_ns
# Just above the round trip a step is provable only where two messages at the very minimum surround it.
SIZE_FACTORS = (1.3, 1e5)
WRONG_SHARE = 0.005
RIGHT_REJECTED_SHARE_MAX = 0.0005
# One message alone may be the false one: a step is provable if so many after it contradict those before it.
WITNESSES_MIN = 2
QUESTIONS = 50
# What `align` declares of clocks of which nothing is said, for both of a pair.
RATE_BETWEEN = 1e-4 + 1e-4 + 1e-8
PARTS = ("steps", "wrong", "both")

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class FoundStep(Protocol):
    """What alignment says about a step."""

    @property
    def clock(self) -> ClockId: ...
    @property
    def earliest_ns(self) -> int: ...
    @property
    def latest_ns(self) -> int: ...
    @property
    def size_ns_least(self) -> int | None: ...
    @property
    def size_ns_greatest(self) -> int | None: ...


class Faults(Protocol):
    """What alignment says about faults in the evidence."""

    @property
    def steps(self) -> Sequence[FoundStep]: ...
    @property
    def rejected(self) -> npt.NDArray[np.int64]:
        """Rows of the messages."""


@dataclass
class Tally:
    """What came of one part over all seeds."""

    part: str
    traces: int = 0
    messages: int = 0
    steps: int = 0
    unproven: int = 0
    dated_within_ns: list[int] = field(default_factory=list)
    missed: int = 0
    wrongly_sized: int = 0
    invented: int = 0
    wrong: int = 0
    contradicting: int = 0
    contradicting_kept: int = 0
    right_rejected: int = 0
    turned_round: int = 0
    outside: int = 0
    complaints: list[str] = field(default_factory=list)

    def failures(self) -> list[str]:
        """What does not hold of what must. Wrong pairs among steps are counted, but only "wrong" is judged by them."""
        found = []
        if self.turned_round:
            found.append(f"{self.turned_round} messages turned round")
        # A wrong message that is too fast by less than the slack contradicts nothing, so nobody can tell it.
        if self.part == "steps" and self.outside:
            found.append(f"{self.outside} truths outside")
        if self.part == "steps" and (self.missed or self.wrongly_sized):
            found.append(f"{self.missed} of {self.steps} steps missed or misdated, {self.wrongly_sized} missized")
        if self.part != "both" and self.invented:
            found.append(f"{self.invented} steps invented")
        if self.part == "wrong":
            if self.contradicting_kept:
                found.append(f"{self.contradicting_kept} of {self.contradicting} contradictions not rejected")
            if self.right_rejected > RIGHT_REJECTED_SHARE_MAX * (self.messages - self.wrong):
                found.append(f"{self.right_rejected} right messages rejected, more than 0.05 %")
        return found


def network(part: str, seed: int) -> VirtualNetwork:
    """The recipe: clocks as far apart as may be, so that sizes and instants are of any kind."""
    random = np.random.default_rng([seed, 3])
    shapes: dict[ClockId, list[Shape]] = {REFERENCE: [RandomWalk(1e-9)]}
    for name in OTHERS:
        offset, rate = int(random.integers(-(10**18), 10**18)), float(random.uniform(-50, 50))
        shapes[name] = [Constant(offset), Linear(rate), RandomWalk(1e-9)]
    if part != "wrong":
        for place in [(0.3, 0.45), (0.55, 0.7)][: random.integers(3)]:
            size = ROUND_TRIP_NS_MIN * 10 ** random.uniform(*np.log10(SIZE_FACTORS))
            step = Step(int(random.uniform(*place) * SPAN_S * 1e9), int(size) * int(random.choice([-1, 1])))
            shapes[OTHERS[random.integers(2)]].append(step)
    pairs = ((REFERENCE, OTHERS[0]), (REFERENCE, OTHERS[1]), OTHERS)
    traffic = [Traffic(near, far, RATE_PER_S, DELAYS, DELAYS) for near, far in pairs]
    return VirtualNetwork(shapes, traffic, SPAN_S, wrong_share=WRONG_SHARE if part != "steps" else 0.0)


def judge_steps(found: Sequence[FoundStep], true: Sequence[TrueStep]) -> tuple[list[FoundStep], list[TrueStep]]:
    """For each true step that was found, in order, what was found; and those that were not. The rest is invented."""
    left, matched, missed = list(found), [], []
    for step in true:
        dated = [
            one
            for one in left
            if one.clock == step.clock and one.earliest_ns <= step.before_ns and step.after_ns <= one.latest_ns
        ]
        if not dated:
            missed.append(step)
            continue
        best = min(dated, key=lambda one: one.latest_ns - one.earliest_ns)
        left.remove(best)
        matched.append(best)
    return matched, missed


def is_sized(found: FoundStep, size_ns: int) -> bool:
    """Is a true size within what was found? A clock that was set back for long may leave one side unknown."""
    least, greatest = found.size_ns_least, found.size_ns_greatest
    return (least is None or least <= size_ns) and (greatest is None or size_ns <= greatest)


def contradicting(trace: Trace) -> Bools:
    """
    Which wrong messages the right ones contradict, under the rates that are declared by default.

    A message bounds the offset between its clocks at a reading. It is contradicted if its upper bound is below what the
    right messages the other way leave possible there, or its lower bound above.
    """
    messages = trace.messages
    found = np.zeros(len(messages), dtype=np.bool_)
    for forth in range(0, len(trace.network.flows), 2):
        rows, back = np.flatnonzero(trace.flow == forth), np.flatnonzero(trace.flow == forth + 1)
        origin = int(messages.received_ns[rows[0]])
        offset_origin = int(messages.received_ns[rows[0]] - messages.sent_ns[rows[0]])
        upper_at = (messages.received_ns[rows] - origin).astype(np.float64)
        upper = (messages.received_ns[rows] - messages.sent_ns[rows] - offset_origin).astype(np.float64)
        lower_at = (messages.sent_ns[back] - origin).astype(np.float64)
        lower = (messages.sent_ns[back] - messages.received_ns[back] - offset_origin).astype(np.float64)
        right_up, right_back = ~trace.wrong[rows], ~trace.wrong[back]
        least = -envelope(lower_at[right_back], -lower[right_back], upper_at)
        greatest = envelope(upper_at[right_up], upper[right_up], lower_at)
        found[rows] = ~right_up & (upper < least - 1)
        found[back] = ~right_back & (lower > greatest + 1)
    return found


def witnesses(trace: Trace, step: TrueStep) -> int:
    """How many messages with the reference, sent after a step, contradict those that had arrived before it."""
    messages, most = trace.messages, 0
    others = [one.at_ns for one in trace.steps if one.clock == step.clock]
    begin, end = (
        max([at for at in others if at < step.at_ns], default=0),
        min([at for at in others if at > step.at_ns], default=trace.network.span_ns),
    )
    is_near = (trace.sent_true_ns >= begin) & (trace.received_true_ns <= end)
    for forth in range(0, len(trace.network.flows), 2):
        near, far, _ = trace.network.flows[forth]
        if {near, far} != {step.clock, REFERENCE}:
            continue
        rows, back = (np.flatnonzero((trace.flow == flow) & is_near) for flow in (forth, forth + 1))
        origin = int(messages.received_ns[rows[0]])
        offset = int(messages.received_ns[rows[0]] - messages.sent_ns[rows[0]])
        sides = [
            (
                (messages.received_ns[rows] - origin).astype(np.float64),
                (messages.received_ns[rows] - messages.sent_ns[rows] - offset).astype(np.float64),
                trace.received_true_ns[rows] <= step.at_ns,
                trace.sent_true_ns[rows] >= step.until_ns,
            ),
            (
                (messages.sent_ns[back] - origin).astype(np.float64),
                (messages.sent_ns[back] - messages.received_ns[back] - offset).astype(np.float64),
                trace.received_true_ns[back] <= step.at_ns,
                trace.sent_true_ns[back] >= step.until_ns,
            ),
        ]
        (upper_at, upper, upper_old, upper_new), (lower_at, lower, lower_old, lower_new) = sides
        floor = -envelope(lower_at[lower_old], -lower[lower_old], upper_at[upper_new])
        ceiling = envelope(upper_at[upper_old], upper[upper_old], lower_at[lower_new])
        most = max(most, int((upper[upper_new] < floor - 1).sum()) + int((lower[lower_new] > ceiling + 1).sum()))
    return most


def envelope(at: Floats, upper: Floats, asked: Floats) -> Floats:
    """The least of `upper + rate * distance` over all points."""
    order = np.argsort(at)
    at, upper = at[order], upper[order]
    left = np.concatenate(([np.inf], np.minimum.accumulate(upper - RATE_BETWEEN * at)))
    right = np.concatenate((np.minimum.accumulate((upper + RATE_BETWEEN * at)[::-1])[::-1], [np.inf]))
    place = np.searchsorted(at, asked, side="right")
    return np.minimum(left[place] + RATE_BETWEEN * asked, right[place] - RATE_BETWEEN * asked)


def measure(tally: Tally, seed: int) -> None:
    """Align one trace, and add what came of it."""
    trace = network(tally.part, seed).trace(seed)
    aligned = align(trace.messages, reference=REFERENCE)
    faults = cast(Faults, aligned)
    found = faults.steps
    matched, missed = judge_steps(found, trace.steps)
    unproven = [step for step in missed if witnesses(trace, step) < WITNESSES_MIN]
    truth = [step for step in trace.steps if step not in missed]
    missized = sum(not is_sized(one, step.size_ns) for one, step in zip(matched, truth, strict=True))
    rejected = np.zeros(len(trace.messages), dtype=np.bool_)
    rejected[faults.rejected] = True
    proven = contradicting(trace) if tally.part == "wrong" else np.zeros(len(rejected), dtype=np.bool_)
    used = ~rejected
    used[aligned.unsorted] = False
    turned, outside = turned_round(trace, aligned, used), truths_outside(trace, aligned)
    tally.traces += 1
    tally.messages += len(trace.messages)
    tally.steps += len(trace.steps)
    tally.dated_within_ns += [
        abs(one.latest_ns - one.earliest_ns - step.size_ns) for one, step in zip(matched, truth, strict=True)
    ]
    tally.unproven += len(unproven)
    tally.missed += len(missed) - len(unproven)
    tally.wrongly_sized += missized
    tally.invented += len(found) - len(matched)
    tally.wrong += int(trace.wrong.sum())
    tally.contradicting += int(proven.sum())
    tally.contradicting_kept += int((proven & ~rejected).sum())
    tally.right_rejected += int((rejected & ~trace.wrong).sum())
    tally.turned_round += turned
    tally.outside += 0 if unproven else outside
    if (
        len(missed) > len(unproven)
        or missized
        or len(found) > len(matched)
        or (proven & ~rejected).any()
        or turned
        or (outside and not unproven)
    ):
        tally.complaints.append(
            f"seed {seed}: true steps {[tuple(step) for step in trace.steps]}; found {list(found)}; "
            f"{int((proven & ~rejected).sum())} contradictions kept, {turned} turned round, {outside} truths outside"
        )


def turned_round(trace: Trace, aligned: Alignment, accepted: Bools) -> int:
    """
    How many accepted messages arrive before they are sent, by our estimates of either grade.

    Not of stamps that a step back repeats: such a reading has two instants, and a placed one can be only one of them.
    Nor of those whose time is unknown.
    """
    messages, count = trace.messages, 0
    for sender, receiver, _ in trace.network.flows:
        rows = accepted & (messages.sender == messages.clocks.index(sender))
        rows &= messages.receiver == messages.clocks.index(receiver)
        sent_ns, received_ns = messages.sent_ns[rows], messages.received_by_ns[rows]
        once = ~(repeated(trace, sender, sent_ns) | repeated(trace, receiver, received_ns))
        for grade in ("declared", "assumed"):
            sent = aligned.instants(sender, sent_ns[once], grade).estimate_ns
            received = aligned.instants(receiver, received_ns[once], grade).estimate_ns
            known = (sent != UNKNOWN_ESTIMATE) & (received != UNKNOWN_ESTIMATE)
            count += int((known & (sent > received)).sum())
    return count


def truths_outside(trace: Trace, aligned: Alignment) -> int:
    """How many truths the declared intervals miss; not of readings that a step back repeats, which have two."""
    count = 0
    for name in OTHERS:
        true_ns = trace.true_times_ns(QUESTIONS)
        true_ns = true_ns[~repeated(trace, name, trace.clocks[name].readings_ns(true_ns))]
        asked = trace.question(name, REFERENCE, true_ns)
        placed = aligned.instants(name, asked.readings_ns)
        count += int(((placed.earliest_ns > asked.least_ns) | (placed.latest_ns < asked.greatest_ns)).sum())
    return count


def repeated(trace: Trace, clock: ClockId, readings_ns: npt.NDArray[np.int64]) -> Bools:
    """Which readings the clock showed both before and after a step back."""
    found = np.zeros(len(readings_ns), dtype=np.bool_)
    for step in trace.clocks[clock].steps:
        found |= (step.after_ns <= readings_ns) & (readings_ns <= step.before_ns)
    return found


def shown(tally: Tally) -> str:
    """What came of a part, as text."""
    lines = [f"{tally.part}: {tally.traces} traces, {tally.messages} messages"]
    if tally.part != "wrong":
        counts = f"missed or misdated {tally.missed}, beyond proof {tally.unproven}, missized {tally.wrongly_sized}"
        lines.append(f"  steps: {tally.steps}, {counts}")
    if tally.dated_within_ns:
        lines.append(f"  dated within {np.median(tally.dated_within_ns) / 1e6:.3f} ms in the median, beside their size")
    lines.append(f"  steps invented: {tally.invented}")
    if tally.part != "steps":
        share = 100 * tally.right_rejected / max(tally.messages - tally.wrong, 1)
        lines.append(f"  wrong pairs: {tally.wrong}; right ones rejected: {tally.right_rejected} ({share:.4f} %)")
    if tally.part == "wrong":
        lines.append(f"  wrong pairs that contradict: {tally.contradicting}, kept: {tally.contradicting_kept}")
    lines.append(f"  turned round: {tally.turned_round}; truths outside: {tally.outside}")
    lines += [f"  {complaint}" for complaint in tally.complaints[:5]]
    if len(tally.complaints) > 5:
        lines.append(f"  and {len(tally.complaints) - 5} more seeds")
    lines += [f"  NOT HELD: {failure}" for failure in tally.failures()]
    return "\n".join(lines)


def main() -> int:
    """Print what came of each part; say what does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    if not (hasattr(Alignment, "steps") and hasattr(Alignment, "rejected")):
        print("NOT HELD: alignment finds no steps and rejects no messages yet")
        return 1
    failed = False
    for part in options.part:
        tally = Tally(part)
        for seed in range(options.first, options.first + options.seeds):
            measure(tally, seed)
        print(shown(tally), flush=True)
        failed = failed or bool(tally.failures())
    print("NOT HELD" if failed else "held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
