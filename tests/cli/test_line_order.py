"""In which order finished lines are written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coeval.cli._line_order import LineOrder


def line(index: int) -> bytes:
    return b"%d\n" % index


@given(st.permutations(range(12)))
def test_lines_come_out_by_index_in_whichever_order_they_come(indexes: list[int]) -> None:
    order = LineOrder(by_index=True)
    out = [written for index in indexes for written in order.add(index, line(index))]
    assert out == [line(index) for index in range(12)]
    assert order.held_bytes == 0 and not order.rest()


@given(st.permutations(range(8)), st.integers(0, 8))
def test_what_is_held_is_counted_and_given_up_in_order_when_nothing_more_comes(indexes: list[int], come: int) -> None:
    order = LineOrder(by_index=True)
    out = [written for index in indexes[:come] for written in order.add(index, line(index))]
    held = order.held_bytes
    rest = list(order.rest())
    assert sum(map(len, rest)) == held
    assert out + rest == [line(index) for index in sorted(indexes[:come])]
    assert order.held_bytes == 0


def test_without_order_every_line_is_out_at_once() -> None:
    order = LineOrder(by_index=False)
    assert order.add(5, line(5)) == (line(5),)
    assert order.held_bytes == 0 and not order.rest()
