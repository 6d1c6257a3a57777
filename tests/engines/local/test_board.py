from __future__ import annotations

import os

from coeval.engines.local._board import LOADING, Board, BoardReading


def test_what_the_worker_shows_outlives_its_side_of_the_board() -> None:
    board = Board.create()
    assert board.read() == BoardReading(-1, LOADING, 0)
    theirs = Board(os.dup(board.fd))
    theirs.take(7)
    assert board.read() == BoardReading(7, LOADING, 0)
    theirs.begin(3, 123_456_789_012_345)
    theirs.close()
    assert board.read() == BoardReading(7, 3, 123_456_789_012_345)
    board.close()


def test_taking_the_next_batch_forgets_the_items_of_the_last() -> None:
    board = Board.create()
    board.take(1)
    board.begin(5, 10)
    board.take(2)
    assert board.read() == BoardReading(2, LOADING, 0)
    board.close()
