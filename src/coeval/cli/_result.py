"""
A line of `coeval map`'s output: what became of one input.

    {"index": 0, "input": "a.txt", "value": 12}
    {"index": 1, "input": "b.txt", "error": {"type": "ValueError", "message": "…", "attempts": 1, "traceback": "…"}}
"""

from __future__ import annotations

from typing import NamedTuple

from coeval.cli._input import JsonValue, SetAside
from coeval.cli._json_value import json_line, json_value
from coeval.errors import RemoteError, RemoteTraceback


class Problem(NamedTuple):
    """
    Why an input gave no value.

    Attributes:
        type: qualified name of the exception's class.
        message: its text.
        attempts: how often the function was tried on it.
        traceback: where the function raised, from its worker; "" if it did not.
    """

    type: str
    message: str
    attempts: int
    traceback: str = ""

    def __str__(self) -> str:
        """On one line."""
        message = " ".join(self.message.split())
        return f"{self.type}: {message}" if message else self.type


def value_line(index: int, given: JsonValue, value: object) -> bytes:
    """
    The line of an input that gave a value.

    Raises:
        ValueNotJson: JSON has no word for the value.
    """
    return json_line({"index": index, "input": given, "value": json_value(value)})


def problem_line(index: int, given: JsonValue, problem: Problem) -> bytes:
    """The line of an input that gave none."""
    error = {"type": problem.type, "message": problem.message, "attempts": problem.attempts}
    if problem.traceback:
        error["traceback"] = problem.traceback
    return json_line({"index": index, "input": given, "error": error})


def problem_of(error: BaseException, *, attempts: int) -> Problem:
    """Say why a call failed that was tried `attempts` times."""
    trace = str(error.__cause__).strip("\n") if isinstance(error.__cause__, RemoteTraceback) else ""
    if isinstance(error, RemoteError):
        return Problem(error.type_name, error.original_message, attempts, error.remote_traceback or trace)
    return Problem(_type_name(error), _message(error), attempts, trace)


def problem_of_line(line: SetAside) -> Problem:
    """Say why a line is no input; nothing was tried on it."""
    return Problem("InputNotJson", line.reason, 0)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    plain = kind.__module__ == "builtins" or kind.__module__.startswith("coeval.")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:
        return f"<str() of it failed with {type(broken).__name__}>"
