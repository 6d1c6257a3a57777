"""What worker and pool show each other without a message."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from coeval.engines import ItemStamps
from coeval.engines._payload import dump
from coeval.engines._segments import Heavy
from coeval.engines.local._board import (
    BLANK,
    ITEM_BITS,
    LOADING,
    NO_LIMIT,
    ROW_BYTES,
    SHELF_BYTES_MAX,
    SHELF_ITEMS_MAX,
    Board,
    BoardReading,
    Row,
    Shelf,
    key_of,
)
from coeval.recording import Event

if TYPE_CHECKING:
    from coeval.engines._protocol import Returned

ZERO, ONE, TWO = (dump(value) for value in ([], [1], [2]))


def test_what_the_worker_shows_outlives_its_side_of_the_board() -> None:
    board = Board(3)
    row = board.take_row()
    assert board.read(row) == BLANK
    theirs = Row(board.fd, row * ROW_BYTES)
    theirs.take(7)
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
    rows = 9
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


def event(item: int) -> Event:
    return Event("mark", item, None, "m", {}, item)


PICKLES = st.one_of(st.binary(max_size=50), st.lists(st.integers(), max_size=3)).map(dump)
BARE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20))


@given(st.lists(st.tuples(PICKLES | BARE, st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_what_was_put_on_the_shelf_is_found_there_while_the_next_item_runs_and_after(
    items: list[tuple[Returned, bool, bool]],
) -> None:
    board = Board(2)
    board.take_row()
    row = board.take_row()
    theirs = Row(board.fd, row * ROW_BYTES)
    theirs.take(4)
    begin, shelf = theirs.beginner(4), Shelf(theirs, 4)
    shelf.clear(10, 99)
    events: list[Event] = []
    stamps: list[ItemStamps] = []
    for number, (value, has_event, has_stamps) in enumerate(items, 10):
        begin(number, 100 + number)
        kept = board.kept(row, board.read(row))
        if number == 10:
            assert kept is None
        else:
            values = [value for value, _, _ in items[: number - 10]]
            assert kept == (10, number - 10, values, None, 99, 100 + number, events, stamps)
        events += [event(number)] * has_event
        stamps += [ItemStamps(number, 1, 2)] * has_stamps
        assert shelf.put(value, events, stamps)
    del theirs, begin, shelf
    board.close()


def test_an_item_that_only_began_and_one_that_is_not_the_boards_any_more_are_not_on_the_shelf() -> None:
    board = Board(1)
    row = board.take_row()
    theirs = Row(board.fd, 0)
    theirs.take(1)
    assert board.kept(row, board.read(row)) is None  # its function is being loaded
    shelf, begin = Shelf(theirs, 1), theirs.beginner(1)
    shelf.clear(0, 1)
    begin(0, 1)
    shelf.put(ZERO, (), ())
    assert board.kept(row, board.read(row)) is None  # nobody has shown that it is whole
    begin(1, 2)
    seen = board.read(row)
    shelf.put(ONE, (), ())
    begin(2, 3)
    assert board.kept(row, seen) is None  # it has gone on
    shelf.clear(2, 3)
    assert board.kept(row, board.read(row)) is None  # it was sent
    theirs.take(2)
    begin = theirs.beginner(2)
    begin(3, 4)
    assert board.kept(row, board.read(row)) is None  # the shelf is of the batch before
    board.close()


def test_the_word_of_what_travels_beside_its_pickle_is_on_the_shelf_with_what_else_it_left() -> None:
    board = Board(1)
    row = board.take_row()
    theirs = Row(board.fd, 0)
    begin, shelf = theirs.beginner(0), Shelf(theirs, 0)
    one, other = Heavy(1, 3, 7, 10, b"stream", ()), Heavy(1, 4, 8, 10, None, ((64, 10),))
    shelf.clear(0, 0)
    assert shelf.put(ZERO, (), ())
    assert shelf.put(one, (), ())
    assert shelf.put(TWO, (), ())
    assert shelf.put(other, [event(3)], ())
    begin(4, 9)
    kept = board.kept(row, board.read(row))
    assert kept is not None
    assert (kept.values, kept.events) == ([ZERO, one, TWO, other], [event(3)])
    board.close()


def test_a_shelf_has_room_for_so_many_values_and_bytes() -> None:
    board = Board(2)
    shelf = Shelf(Row(board.fd, board.take_row() * ROW_BYTES), 0)
    other = board.take_row()
    Shelf(Row(board.fd, other * ROW_BYTES), 0).clear(5, 6)
    shelf.clear(0, 0)
    assert all(shelf.put(b"v", (), ()) for _ in range(SHELF_ITEMS_MAX))
    assert not shelf.put(b"v", (), ())
    shelf.clear(SHELF_ITEMS_MAX, 0)
    assert not shelf.put(b"v" * (SHELF_BYTES_MAX + 1), (), ())
    assert shelf.put(b"v" * SHELF_BYTES_MAX, (), ())
    assert not shelf.put(b"v", (), ())
    board.close()


def test_a_forked_child_puts_nothing_on_its_parents_shelf() -> None:
    board = Board(1)
    row = board.take_row()
    theirs = Row(board.fd, 0)
    begin, shelf = theirs.beginner(0), Shelf(theirs, 0)
    shelf.clear(0, 0)
    begin(0, 0)
    shelf.put(ONE, (), ())
    begin(1, 0)
    theirs.leave()
    assert shelf.put(b"child", (), ())
    shelf.clear(1, 0)
    shelf.put(b"child", (), ())
    kept = board.kept(row, board.read(row))
    assert kept is not None
    assert kept.values == [ONE]
    board.close()
