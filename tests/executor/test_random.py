from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy
import pytest

import coeval
from coeval import Executor
from coeval.executor._random import Seed
from coeval.testing._calls import count_try

PATIENCE_S = 60


def draw(_: object = None) -> tuple[float, int]:
    return coeval.call_random().random(), int(coeval.call_generator().integers(1 << 62))


def draw_until(good: int, folder: Path) -> tuple[float, int]:
    drawn = draw()
    if count_try(folder) < good:
        raise ConnectionError
    return drawn


def draw_twice(_: object = None) -> tuple[list[float], bool]:
    first, second = coeval.call_random(), coeval.call_random()
    return [first.random(), second.random()], coeval.call_generator() is coeval.call_generator()


def draw_in_thread(_: object = None) -> tuple[float, float]:
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(coeval.call_random().random()))
    thread.start()
    thread.join()
    return found[0], coeval.call_random().random()


def expected_integers(seed: int, count: int) -> list[int]:
    spawned = numpy.random.SeedSequence(seed).spawn(count)
    return [int(numpy.random.default_rng(one).integers(1 << 62)) for one in spawned]


@pytest.mark.parametrize("engine", ["inline:", "local:2"])
def test_streams_follow_from_seed_and_order_alone(engine: str, tmp_path: Path) -> None:
    with Executor(engine, seed=7) as ex:
        one_by_one = [ex.submit(draw).result(PATIENCE_S) for _ in range(6)]
        in_chunks = list(ex.options(seed=7).map(draw, range(6), chunksize=3))
        list(ex.map(draw, range(3)))
        again = list(ex.options(seed=7, name="again").map(draw, range(6)))
        tried = ex.options(seed=7, retries=2).submit(draw_until, 3, tmp_path).result(PATIENCE_S)
        other = list(ex.options(seed=8).map(draw, range(6)))
    assert one_by_one == in_chunks == again
    assert tried == one_by_one[0]
    assert [integer for _, integer in one_by_one] == expected_integers(7, 6), "as numpy spawns them"
    assert len({*one_by_one, *other}) == 12, "each call has its own"


def test_calls_without_a_seed_do_not_move_the_streams_of_others() -> None:
    with Executor("local:2") as ex:
        seeded = ex.options(seed=3)
        mixed: list[Any] = []
        for _ in range(4):
            ex.submit(draw)
            mixed.append(seeded.submit(draw))
        plain = list(ex.options(seed=3).map(draw, range(4)))
        assert [future.result(PATIENCE_S) for future in mixed] == plain


@pytest.mark.parametrize("engine", ["inline:", "local:1"])
def test_a_call_without_a_seed_draws_what_nobody_can_foretell(engine: str) -> None:
    with Executor(engine) as ex:
        seeded = ex.options(seed=3).submit(draw).result(PATIENCE_S)
        drawn = [seeded, *(ex.submit(draw).result(PATIENCE_S) for _ in range(3)), *ex.map(draw, range(3)), draw()]
    assert len(set(drawn)) == 8


def test_a_call_goes_on_with_its_stream() -> None:
    with Executor("local:1", seed=5) as ex:
        (first, second), is_same = ex.submit(draw_twice).result(PATIENCE_S)
    assert first != second
    assert is_same


def test_a_thread_of_a_call_draws_from_the_calls_stream() -> None:
    with Executor("local:1", seed=5) as ex:
        assert (
            list(ex.submit(draw_in_thread).result(PATIENCE_S))
            == ex.options(seed=5).submit(draw_twice).result(PATIENCE_S)[0]
        )


def test_a_resumed_map_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    with Executor("local:2") as ex:
        whole = list(ex.options(seed=9).map(draw, range(6)))
        begun = ex.options(seed=9).map(draw, range(3), run=tmp_path / "run")
        assert list(begun) == whole[:3]
        resumed = ex.options(seed=9).map(draw, range(6), run=tmp_path / "run", resume=True)
        assert list(resumed) == whole


def test_an_argument_that_is_large_arrives_with_its_stream() -> None:
    large = numpy.arange(1 << 17)
    with Executor("local:1", seed=2) as ex:
        assert ex.submit(add_drawn, large).result(PATIENCE_S) == (int(large.sum()), expected_integers(2, 1)[0])


def add_drawn(values: numpy.ndarray[Any, Any]) -> tuple[int, int]:
    return int(values.sum()), int(coeval.call_generator().integers(1 << 62))


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError), ("7", TypeError)])
def test_what_is_no_seed_is_refused(seed: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed is"):
        Seed(seed)  # type: ignore[arg-type]
