from __future__ import annotations

import numpy as np

from coeval.executor._summary import summarize


def test_types_and_shapes_for_the_recording_values_for_the_caller() -> None:
    args = ("a.txt", 7, np.zeros((100, 3)), [1, 2], {"a": 1})
    assert summarize(args, {"seed": 1}, values=False) == (
        "(str[5], int, ndarray[float64, 100x3], list[2], dict[1], seed=int)"
    )
    assert summarize(args, {"seed": 1}, values=True) == (
        "('a.txt', 7, ndarray[float64, 100x3], list[2], dict[1], seed=1)"
    )


def test_a_long_value_is_shown_as_its_type() -> None:
    assert summarize(("x" * 100,), {}, values=True) == "(str[100])"


def test_many_arguments_are_cut_and_counted() -> None:
    text = summarize(tuple(range(1000)), {}, values=True)
    assert len(text) < 250
    assert text.endswith("… 1000 arguments)")


def test_an_argument_that_lies_about_itself_costs_its_details_only() -> None:
    class Liar:
        @property
        def shape(self) -> tuple[int, ...]:
            raise RuntimeError("no")

    assert summarize((Liar(),), {}, values=True).endswith("Liar)")
