"""
Many clocks: bounds equal those of an exact solver of the same constraints, and a nanosecond inwards excludes a clock.

The oracle knows nothing of strands, units or sweeps: every reading of every clock is a variable in fractions, every
message and every pair of neighbouring readings a constraint, and Bellman and Ford's algorithm finds shortest paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import Messages, align
from coeval.alignment._rate import GRID_BITS, grid_up
from coeval.clocks import ClockId, Message, Stamp

CLOCKS = tuple(ClockId(name) for name in "abcd")
REFERENCE = CLOCKS[0]
RATE_BOUND_PPM = 100.0
RATE = Fraction(grid_up(Fraction(200_010, 10**9)), 2**GRID_BITS)
"""What every clock keeps within against the reference: two bounds, their sum and product, on the grid of rates."""

Node = tuple[ClockId, int]


class System:
    """
    Messages, and the rational solver's bounds of T (what the reference shows) at every reading of every clock.

    T is a variable for each reading; `edges` are (u, v, w) for T(u) <= T(v) + w.
    """

    def __init__(self, messages: Sequence[Message], asked: Sequence[Node] = ()) -> None:
        self.nodes = {(m.sender, m.sent_ns) for m in messages} | {(m.receiver, m.received_ns) for m in messages}
        self.nodes |= set(asked)
        self.edges: list[tuple[Node, Node, Fraction]] = [
            ((m.sender, m.sent_ns), (m.receiver, m.received_ns), Fraction(0)) for m in messages
        ]
        for clock in CLOCKS[1:]:
            readings = sorted(reading for name, reading in self.nodes if name == clock)
            for earlier, later in pairwise(readings):
                shown = later - earlier
                self.edges.append(((clock, later), (clock, earlier), shown * (1 + RATE)))
                self.edges.append(((clock, earlier), (clock, later), -shown * (1 - RATE)))
        self.known = {node: Fraction(node[1]) for node in self.nodes if node[0] == REFERENCE}

    def bounds(self) -> tuple[dict[Node, Fraction], dict[Node, Fraction]]:
        """Greatest and least T of each reading; none where unknown."""
        upper, lower = dict(self.known), dict(self.known)
        for _ in range(len(self.nodes) + 1):
            for before, after, weight in self.edges:
                if after in upper and upper[after] + weight < upper.get(before, upper[after] + weight + 1):
                    upper[before] = upper[after] + weight
                if before in lower and lower[before] - weight > lower.get(after, lower[before] - weight - 1):
                    lower[after] = lower[before] - weight
        return upper, lower

    def is_satisfied_by(self, times: dict[Node, Fraction]) -> bool:
        return all(times[before] <= times[after] + weight for before, after, weight in self.edges) and all(
            times[node] == time for node, time in self.known.items()
        )


@st.composite
def systems(draw: st.DrawFn) -> tuple[list[Message], list[Node]]:
    """Clocks with true offsets and steady rates, messages between any two, and readings to ask about."""
    span = draw(st.sampled_from((10**4, 10**8, 10**9)))
    offsets = {clock: draw(st.integers(-(10**17), 10**17)) for clock in CLOCKS}
    rates = {clock: Fraction(draw(st.integers(-99_000, 99_000)), 10**9) for clock in CLOCKS}

    def shown(clock: ClockId, true: Fraction, *, up: bool) -> int:
        reading = offsets[clock] + true * (1 + rates[clock])
        return ceil(reading) if up else floor(reading)

    messages = []
    for number in range(draw(st.integers(1, 14))):
        sender, receiver = draw(st.permutations(CLOCKS))[:2]
        true = Fraction(draw(st.integers(0, span)))
        delay = draw(st.one_of(st.integers(0, 5), st.integers(0, span // 10), st.integers(0, span)))
        sent, received = shown(sender, true, up=False), shown(receiver, true + delay, up=True)
        messages.append(Message(sender, sent, receiver, received, str(number)))
    used = {clock for message in messages for clock in (message.sender, message.receiver)}
    asked = [
        (clock, shown(clock, Fraction(draw(st.integers(-span, 2 * span))), up=False))
        for clock in CLOCKS
        if clock in used
    ]
    return messages, asked


def aligned_bounds(messages: Sequence[Message], nodes: Sequence[Node]) -> list[tuple[int | None, int | None]]:
    alignment = align(Messages.of(messages), reference=REFERENCE, rate_bound_ppm=RATE_BOUND_PPM)
    assert not alignment.findings
    placed = [alignment.instant(Stamp(clock, reading)) for clock, reading in nodes]
    return [(instant.earliest_ns, instant.latest_ns) for instant in placed]


@settings(max_examples=300)
@given(systems())
def test_bounds_equal_those_of_an_exact_rational_solver(case: tuple[list[Message], list[Node]]) -> None:
    messages, asked = case
    system = System(messages, asked)
    nodes = sorted(system.nodes)
    upper, lower = system.bounds()
    exact = [
        (floor(lower[node]) if node in lower else None, ceil(upper[node]) if node in upper else None) for node in nodes
    ]
    assert aligned_bounds(messages, nodes) == exact


@settings(max_examples=100)
@given(systems())
def test_a_bound_a_nanosecond_further_in_excludes_clocks_that_keep_to_everything(
    case: tuple[list[Message], list[Node]],
) -> None:
    messages, asked = case
    system = System(messages, asked)
    nodes = sorted(system.nodes)
    upper, lower = system.bounds()
    for node, (earliest, latest) in zip(nodes, aligned_bounds(messages, nodes), strict=True):
        # Where all are known, the greatest T of all readings together keep to everything; and so do the least.
        if len(upper) == len(nodes) and latest is not None:
            assert system.is_satisfied_by(upper)
            assert upper[node] > latest - 1
        if len(lower) == len(nodes) and earliest is not None:
            assert system.is_satisfied_by(lower)
            assert lower[node] < earliest + 1


@settings(max_examples=100)
@given(systems(), st.randoms())
def test_order_of_arrival_changes_nothing_and_two_halves_are_the_whole(
    case: tuple[list[Message], list[Node]], random: Random
) -> None:
    messages, asked = case
    mixed = random.sample(messages, len(messages))
    cut = random.randint(0, len(mixed))
    halves = Messages.concatenated([Messages.of(mixed[:cut]), Messages.of(mixed[cut:])])
    alignment = align(halves, reference=REFERENCE, rate_bound_ppm=RATE_BOUND_PPM)
    found = [alignment.instant(Stamp(clock, reading)) for clock, reading in asked]
    assert [(each.earliest_ns, each.latest_ns) for each in found] == aligned_bounds(messages, asked)


@settings(max_examples=100)
@given(systems())
def test_another_message_never_widens(case: tuple[list[Message], list[Node]]) -> None:
    messages, asked = case
    still = {clock for message in messages[1:] for clock in (message.sender, message.receiver)}
    nodes = [node for node in asked if node[0] in still]
    for less, more in zip(aligned_bounds(messages[1:], nodes), aligned_bounds(messages, nodes), strict=True):
        assert less[0] is None or (more[0] is not None and more[0] >= less[0])
        assert less[1] is None or (more[1] is not None and more[1] <= less[1])


@settings(max_examples=100)
@given(systems(), st.sampled_from(("declared", "assumed")))
def test_estimates_satisfy_every_message_and_every_rate_bound(
    case: tuple[list[Message], list[Node]], grade: str
) -> None:
    messages, asked = case
    alignment = align(Messages.of(messages), reference=REFERENCE, rate_bound_ppm=RATE_BOUND_PPM)
    system = System(messages, asked)
    estimates = {
        node: alignment.instant(Stamp(*node), "declared" if grade == "declared" else "assumed").estimate_ns
        for node in system.nodes
    }
    for before, after, weight in system.edges:
        first, second = estimates[before], estimates[after]
        if first is not None and second is not None:
            # Each is rounded to whole nanoseconds; of a message both the same way.
            assert first <= second + weight + (0 if before[0] != after[0] else 1)


def test_a_clock_that_never_spoke_to_the_reference_is_bounded_through_those_that_did() -> None:
    a, b, c, _ = CLOCKS
    messages = [Message(a, 0, b, 10), Message(b, 10, a, 40), Message(b, 0, c, 5), Message(c, 5, b, 30)]
    (bounds,) = aligned_bounds(messages, [(c, 5)])
    exact = System(messages)
    upper, lower = exact.bounds()
    assert bounds == (floor(lower[c, 5]), ceil(upper[c, 5]))


def test_messages_one_way_round_leave_the_other_side_unknown_however_many_clocks_they_pass() -> None:
    a, b, c, _ = CLOCKS
    assert aligned_bounds([Message(a, 0, b, 10), Message(b, 20, c, 30)], [(c, 30)]) == [(10 - 1, None)]


@pytest.mark.parametrize("length", [2, 60])
def test_a_chain_of_clocks_adds_up_its_widths(length: int) -> None:
    chain = [ClockId(f"clock{number}") for number in range(length)]
    messages = []
    for near, far in pairwise(chain):
        messages += [Message(near, 0, far, 50), Message(far, 50, near, 100)]
    alignment = align(Messages.of(messages), reference=chain[0], rate_bound_ppm=0.0)
    instant = alignment.instant(Stamp(chain[-1], 50))
    assert instant.width_ns == 100 * (length - 1)
