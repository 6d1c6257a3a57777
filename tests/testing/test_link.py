"""What packets undergo: links as the test gives them, and what the hub decides for each packet."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.testing._hub import Direction
from coeval.testing._link import Link, Way

MS_NS = 1_000_000


def test_one_number_holds_both_ways_and_a_pair_is_there_and_back() -> None:
    assert Link(delay_s=0.001).ways() == (Way(MS_NS, 0, 0.0), Way(MS_NS, 0, 0.0))
    link = Link(delay_s=(0.020, 0.005), jitter_s=0.002, loss=(0, 0.5))
    assert link.ways() == (Way(20 * MS_NS, 2 * MS_NS, 0), Way(5 * MS_NS, 2 * MS_NS, 0.5))


@given(st.floats(0, 60))
def test_no_packet_is_let_through_earlier_than_asked_for(delay_s: float) -> None:
    assert Link(delay_s=delay_s).ways()[0].delay_ns >= delay_s * 1e9


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay_s": -0.001},
        {"delay_s": (0.1, 61.0)},
        {"jitter_s": -1.0},
        {"loss": 1.01},
        {"loss": (0.5, -0.1)},
        {"delay_s": math.nan},
        {"delay_s": (0.1, 0.1, 0.1)},
    ],
)
def test_what_no_link_does_is_refused_with_the_value(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError) as raised:
        Link(**wrong)
    assert str(raised.value).startswith(f"{name} is {value}; expected ")


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=200),
    st.integers(0, 10**8),
    st.integers(0, 10**7),
    st.sampled_from([0.0, 0.3]),
)
def test_packets_keep_their_order_and_take_the_delay_at_least(
    gaps_ns: list[int], delay_ns: int, jitter_ns: int, loss: float
) -> None:
    direction = direction_of("seed", delay_ns, jitter_ns, loss)
    now_ns, arrivals_ns = 0, []
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        due_ns = direction.due_ns(now_ns)
        if due_ns is not None:
            assert due_ns >= now_ns + delay_ns
            arrivals_ns.append(due_ns)
    assert arrivals_ns == sorted(arrivals_ns)
    assert (direction.sent, direction.lost) == (len(gaps_ns), len(gaps_ns) - len(arrivals_ns))


def test_jitter_has_the_mean_that_was_asked_for_and_loss_the_share() -> None:
    count = 100_000
    direction = direction_of("seed", 0, 2 * MS_NS, 0.01)
    # Far apart, so that none waits behind another.
    dues = [(sent_ns, direction.due_ns(sent_ns)) for sent_ns in range(0, count * 1000 * MS_NS, 1000 * MS_NS)]
    extra_ns = [due_ns - sent_ns for sent_ns, due_ns in dues if due_ns is not None]
    # Five standard deviations: the seed is fixed, so this holds always or never.
    assert abs(sum(extra_ns) / len(extra_ns) - 2 * MS_NS) < 5 * 2 * MS_NS / math.sqrt(count)
    assert abs(direction.lost - 0.01 * count) < 5 * math.sqrt(0.01 * count)


def test_the_seed_repeats_the_draws() -> None:
    def draws(seed: str) -> list[int | None]:
        direction = direction_of(seed, 0, MS_NS, 0.1)
        return [direction.due_ns(sent_ns) for sent_ns in range(0, 10**12, 10**9)]

    assert draws("0 a b") == draws("0 a b")
    assert draws("0 a b") != draws("0 b a")


def test_a_link_that_gets_faster_does_not_let_packets_overtake() -> None:
    direction = direction_of("seed", 100 * MS_NS, 0, 0.0)
    slow_ns = direction.due_ns(0)
    direction.delay_ns = MS_NS
    assert direction.due_ns(10 * MS_NS) == slow_ns == 100 * MS_NS
    assert direction.due_ns(500 * MS_NS) == 501 * MS_NS


def direction_of(seed: str, delay_ns: int, jitter_ns: int, loss: float) -> Direction:
    direction = Direction(seed)
    direction.delay_ns, direction.jitter_ns, direction.loss = delay_ns, jitter_ns, loss
    return direction
