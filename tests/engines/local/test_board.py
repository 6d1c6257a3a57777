"""What worker and pool show each other without a message."""

from __future__ import annotations

import mmap
import os

from hypothesis import given
from hypothesis import strategies as st

from coeval.engines.local._board import BLANK, ITEM_BITS, LOADING, NO_LIMIT, ROW_BYTES, Board, BoardReading, Row, key_of


def test_what_the_worker_shows_outlives_its_side_of_the_board() -> None:
    board = Board(3)
    row = board.take_row()
    assert board.read(row) == BLANK
    theirs = Row(board.fd, row * ROW_BYTES)
    assert theirs.take(7)
    assert board.read(row) == BoardReading(7, LOADING, 0)
    assert theirs.beginner(7)(3, 123_456_789_012_345)
    del theirs
    assert board.read(row) == BoardReading(7, 3, 123_456_789_012_345)
    board.close()


def test_taking_the_next_batch_forgets_the_items_of_the_last() -> None:
    board = Board(1)
    row = board.take_row()
    theirs = Row(board.fd, row * ROW_BYTES)
    theirs.take(1)
    theirs.beginner(1)(5, 10)
    theirs.take(2)
    assert board.read(row) == BoardReading(2, LOADING, 0)
    board.close()


def test_rows_do_not_touch_each_other_and_a_row_that_is_taken_again_is_blank() -> None:
    rows = 2 * mmap.PAGESIZE // ROW_BYTES
    board = Board(rows)
    taken = [board.take_row() for _ in range(rows)]
    for row in taken:
        Row(board.fd, row * ROW_BYTES).beginner(row)(row, row)
    assert [board.read(row) for row in taken] == [BoardReading(row, row, row) for row in taken]
    board.give_row_back(taken[5])
    assert board.take_row() == taken[5]
    assert board.read(taken[5]) == BLANK
    board.close()


@given(
    batch=st.integers(0, 1 << 38),
    limit=st.tuples(st.integers(0, 1 << 38), st.integers(0, LOADING - 1)),
    item=st.integers(0, LOADING - 1),
)
def test_a_worker_begins_what_is_below_the_limit_and_nothing_else(
    batch: int, limit: tuple[int, int], item: int
) -> None:
    board = Board(1)
    row = board.take_row()
    theirs = Row(board.fd, row * ROW_BYTES)
    board.call_back(row, key_of(*limit))
    assert theirs.take(batch) == ((batch, 0) < limit)
    assert theirs.beginner(batch)(item, 1) == ((batch, item) < limit)
    assert board.read(row) == BoardReading(batch, item, 1)  # also what it does not begin is shown, before it looks
    board.call_back(row, NO_LIMIT)
    assert theirs.beginner(batch)(item, 2)
    board.close()


def test_a_forked_child_shows_nothing_and_begins_nothing() -> None:
    board = Board(1)
    row = board.take_row()
    theirs = Row(board.fd, row * ROW_BYTES)
    begin = theirs.beginner(4)
    begin(1, 10)
    child = os.fork()
    if child == 0:
        theirs.leave()
        os._exit(int(begin(2, 20)))
    assert os.waitpid(child, 0)[1] == 0
    assert board.read(row) == BoardReading(4, 1, 10)
    board.close()


def test_a_key_has_room_for_every_item_of_the_largest_batch() -> None:
    assert key_of(1, 0) - key_of(0, LOADING) == 1
    assert 1 << ITEM_BITS == LOADING + 1
