"""Chapter 3: what travels. Functions of every kind, arguments and results, and that nothing is shared."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coeval.errors import CallNotSendable, RemoteTraceback
from coeval.testing import _calls as calls
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor

MEBIBYTE = 1 << 20


def closure_over(factor: int) -> Callable[[int], int]:
    """A function that no name leads to."""

    def scaled(number: int) -> int:
        return factor * number

    return scaled


SIX_TIMES_SEVEN: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "lambda": (lambda number: 6 * number, (7,)),
    "closure": (closure_over(6), (7,)),
    "builtin": (operator.mul, (6, 7)),
    "bound method": (calls.Scale(6).apply, (7,)),
    "bound method of a builtin": ([42, 43].__getitem__, (0,)),
    "class method": (calls.Scale.double, (21,)),
    "static method": (calls.Scale.triple, (14,)),
    "callable instance": (calls.Scale(6), (7,)),
    "class": (int, ("42",)),
    "partial": (functools.partial(operator.mul, 6), (7,)),
    "partial of a lambda": (functools.partial(lambda by, number: by * number, 6), (7,)),
    "itemgetter": (operator.itemgetter(1), ((41, 42),)),
}


class Travel(Subject):
    """What travels."""

    @pytest.mark.parametrize("kind", SIX_TIMES_SEVEN)
    def test_function_of_every_kind_can_be_called(self, ex: Executor, kind: str) -> None:
        function, args = SIX_TIMES_SEVEN[kind]
        assert ex.submit(function, *args).result(self.patience_s) == 42
        assert list(ex.map(function, *([arg] for arg in args))) == [42]

    def test_many_different_lambdas_keep_their_own_values(self, ex: Executor) -> None:
        futures = [ex.submit(lambda number, by=by: by * number, 10) for by in range(300)]  # type: ignore[misc]
        assert [future.result(self.patience_s) for future in futures] == [10 * by for by in range(300)]

    def test_functions_and_classes_of_main_travel_and_come_home_as_themselves(self, tmp_path: Path) -> None:
        body = """
            import dataclasses

            @dataclasses.dataclass
            class Point:
                x: int
                def moved(self, by):
                    return Point(self.x + by)

            class Lost(Exception):
                pass

            FACTOR = 2

            def scale(point):
                return Point(FACTOR * point.x)

            def lose(point):
                raise Lost("at", point.x)

            with make_executor() as executor:
                scaled = executor.submit(scale, Point(3)).result()
                assert isinstance(scaled, Point) and scaled == Point(6), scaled
                moved = executor.submit(Point(3).moved, 4).result()
                assert type(moved) is Point and moved.x == 7, moved
                made = list(executor.map(Point, range(3), chunksize=2))
                assert made == [Point(0), Point(1), Point(2)], made
                try:
                    executor.submit(lose, Point(9)).result()
                except Lost as error:
                    assert error.args == ("at", 9), error.args
                else:
                    raise AssertionError("it did not raise")
            print("all well")
        """
        assert self.run_script(tmp_path, body) == "all well\n"

    def test_function_of_main_sees_the_globals_of_the_moment_it_was_submitted(self, tmp_path: Path) -> None:
        body = """
            factor = 1

            def scale(number):
                return factor * number

            with make_executor() as executor:
                futures = []
                for factor in range(1, 6):
                    futures.append(executor.submit(scale, 10))
                factor = 1000
                print(*(future.result() for future in futures))
        """
        assert self.run_script(tmp_path, body) == "10 20 30 40 50\n"

    def test_call_changes_only_its_own_copy_of_an_argument(self, ex: Executor) -> None:
        numbers = [1, 2]
        assert ex.submit(calls.append_and_sum, numbers).result(self.patience_s) == 1003
        assert numbers == [1, 2]

    def test_argument_is_copied_when_it_is_submitted(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        gate.open()
        numbers = [1, 2]
        # More calls than workers: most of them have not begun when the list changes.
        futures = [ex.submit(calls.pass_gate, gate, numbers) for _ in range(8 * self.workers)]
        numbers.append(3)
        assert all(future.result(self.patience_s) == [1, 2] for future in futures)

    def test_result_is_not_the_argument_itself(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        gate.open()
        numbers = [1, 2]
        result = ex.submit(calls.pass_gate, gate, numbers).result(self.patience_s)
        assert result == numbers
        assert result is not numbers

    def test_large_arguments_and_results_pass_each_other(self, ex: Executor) -> None:
        """All workers send 10 MiB home while 10 MiB are on their way to each: nobody waits for the other."""
        data = [bytes([number]) + bytes(10 * MEBIBYTE) for number in range(2 * self.workers)]
        futures = [ex.submit(calls.reverse, sent) for sent in data]
        for sent, future in zip(data, futures, strict=True):
            assert future.result(self.patience_s) == sent[::-1]

    def test_large_arguments_travel_in_chunks(self, ex: Executor) -> None:
        data = [bytes([number]) + bytes(MEBIBYTE) for number in range(6 * self.workers)]
        assert list(ex.map(calls.reverse, data, chunksize=3)) == [sent[::-1] for sent in data]

    def test_generator_as_an_argument_is_refused_by_its_future(self, ex: Executor) -> None:
        error = ex.submit(calls.echo, 1, (number for number in range(3))).exception(self.patience_s)
        assert isinstance(error, CallNotSendable)
        assert "args[1]" in str(error)
        assert "generator" in str(error)

    # Exceptions ---------------------------------------------------------------------------------------------------

    def test_notes_of_an_exception_survive(self, ex: Executor) -> None:
        error = ex.submit(calls.raise_noted).exception(self.patience_s)
        assert error is not None
        assert error.__notes__ == ["look at the third shelf"]
        assert "look at the third shelf" in str(error.__cause__)

    def test_exception_group_survives_with_all_that_is_in_it(self, ex: Executor) -> None:
        group = ex.submit(calls.raise_group).exception(self.patience_s)
        assert isinstance(group, ExceptionGroup)
        first, second = group.exceptions
        assert (type(first), first.args) == (KeyError, ("inner",))
        assert first.__notes__ == ["note of the inner one"]
        assert isinstance(second, ExceptionGroup)
        assert isinstance(second.exceptions[0], OSError)
        assert second.exceptions[0].errno == 5

    def test_cause_of_an_exception_shows_in_the_remote_traceback(self, ex: Executor) -> None:
        error = ex.submit(calls.raise_with_cause).exception(self.patience_s)
        assert type(error) is ValueError
        assert isinstance(error.__cause__, RemoteTraceback)
        shown = str(error.__cause__)
        assert shown.index("LookupError: the first trouble") < shown.index("ValueError: the second trouble")

    def test_call_can_return_an_exception(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        gate.open()
        returned = ex.submit(calls.pass_gate, gate, KeyError("not raised")).result(self.patience_s)
        assert (type(returned), returned.args) == (KeyError, ("not raised",))
