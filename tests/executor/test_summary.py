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


def test_a_value_too_long_to_show_is_not_even_made_a_text() -> None:
    """An int of many digits refuses, and a text of a gigabyte takes three more."""
    assert summarize((10**5000, "x" * 1000, b"y" * 1000), {}, values=True) == "(int, str[1000], bytes[1000])"
    assert summarize((10**30, True, 2.5, None), {}, values=True) == f"({10**30}, True, 2.5, None)"
