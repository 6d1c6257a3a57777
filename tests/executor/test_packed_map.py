"""`map` of short calls: what travels together comes home in order, whatever becomes of it on the way."""

from __future__ import annotations

import itertools
import os
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.errors import WorkerDied
from coeval.executor import Executor, _packed_map
from coeval.executor._packed_map import STRIDE_ITEMS_MAX, STRIDE_NS, stride_of


@pytest.fixture(scope="module")
def ex() -> Iterator[Executor]:
    with Executor("local:2") as made:
        list(made.map(abs, range(2000)))  # so that it is known how short these are
        list(made.map(negative_or_die, range(2000), itertools.repeat(None)))
        yield made


def negative_or_die(number: int, once: Path | None) -> int:
    """Its worker dies at one number while a file is there, and takes that with it."""
    if number == 1234 and once is not None and once.exists():
        once.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


def reciprocal(number: int) -> float:
    return 1 / number


def die_at(number: int, fatal: int) -> int:
    if number == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("count", [0, 1, 2, 17, 5000])
def test_values_come_in_the_order_of_the_items(ex: Executor, count: int) -> None:
    assert list(ex.map(abs, range(-count, 0))) == list(range(count, 0, -1))


def test_it_ends_with_the_shortest_of_several_iterables(ex: Executor) -> None:
    assert list(ex.map(pow, range(3000), itertools.repeat(2))) == [number**2 for number in range(3000)]


def test_the_first_item_that_fails_is_raised_after_the_values_before_it(ex: Executor) -> None:
    list(ex.map(reciprocal, range(1, 2000)))
    results = ex.map(reciprocal, itertools.chain(range(1, 1501), [0], range(1, 1000)))
    assert list(itertools.islice(results, 1500)) == [1 / number for number in range(1, 1501)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_worker_that_dies_in_the_middle_is_named_with_its_item_and_costs_none_before_it(ex: Executor) -> None:
    list(ex.map(die_at, range(2000), itertools.repeat(-1)))
    results = ex.map(die_at, range(3000), itertools.repeat(1501))
    assert list(itertools.islice(results, 1501)) == list(range(1501))
    with pytest.raises(WorkerDied, match="1501"):
        next(results)


def test_items_that_ended_a_worker_once_run_again_in_their_places(
    ex: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_packed_map, "STRIDE_ITEM_NS_MAX", 1e9)  # several at a time, so whose fault it was is not known
    once = tmp_path / "once"
    once.touch()
    assert list(ex.map(negative_or_die, range(3000), itertools.repeat(once))) == [-n for n in range(3000)]
    assert not once.exists()


@given(st.floats(0, 1e9))
def test_items_that_run_at_a_time_are_about_half_a_millisecond_at_most(item_ns: float) -> None:
    stride = stride_of(item_ns)
    assert 1 <= stride <= STRIDE_ITEMS_MAX
    assert stride == 1 or stride * item_ns <= STRIDE_NS


@pytest.mark.parametrize("between_ns", [500, 2_000, 5_000, 9_000])
def test_what_is_done_between_two_items_does_not_keep_short_ones_single(between_ns: int) -> None:
    item_ns, stride = 50, 1
    for _ in range(4):  # measured is what both take
        stride = stride_of(item_ns + between_ns / stride)
    assert stride == STRIDE_ITEMS_MAX


def test_an_endless_iterable_is_read_only_so_far_ahead(ex: Executor) -> None:
    items = itertools.count()
    results = ex.map(abs, items)
    assert list(itertools.islice(results, 100)) == list(range(100))
    assert next(items) < 1 << 18
    results.close()  # type: ignore[attr-defined]


def test_an_item_that_cannot_travel_fails_by_itself(ex: Executor) -> None:
    items: list[object] = list(range(3000))
    items[2000] = (item for item in items)
    results = ex.map(type, items)
    assert list(itertools.islice(results, 2000)) == [int] * 2000
    with pytest.raises(Exception, match="cannot be pickled"):
        next(results)


def test_a_value_that_was_yielded_is_not_kept(ex: Executor) -> None:
    results: Iterator[set[int]] = ex.map(set, [[number] for number in range(2000)])
    first = weakref.ref(next(results))
    next(results)
    assert first() is None


LARGE = 10_000_000


def large(_: int) -> bytes:
    return bytes(LARGE)


def test_results_that_prove_large_are_few_at_a_time() -> None:
    items = itertools.count()
    with Executor("local:2") as executor:
        list(executor.map(large, range(2)))
        results = executor.map(large, items)
        for _ in range(20):
            next(results)
        results.close()  # type: ignore[attr-defined]
    assert next(items) < 200


@pytest.mark.parametrize("address", ["local:1", "inline:"])
def test_to_resume_needs_a_run_folder(address: str) -> None:
    with Executor(address) as executor, pytest.raises(ValueError, match="run=PATH"):
        executor.map(abs, [1], resume=True)
