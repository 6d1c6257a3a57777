"""Lines of `coeval map`'s output."""

from __future__ import annotations

import json

import pytest

from coeval.cli._input import SetAside
from coeval.cli._json_value import ValueNotJson
from coeval.cli._result import Problem, problem_line, problem_of, problem_of_line, value_line
from coeval.errors import RemoteError, RemoteTraceback, WorkerDied


def test_a_value_stands_beside_its_input_and_its_index() -> None:
    assert json.loads(value_line(3, {"a": 1}, (1, 2))) == {"index": 3, "input": {"a": 1}, "value": [1, 2]}


def test_a_value_without_a_word_in_json_is_an_error() -> None:
    with pytest.raises(ValueNotJson, match="bytes"):
        value_line(0, "a", b"x")


def test_an_error_of_the_function_keeps_its_remote_traceback() -> None:
    error = KeyError("x")
    error.__cause__ = RemoteTraceback("Traceback …\nKeyError: 'x'\n")
    problem = problem_of(error, attempts=2)
    assert problem == Problem("KeyError", "'x'", 2, "Traceback …\nKeyError: 'x'")
    assert json.loads(problem_line(1, "in", problem)) == {
        "index": 1,
        "input": "in",
        "error": {"type": "KeyError", "message": "'x'", "attempts": 2, "traceback": "Traceback …\nKeyError: 'x'"},
    }


def test_an_error_that_could_not_travel_is_told_as_what_it_was() -> None:
    error = RemoteError("long sentence about it")
    error.type_name, error.original_message, error.remote_traceback = "their.Error", "no luck", "Traceback …"
    assert problem_of(error, attempts=1) == Problem("their.Error", "no luck", 1, "Traceback …")


def test_errors_of_coeval_go_by_their_short_names_and_others_by_their_modules() -> None:
    assert problem_of(WorkerDied("it died"), attempts=1).type == "WorkerDied"
    assert problem_of(json.JSONDecodeError("m", "d", 0), attempts=1).type == "json.decoder.JSONDecodeError"


def test_an_error_whose_text_fails_is_still_told() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert problem_of(Mute(), attempts=1).message == "<str() of it failed with ValueError>"


def test_a_line_that_is_no_input_was_never_tried() -> None:
    assert problem_of_line(SetAside(4, "{", "line 5 of standard input is no JSON: …")) == Problem(
        "InputNotJson", "line 5 of standard input is no JSON: …", 0
    )


def test_a_problem_fits_on_one_line() -> None:
    assert str(Problem("ValueError", "first\n  second", 1)) == "ValueError: first second"
    assert str(Problem("ValueError", "", 1)) == "ValueError"
