"""
Clocks, and messages between them, in virtual time: a network is a recipe, and a seed makes a trace of it.

    VirtualNetwork  --seed-->  Trace: Messages as alignment takes them, and the truth about each of them

Stamps are as real ones: a send is stamped with what the clock shows, rounded down, and a receive with the reading that
it has reached, rounded up, so that rounding to ns never makes a message too fast. A coarser clock cuts both down to its
resolution.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from coeval.alignment import Messages
from coeval.clocks import ClockId
from coeval.testing.virtual._clock import TrueStep, VirtualClock
from coeval.testing.virtual._delays import Delays
from coeval.testing.virtual._exact import BoolArray, Int64Array
from coeval.testing.virtual._shapes import SECOND_NS, Shape

Pattern = Literal["regular", "random", "bursts"]

BURST_COUNT = 20
"""How many messages a burst has."""

BURST_SPACING_NS = 50_000
"""How far apart the messages of a burst are sent."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """
    What goes between two clocks.

    Attributes:
        near, far: the two ends.
        rate_per_s: exchanges, or messages each way.
        forth, back: the delays from near to far and from far to near; None: nothing goes that way.
        pattern: "regular", "random" (Poisson) or "bursts" of 20, each sent 50 us after the last.
        answered: each message forth is answered by one back, after a pause. Otherwise the two ways are independent.
        pause_mean_ns: of the exponential pause before an answer, in true time.
        gaps_s: true times (from, to) between which nothing is sent from near (from far neither, if nothing is
            answered).
    """

    near: ClockId
    far: ClockId
    rate_per_s: float
    forth: Delays | None
    back: Delays | None
    pattern: Pattern = "random"
    answered: bool = True
    pause_mean_ns: int = 100_000
    gaps_s: tuple[tuple[float, float], ...] = ()


class Question(NamedTuple):
    """
    Readings of one clock, and what another showed at the same instants.

    Attributes:
        readings_ns: to ask about.
        least_ns, greatest_ns: the truth lies between these, which are some ns apart.
    """

    readings_ns: Int64Array
    least_ns: Int64Array
    greatest_ns: Int64Array

    @property
    def middle_ns(self) -> Int64Array:
        """The truth, within 2 ns."""
        return self.least_ns + (self.greatest_ns - self.least_ns) // 2


@dataclass(frozen=True, eq=False)
class Trace:
    """
    What a network did under one seed: the messages, and the truth. Columns of equal length, one row per message.

    Attributes:
        network, seed: what replays it: `network.trace(seed)`.
        clocks: every clock by its id.
        messages: in the order in which they were received.
        sent_true_ns, received_true_ns: true times of the two stamps.
        wrong: the rows whose send stamp is that of another message; `sent_true_ns` is where that stamp was taken.
        flow: which flow of `network.flows` each row belongs to.
    """

    network: VirtualNetwork
    seed: int
    clocks: Mapping[ClockId, VirtualClock] = field(repr=False)
    messages: Messages = field(repr=False)
    sent_true_ns: Int64Array = field(repr=False)
    received_true_ns: Int64Array = field(repr=False)
    wrong: BoolArray = field(repr=False)
    flow: npt.NDArray[np.int32] = field(repr=False)

    @cached_property
    def steps(self) -> tuple[TrueStep, ...]:
        """Every step and suspend of every clock, by true time."""
        return tuple(
            sorted((step for clock in self.clocks.values() for step in clock.steps), key=lambda step: step.at_ns)
        )

    @cached_property
    def rate_bound_ppm(self) -> dict[ClockId, float]:
        """The least that may be declared of each clock; see `VirtualClock.rate_bound_ppm`."""
        return {name: clock.rate_bound_ppm for name, clock in self.clocks.items()}

    def question(self, clock: ClockId, reference: ClockId, true_ns: npt.ArrayLike) -> Question:
        """
        Readings of `clock` at these true times, and what `reference` showed when it showed them.

        Not within 2 ns after a step of either, nor while one is suspended: there a reading has more than one instant.
        """
        true = np.asarray(true_ns, dtype=np.int64)
        shown = self.clocks[reference]
        # A clock that is slower than the true one by less than a fifth began to show its whole ns less than 2 ns ago.
        return Question(
            self.clocks[clock].readings_ns(true),
            shown.readings_ns(true - 2),
            shown.readings_ns(true, rounded="up"),
        )

    def true_times_ns(self, count: int, *, seed: int = 0) -> Int64Array:
        """True times all over the trace to ask about: drawn evenly, and increasing."""
        drawn = np.random.default_rng([self.seed, seed, 77]).integers(0, self.network.span_ns, count)
        return np.sort(drawn)


@dataclass(frozen=True)
class VirtualNetwork:
    """
    The recipe of a trace. Its repr makes it again.

    Attributes:
        clocks: the shapes of each clock.
        traffic: what goes between them, any graph.
        span_s: how long, in true time.
        resolution_ns: to what clocks cut their stamps (1 ms, 1 s, ticks of 15 625 000 ns); others stamp whole ns.
        says_resolution: whether messages carry the resolutions.
        wrong_share: the share of messages that get the send stamp of another of their flow, at most three away.
    """

    clocks: Mapping[ClockId, Sequence[Shape]]
    traffic: Sequence[Traffic]
    span_s: float
    resolution_ns: Mapping[ClockId, int] = field(default_factory=dict)
    says_resolution: bool = True
    wrong_share: float = 0.0

    def __post_init__(self) -> None:
        for traffic in self.traffic:
            for end in (traffic.near, traffic.far):
                if end not in self.clocks:
                    raise ValueError(f"traffic names clock {end!r}, which is not in clocks ({', '.join(self.clocks)})")

    @property
    def span_ns(self) -> int:
        """How long, in true ns."""
        return round(self.span_s * SECOND_NS)

    @property
    def flows(self) -> tuple[tuple[ClockId, ClockId, Delays], ...]:
        """Sender, receiver and delays of each flow of messages."""
        found: list[tuple[ClockId, ClockId, Delays]] = []
        for traffic in self.traffic:
            if traffic.forth is not None:
                found.append((traffic.near, traffic.far, traffic.forth))
            if traffic.back is not None:
                found.append((traffic.far, traffic.near, traffic.back))
        return tuple(found)

    def trace(self, seed: int) -> Trace:
        """Draw one. The same recipe and seed give the same trace, to the ns."""
        clocks = {
            name: VirtualClock.of(name, shapes, span_ns=self.span_ns, seed=seed) for name, shapes in self.clocks.items()
        }
        sent_true, received_true = self._true_times(seed)
        counts = [len(sent) for sent in sent_true]
        parts = [self._messages(clocks, *ends) for ends in zip(self.flows, sent_true, received_true, strict=True)]
        messages = Messages.concatenated(parts)
        sent_ns, sent = messages.sent_ns, _joined(sent_true)
        flow = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
        source = self._sources(flow, counts, np.random.default_rng([seed, 99]))
        received = _joined(received_true)
        order = np.argsort(received, kind="stable")
        rows = source[order]
        return Trace(
            self,
            seed,
            clocks,
            _ordered(messages, order, sent_ns[rows]),
            sent[rows],
            received[order],
            (source != np.arange(len(source)))[order],
            flow[order],
        )

    def _true_times(self, seed: int) -> tuple[list[Int64Array], list[Int64Array]]:
        sent: list[Int64Array] = []
        received: list[Int64Array] = []
        for number, traffic in enumerate(self.traffic):
            random = np.random.default_rng([seed, zlib.crc32(f"{traffic.near} {traffic.far}".encode()), number])
            arrived = None
            for delays, answers in ((traffic.forth, False), (traffic.back, traffic.answered)):
                if delays is None:
                    continue
                if answers and arrived is not None:
                    pauses = random.exponential(traffic.pause_mean_ns, len(arrived)).astype(np.int64)
                    starts = np.sort(arrived + pauses)
                else:
                    starts = _starts(traffic, self.span_ns, random)
                arrived = starts + delays.delays_ns(starts, random)
                sent.append(starts)
                received.append(arrived)
        return sent, received

    def _messages(
        self,
        clocks: Mapping[ClockId, VirtualClock],
        flow: tuple[ClockId, ClockId, Delays],
        sent_true: Int64Array,
        received_true: Int64Array,
    ) -> Messages:
        sender, receiver, _ = flow
        grain, receiver_grain = (self.resolution_ns.get(end, 0) for end in (sender, receiver))
        sent = clocks[sender].readings_ns(sent_true)
        received = clocks[receiver].readings_ns(received_true, rounded="down" if receiver_grain else "up")
        return Messages.between(
            sender,
            receiver,
            sent // grain * grain if grain else sent,
            received // receiver_grain * receiver_grain if receiver_grain else received,
            sender_resolution_ns=grain if self.says_resolution else 0,
            receiver_resolution_ns=receiver_grain if self.says_resolution else 0,
        )

    def _sources(self, flow: npt.NDArray[np.int32], counts: Sequence[int], random: np.random.Generator) -> Int64Array:
        """For each row, the row whose send stamp it shows: its own, but for the wrong pairs."""
        source = np.arange(len(flow), dtype=np.int64)
        for first, end in pairwise(np.concatenate(([0], np.cumsum(counts))).tolist()):
            chosen = np.flatnonzero(random.uniform(size=end - first) < self.wrong_share) + first
            if end - first < 2 or not len(chosen):
                continue
            away = random.integers(1, 4, len(chosen)) * random.choice([-1, 1], len(chosen))
            taken = np.clip(chosen + away, first, end - 1)
            source[chosen] = np.where(taken == chosen, chosen - np.sign(away), taken)
        return source


def _starts(traffic: Traffic, span_ns: int, random: np.random.Generator) -> Int64Array:
    count = round(span_ns / SECOND_NS * traffic.rate_per_s)
    if traffic.pattern == "regular":
        starts = (np.arange(count) * (SECOND_NS / traffic.rate_per_s)).astype(np.int64)
    elif traffic.pattern == "random":
        # Given how many there are, a Poisson stream's times are drawn evenly.
        starts = np.sort(random.integers(0, max(span_ns, 1), random.poisson(count)))
    else:
        first = random.integers(0, max(span_ns, 1), -(-count // BURST_COUNT))
        starts = np.sort((first[:, None] + np.arange(BURST_COUNT) * BURST_SPACING_NS).ravel())
    keep = np.ones(len(starts), dtype=np.bool_)
    for begin_s, end_s in traffic.gaps_s:
        keep &= (starts < begin_s * SECOND_NS) | (starts >= end_s * SECOND_NS)
    return starts[keep]


def _joined(parts: Sequence[Int64Array]) -> Int64Array:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _ordered(messages: Messages, order: Int64Array, sent_ns: Int64Array) -> Messages:
    """The rows in another order, with these send stamps."""
    return Messages(
        messages.clocks,
        messages.sender[order],
        messages.receiver[order],
        sent_ns,
        messages.received_ns[order],
        messages.sender_resolution_ns[order],
        messages.receiver_resolution_ns[order],
        messages.delay_ns_min[order],
        messages.hard[order],
    )
