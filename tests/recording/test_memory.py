"""What is kept in memory when not everything is."""

from __future__ import annotations

import gc
import sys
import threading

import pytest

from coeval.recording._memory import ANCHORS_MAX, LET_GO_ROWS, RowMemory
from coeval.recording._raw_rows import (
    RawRow,
    anchor_row,
    clock_row,
    executor_row,
    function_row,
    item_row,
    outcome_row,
    process_row,
    sent_row,
)
from coeval.recording._rows import ItemRow


def sent(function: int) -> RawRow:
    return sent_row(0, 0, 1, function, (0,), 1)


def outcome(process: int) -> RawRow:
    return outcome_row(0, 0, 0, 1, "ok", process, 1, 2, 3, 4)


def process(number: int) -> RawRow:
    return process_row(number, "worker", "h", 1, "c", "3", number)


def of_kind(memory: RowMemory, kind: str) -> list[RawRow]:
    return [row for row in memory.rows() if row[0] == kind]


def test_rows_come_back_in_their_order_whether_made_raw_or_named() -> None:
    memory = RowMemory(10)
    memory.append(item_row(0, 0, 1, 2, 3))
    memory.append(ItemRow(0, 0, 2, 3, 4))
    assert memory.rows() == [("item", 0, 0, 1, 2, 3), ("item", 0, 0, 2, 3, 4)]


def test_what_it_holds_is_bounded_also_while_nobody_reads() -> None:
    memory = RowMemory(100)
    before = len(gc.get_referrers(CANARY))
    for number in range(5 * LET_GO_ROWS):
        memory.append(("item", CANARY, number))
    held = len([1 for other in gc.get_referrers(CANARY) if type(other) is tuple])
    assert before < held <= 100 + LET_GO_ROWS
    assert len(of_kind(memory, "item")) == 100
    [gap] = of_kind(memory, "gap")
    assert gap == ("gap", 5 * LET_GO_ROWS - 100, "memory keeps the newest 100 rows; run=PATH keeps all")


CANARY: list[int] = []


def test_the_newest_anchors_stay_when_calls_let_everything_else_go() -> None:
    memory = RowMemory(1)
    for number in range(ANCHORS_MAX + 5):
        memory.append(anchor_row(0, number, 0, 1, "ntp a"))
        memory.append(sent(0))
    readings = [row[2] for row in of_kind(memory, "anchor")]
    assert readings == list(range(5, ANCHORS_MAX + 5))
    [lost] = of_kind(memory, "gap")
    assert len(memory.rows()) - 1 + lost[1] == 2 * (ANCHORS_MAX + 5)


def test_a_function_for_every_call_does_not_fill_memory_and_the_lost_names_are_counted() -> None:
    memory = RowMemory(2, known_max=5)
    for number in range(50):
        memory.append(function_row(0, number, f"m:<lambda {number}>", "ab"))
        memory.append(sent(number))
    names = [row[2] for row in of_kind(memory, "function")]
    assert names == [0, 45, 46, 47, 48, 49]  # of the five known ones, and the newest row
    lost, unnamed = of_kind(memory, "gap")
    assert unnamed == ("gap", 44, "memory keeps the names of the 5 functions used last; run=PATH keeps all")
    assert lost[1] == 49
    assert len(memory.rows()) - 2 + lost[1] + unnamed[1] == 100


def test_a_function_that_is_still_called_keeps_its_name() -> None:
    memory = RowMemory(1, known_max=5)
    memory.append(function_row(0, 7, "m:often", "ab"))
    for number in range(10, 60):
        memory.append(function_row(0, number, "m:once", "ab"))
        memory.append(sent(number))
        memory.append(sent(7))
    assert 7 in [row[2] for row in of_kind(memory, "function")]


def test_a_worker_that_still_works_stays_known_and_so_does_the_driver() -> None:
    memory = RowMemory(1, known_max=5)
    memory.append(process_row(0, "driver", "h", 1, "c", "3"))
    memory.append(executor_row(0, "local", 1))
    for number in range(1, 50):
        memory.append(process(number))
        memory.append(clock_row(number, 1, 2, 3, 4))
        memory.append(outcome(number))
        memory.append(outcome(1))
    assert [row[1] for row in of_kind(memory, "process")] == [0, 1, 47, 48, 49]
    assert [row[1] for row in of_kind(memory, "clock")] == [1, 47, 48, 49]
    assert len(of_kind(memory, "executor")) == 1
    assert of_kind(memory, "gap")[1] == (
        "gap",
        2 * 45,
        "memory keeps the names of the 5 processes used last; run=PATH keeps all",
    )


@pytest.mark.parametrize("rows_max", [50, 10**6])
def test_reading_while_threads_append_loses_and_doubles_nothing(rows_max: int) -> None:
    memory, each, threads_count = RowMemory(rows_max), 4000, 4
    is_done = threading.Event()
    seen: list[int] = []

    def append(first: int) -> None:
        for number in range(first, first + each):
            memory.append(item_row(0, 0, number, 0, 0))

    def read() -> None:
        while not is_done.is_set():
            rows = memory.rows()
            seen.append(sum(row[1] if row[0] == "gap" else 1 for row in rows))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=append, args=(each * index,)) for index in range(threads_count)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        is_done.set()
        reader.join()
    finally:
        sys.setswitchinterval(before)
    assert seen == sorted(seen)
    rows = memory.rows()
    numbers = [row[3] for row in rows if row[0] == "item"]
    assert len(set(numbers)) == len(numbers)
    assert sum(row[1] if row[0] == "gap" else 1 for row in rows) == each * threads_count


def test_memory_for_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="rows_max is 0; expected at least 1"):
        RowMemory(0)
