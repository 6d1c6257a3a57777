"""Chapter 2: `map`. In order, lazy, bounded, in chunks."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from coeval.testing import _calls as calls
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor

# However far `map` looks ahead by itself, it is less than this.
FAR_AHEAD = 10_000


class Map(Subject):
    """`map`: in order, lazy, bounded, in chunks."""

    def test_map_gives_results_in_order(self, ex: Executor) -> None:
        assert list(ex.map(calls.square, range(100))) == [number * number for number in range(100)]

    def test_map_ends_with_its_shortest_iterable(self, ex: Executor) -> None:
        assert list(ex.map(operator.floordiv, [8, 9, 10, 11], [2, 3, 5])) == [4, 3, 2]
        assert list(ex.map(calls.square, [])) == []

    def test_map_begins_before_it_is_read(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        gate.open()
        results = ex.map(calls.pass_gate, [gate], ["begun"])
        gate.wait_for_arrivals(1)
        assert list(results) == ["begun"]

    @pytest.mark.parametrize("chunksize", [1, 7, 1000])
    def test_chunks_change_nothing_but_the_speed(self, ex: Executor, chunksize: int) -> None:
        assert list(ex.map(calls.square, range(50), chunksize=chunksize)) == [number * number for number in range(50)]

    def test_items_of_a_chunk_travel_together(self, ex: Executor) -> None:
        processes = list(ex.map(calls.pid, range(20), chunksize=5))
        assert all(len(set(processes[first : first + 5])) == 1 for first in range(0, 20, 5))

    def test_map_raises_in_the_failing_items_place(self, ex: Executor) -> None:
        results = ex.map(operator.floordiv, [8, 9, 10], [2, 0, 5])
        assert next(results) == 4
        with pytest.raises(ZeroDivisionError):
            next(results)

    def test_map_over_an_endless_iterable_reads_a_bounded_number_ahead(self, ex: Executor) -> None:
        numbers = Counted()
        results = ex.map(calls.square, numbers)
        assert list(itertools.islice(results, 200)) == [number * number for number in range(200)]
        assert numbers.read < FAR_AHEAD
        cast(Generator[int], results).close()

    @pytest.mark.parametrize("chunksize", [1, 3])
    def test_buffersize_bounds_what_is_read_ahead(self, ex: Executor, chunksize: int) -> None:
        numbers = Counted()
        results = ex.map(calls.square, numbers, chunksize=chunksize, buffersize=4)
        ahead = []
        for yielded in range(1, 21):
            next(results)
            ahead.append(numbers.read - yielded)
        assert max(ahead) <= 4
        cast(Generator[int], results).close()

    @pytest.mark.parametrize(("option", "value"), [("chunksize", 0), ("chunksize", -1), ("buffersize", 0)])
    def test_senseless_sizes_are_refused(self, ex: Executor, option: str, value: int) -> None:
        options: dict[str, Any] = {option: value}
        with pytest.raises(ValueError, match=option):
            ex.map(calls.square, [1], **options)

    def test_map_raises_timeout_error_when_a_result_is_late(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        results = ex.map(calls.pass_gate, [gate], timeout=0.01)
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()

    @pytest.mark.parametrize("read", ["read", "unread"])
    def test_closing_the_iterator_cancels_what_waits(self, tmp_path: Path, read: str) -> None:
        gate, first = self.gate(tmp_path), self.gate(tmp_path, "first")
        first.open()
        count = 20 * self.workers
        with self.executor() as own:
            try:
                gates = itertools.chain([first], itertools.repeat(gate, count - 1))
                results = own.map(calls.pass_gate, gates, buffersize=count)
                if read == "read":
                    next(results)
                gate.wait_for_arrivals(self.workers)
                cast(Generator[None], results).close()
            finally:
                gate.open()
        assert len(gate.arrived()) <= 2 * self.workers
        assert own.statistics().cancelled >= count - 1 - 2 * self.workers

    def test_failing_item_cancels_what_waits(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        count = 20 * self.workers
        with self.executor() as own:
            try:
                results = own.map(calls.fail_first_or_wait, range(count), itertools.repeat(gate), buffersize=count)
                with pytest.raises(LookupError, match="the first"):
                    next(results)
                assert list(results) == [], "after an exception an iterator is at its end"
            finally:
                gate.open()
        assert own.statistics().cancelled >= count - 1 - 2 * self.workers


class Counted:
    """Endless numbers that remember how many were read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            self.read += 1
            yield number
