"""
How much evidence alignment takes in: by the second, by the number of clocks, and in bounded memory.

    python benchmarks/clock_scale.py [--quick] [--part pair growth many stream online]

    pair     10 M sorted messages of two clocks, to an Alignment: messages per second of processor
    growth   the same with 1 M, 3 M and 10 M: does the cost of a message stay what it is
    many     1 M messages between 50 clocks, aligned at once
    stream   10 M messages between 200 clocks, in batches through Evidence, in one pass, and aligned at the end
    online   a pair, live: messages added in batches of 1000, and aligned anew every 100 000

Making the messages is not in any time. Each part runs in a process of its own, so that the memory is its own: printed
is the most that was resident, and before it what was when the first message was made. In every part truths are asked
for and messages are looked at for being turned round. Exit code 1 unless what must hold does: 10 M messages of a pair
per second of processor, 50 clocks in 5 s, 2 us a message online, a message of 10 M costing at most 1.5 times what one
of 1 M does, a stream that takes no more memory with 10 M messages than 1.25 times what it takes with 2.5 M, and no
truth outside and no message turned round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

# A script finds what stands beside it, but not the folder above.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coeval import alignment
from coeval.alignment import Alignment, Messages, align
from coeval.clocks import ClockId
from coeval.testing.virtual import Constant, Linear, RandomWalk, VirtualClock

SECOND_NS = 10**9
SPAN_S = 600
BATCH = 250_000
BATCH_ONLINE = 1_000
ALIGN_EVERY_ONLINE = 100_000
MINIMUM_NS, QUEUEING_NS = 50_000, 100_000
QUESTIONS = 2_000

PAIR_MESSAGES_PER_S_MIN = 10e6
MANY_S_MAX = 5.0
ONLINE_US_MAX = 2.0
GROWTH_MAX = 1.5
MEMORY_GROWTH_MAX = 1.25
# With --quick everything is this much smaller, and speeds are not judged.
QUICK_DIVISOR = 50

Int64s = npt.NDArray[np.int64]
Figures = dict[str, float]


class Evidence(Protocol):
    """A summary of messages that loses nothing alignment uses; see `coeval.alignment`."""

    def add(self, messages: Messages) -> None: ...
    def messages(self) -> Messages: ...


@dataclass(frozen=True, eq=False, slots=True)
class World:
    """Virtual clocks, and who talks to whom: each clock to one before it, and as many other pairs again."""

    clocks: tuple[VirtualClock, ...]
    near: npt.NDArray[np.int32]
    far: npt.NDArray[np.int32]

    @classmethod
    def of(cls, count: int) -> World:
        """Some clocks; the first is the reference."""
        random = np.random.default_rng([count, 1])
        clocks = []
        for number in range(count):
            rate = Linear(float(random.uniform(-40, 40)) if number else 0.0)
            shapes = [Constant(int(random.integers(-(10**18), 10**18))), rate, RandomWalk(1e-9)]
            clocks.append(VirtualClock.of(ClockId(f"clock{number}"), shapes, span_ns=SPAN_S * SECOND_NS, seed=count))
        near = [int(random.integers(max(number - 10, 0), number)) for number in range(1, count)]
        far = list(range(1, count))
        for _ in range(count if count > 2 else 0):
            one, other = sorted(random.choice(count, 2, replace=False).tolist())
            near.append(one)
            far.append(other)
        return cls(tuple(clocks), np.array(near, dtype=np.int32), np.array(far, dtype=np.int32))

    def batches(self, count: int, size: int) -> Iterator[tuple[Messages, Int64s]]:
        """Messages in the order of their sending, over the whole span, and the true times of sending."""
        for first in range(0, count, size):
            random = np.random.default_rng([first, 2])
            many = min(size, count - first)
            begin, end = first * SPAN_S * SECOND_NS // count, (first + many) * SPAN_S * SECOND_NS // count
            sent = np.sort(random.integers(begin, end, many))
            pair = random.integers(len(self.near), size=many)
            forth = random.integers(2, size=many) == 0
            sender = np.where(forth, self.near[pair], self.far[pair])
            receiver = np.where(forth, self.far[pair], self.near[pair])
            received = sent + MINIMUM_NS + random.exponential(QUEUEING_NS, many).astype(np.int64)
            none = np.broadcast_to(np.int64(0), sent.shape)
            yield (
                Messages(
                    tuple(clock.id for clock in self.clocks),
                    sender,
                    receiver,
                    self._shown(sender, sent, up=False),
                    self._shown(receiver, received, up=True),
                    none,
                    none,
                    none,
                    np.broadcast_to(np.True_, sent.shape),
                ),
                sent,
            )

    def wrong(self, aligned: Alignment, messages: Messages) -> tuple[int, int]:
        """How many truths all over the span are outside, and how many of the messages are turned round."""
        outside = turned = 0
        reference = self.clocks[0]
        true_ns = np.random.default_rng(4).integers(2, SPAN_S * SECOND_NS, QUESTIONS // len(self.clocks) + 10)
        sent, received = np.zeros(len(messages), dtype=np.int64), np.zeros(len(messages), dtype=np.int64)
        for grade in ("declared", "assumed"):
            for code, clock in enumerate(self.clocks):
                placed = aligned.instants(clock.id, clock.readings_ns(true_ns), grade)
                least = reference.readings_ns(true_ns - 2)
                greatest = reference.readings_ns(true_ns, rounded="up")
                outside += int(((placed.earliest_ns > least) | (placed.latest_ns < greatest)).sum()) if code else 0
                rows = messages.sender == code
                sent[rows] = aligned.instants(clock.id, messages.sent_ns[rows], grade).estimate_ns
                rows = messages.receiver == code
                received[rows] = aligned.instants(clock.id, messages.received_by_ns[rows], grade).estimate_ns
            turned += int((sent > received).sum())
        return outside, turned

    def _shown(self, codes: npt.NDArray[np.int32], true_ns: Int64s, *, up: bool) -> Int64s:
        shown = np.empty_like(true_ns)
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(self.clocks) + 1))
        for number, clock in enumerate(self.clocks):
            rows = order[ends[number] : ends[number + 1]]
            shown[rows] = clock.readings_ns(true_ns[rows], rounded="up" if up else "down")
        return shown


def aligned_at_once(count: int, clocks: int) -> Figures:
    """All messages in one `align`, which is all that is timed."""
    world = World.of(clocks)
    before_bytes = resident_bytes()
    messages = Messages.concatenated([batch for batch, _ in world.batches(count, BATCH)])
    start, start_cpu = time.perf_counter(), time.process_time()
    aligned = align(messages, reference=world.clocks[0].id)
    aligned.instants(world.clocks[-1].id, messages.sent_ns[:1])  # what is made only when asked for is made now
    spent, spent_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    most_bytes = resident_bytes()
    outside, turned = world.wrong(aligned, head(messages, BATCH))
    return figures(count, spent, spent_cpu, before_bytes, most_bytes, outside, turned)


def streamed(count: int, clocks: int, evidence: Evidence | None = None) -> Figures:
    """Batches into evidence, alignment's own if none is given, and one `align` at the end."""
    world, evidence = World.of(clocks), evidence or new_evidence()
    last = next(world.batches(BATCH, BATCH))[0]  # what making a batch takes is there before
    before_bytes = resident_bytes()
    spent = spent_cpu = 0.0
    for last, _ in world.batches(count, BATCH):
        start, start_cpu = time.perf_counter(), time.process_time()
        evidence.add(last)
        spent, spent_cpu = spent + time.perf_counter() - start, spent_cpu + time.process_time() - start_cpu
    start, start_cpu = time.perf_counter(), time.process_time()
    reduced = evidence.messages()
    aligned = align(reduced, reference=world.clocks[0].id)
    aligned.instants(world.clocks[-1].id, last.sent_ns[:1])
    align_s = time.perf_counter() - start
    spent, spent_cpu = spent + align_s, spent_cpu + time.process_time() - start_cpu
    most_bytes = resident_bytes()
    outside, turned = world.wrong(aligned, last)
    found = figures(count, spent, spent_cpu, before_bytes, most_bytes, outside, turned)
    return found | {"kept": len(reduced), "align_s": align_s}


def online(count: int, evidence: Evidence | None = None) -> Figures:
    """Small batches of a pair, and an `align` now and then."""
    world, evidence = World.of(2), evidence or new_evidence()
    before_bytes = resident_bytes()
    add_s = align_s = add_cpu = 0.0
    aligned, last = None, None
    added = 0
    for last, _ in world.batches(count, BATCH_ONLINE):
        start, start_cpu = time.perf_counter(), time.process_time()
        evidence.add(last)
        add_s, add_cpu = add_s + time.perf_counter() - start, add_cpu + time.process_time() - start_cpu
        added += len(last)
        if added % ALIGN_EVERY_ONLINE == 0 or added == count:
            start = time.perf_counter()
            aligned = align(evidence.messages(), reference=world.clocks[0].id)
            aligned.instants(world.clocks[1].id, last.sent_ns[:1])
            align_s += time.perf_counter() - start
    assert aligned is not None
    assert last is not None
    most_bytes = resident_bytes()
    outside, turned = world.wrong(aligned, last)
    found = figures(count, add_s + align_s, add_cpu, before_bytes, most_bytes, outside, turned)
    return found | {"add_us": add_s / count * 1e6, "align_us": align_s / count * 1e6}


def figures(
    count: int, spent: float, spent_cpu: float, before_bytes: int, most_bytes: int, outside: int, turned: int
) -> Figures:
    """What every part tells."""
    return {
        "messages": count,
        "s": spent,
        "cpu_s": spent_cpu,
        "before_bytes": before_bytes,
        "most_bytes": most_bytes,
        "outside": outside,
        "turned": turned,
    }


def head(messages: Messages, count: int) -> Messages:
    """The first messages."""
    return Messages(
        messages.clocks,
        messages.sender[:count],
        messages.receiver[:count],
        messages.sent_ns[:count],
        messages.received_ns[:count],
        messages.sender_resolution_ns[:count],
        messages.receiver_resolution_ns[:count],
        messages.delay_ns_min[:count],
        messages.hard[:count],
    )


def new_evidence() -> Evidence:
    """An empty one."""
    return alignment.Evidence()


def resident_bytes() -> int:
    """The most that this process has had in memory so far. (`getrusage` would count what its parent had, too.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


MEASURES: dict[str, Callable[..., Figures]] = {"at-once": aligned_at_once, "streamed": streamed, "online": online}


def measured(name: str, *arguments: int) -> Figures:
    """What a measure says in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return cast(Figures, json.loads(done.stdout))


def memory(found: Figures) -> str:
    """As text."""
    return f"memory {found['most_bytes'] / 1e6:,.0f} MB, {found['before_bytes'] / 1e6:,.0f} MB before"


@dataclass
class Judge:
    """Prints, and remembers what did not hold."""

    quick: bool
    failed: int = 0

    def say(self, text: str, found: Figures) -> None:
        """A line of figures; no truth may be outside, and no message turned round."""
        print(f"{text}; truths outside {found['outside']}, turned round {found['turned']}", flush=True)
        self.hold("no truth outside, no message turned round", not found["outside"] and not found["turned"])

    def hold(self, claim: str, holds: bool, *, of_speed: bool = False) -> None:
        """A claim; those of speed are only judged at full size."""
        if of_speed and self.quick:
            return
        if not holds:
            self.failed += 1
            print(f"  NOT HELD: {claim}", flush=True)


def judge_pair(judge: Judge, sizes: tuple[int, ...]) -> None:
    """One pair, of one size or of several."""
    costs = []
    for count in sizes:
        found = measured("at-once", count, 2)
        costs.append(found["cpu_s"] / count)
        text = (
            f"pair: {count:,} messages in {found['s']:.2f} s, {count / found['cpu_s'] / 1e6:.1f} M per s of processor"
        )
        judge.say(f"{text}; {memory(found)}", found)
    judge.hold("10 M messages per second of processor", costs[-1] <= 1 / PAIR_MESSAGES_PER_S_MIN, of_speed=True)
    if len(costs) > 1:
        ratio = costs[-1] / costs[0]
        print(f"growth: a message of {sizes[-1]:,} costs {ratio:.2f} times what one of {sizes[0]:,} does")
        judge.hold("cost grows linearly", ratio <= GROWTH_MAX, of_speed=True)


def judge_many(judge: Judge, count: int) -> None:
    """Fifty clocks."""
    found = measured("at-once", count, 50)
    judge.say(f"many: {count:,} messages between 50 clocks in {found['s']:.2f} s; {memory(found)}", found)
    judge.hold("1 M messages between 50 clocks in 5 s", found["s"] <= MANY_S_MAX, of_speed=True)


def judge_stream(judge: Judge, count: int) -> None:
    """Two hundred clocks, and the memory of a quarter beside that of all."""
    used = []
    for size in (count // 4, count):
        found = measured("streamed", size, 200)
        used.append(found["most_bytes"])
        text = (
            f"stream: {size:,} messages between 200 clocks in {found['s']:.2f} s, {found['align_s']:.2f} s of it at the"
        )
        judge.say(f"{text} end; {found['kept']:,.0f} kept; {memory(found)}", found)
    judge.hold("bounded memory", used[1] <= MEMORY_GROWTH_MAX * used[0])


def judge_online(judge: Judge, count: int) -> None:
    """Live."""
    found = measured("online", count)
    text = f"online: {count:,} messages in batches of {BATCH_ONLINE:,}, {found['add_us']:.2f} us each to add"
    judge.say(f"{text} and {found['align_us']:.2f} us to align every {ALIGN_EVERY_ONLINE:,}; {memory(found)}", found)
    judge.hold("2 us a message", found["add_us"] + found["align_us"] <= ONLINE_US_MAX, of_speed=True)


PARTS = ("pair", "growth", "many", "stream", "online")


def main() -> int:
    """Print the parts; say what does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the messages; speed is not judged")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = options.measure
        print(json.dumps(MEASURES[name](*map(int, arguments))))
        return 0
    divisor = QUICK_DIVISOR if options.quick else 1
    ten, three, one = (count // divisor for count in (10_000_000, 3_000_000, 1_000_000))
    judge = Judge(options.quick)
    if "growth" in options.part:
        judge_pair(judge, (one, three, ten))
    elif "pair" in options.part:
        judge_pair(judge, (ten,))
    if "many" in options.part:
        judge_many(judge, one)
    summaries = {"stream", "online"} & set(options.part)
    if summaries and not hasattr(alignment, "Evidence"):
        judge.hold(f"alignment summarises nothing yet, so there is no {' and no '.join(sorted(summaries))}", False)
    else:
        if "stream" in summaries:
            judge_stream(judge, ten)
        if "online" in summaries:
            judge_online(judge, one)
    print("NOT HELD" if judge.failed else "held")
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
