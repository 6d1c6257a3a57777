"""What `coeval map` tells people at its end: counts, the first failures, where the rest is."""

from __future__ import annotations

import json
from dataclasses import dataclass

from coeval.cli._input import JsonValue
from coeval.cli._progress import Counts, duration_text, rate_text
from coeval.cli._result import Problem

# Failures that are listed by name; all of them are in the output.
LISTED_MAX = 10

# A failure's line where no terminal says how wide it may be.
COLUMNS_MAX = 200

# An input takes no more of that line.
INPUT_COLUMNS_MAX = 40


@dataclass(frozen=True, slots=True)
class _Listed:
    index: int
    given: JsonValue
    problem: Problem


class MapReport:
    """
    Counts what became of the inputs, and remembers the first failures.

    Attributes:
        done, failed: inputs with a value, and with an error.
        stopped: inputs whose calls were ended while they ran.
        total: how many inputs there are; None where nobody knows.
    """

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self.stopped = 0
        self.total: int | None = None
        self._listed: list[_Listed] = []

    def counts(self) -> Counts:
        """For the progress line."""
        return Counts(self.done, self.failed, self.total)

    def add_problem(self, index: int, given: JsonValue, problem: Problem) -> None:
        """Count an input that failed."""
        self.failed += 1
        if len(self._listed) < LISTED_MAX:
            self._listed.append(_Listed(index, given, problem))

    def summary(self, elapsed_ns: int) -> str:
        """One line: how many inputs, what became of them, how long it took."""
        inputs = self.done + self.failed
        rate = f", {rate_text(inputs / elapsed_ns * 1e9)}" if inputs and elapsed_ns > 0 else ""
        return (
            f"{inputs:,} {'input' if inputs == 1 else 'inputs'}: {self.done:,} done, {self.failed:,} failed, "
            f"{duration_text(elapsed_ns / 1e9)}{rate}\n"
        )

    def failures(self, where: str, columns: int = 0) -> str:
        """
        The first failures, a line each, and where the others are.

        Args:
            where: what the output is called.
            columns: cut lines at the terminal's width; 0: there is none.
        """
        listed = sorted(self._listed, key=lambda each: each.index)
        width = max((len(f"{each.index:,}") for each in listed), default=0)
        texts = [f"  {each.index:>{width},}  {_one_line(each.given)}  {each.problem}" for each in listed]
        lines = [f"{_cut(text, columns or COLUMNS_MAX)}\n" for text in texts]
        if (more := self.failed - len(listed)) > 0:
            lines.append(f"  … and {more:,} more, all in {where}\n")
        return "".join(lines)

    def interrupted(self) -> str:
        """One line: what was finished when somebody ended it."""
        parts = [f"{self.done:,} done", f"{self.failed:,} failed", f"{self.stopped:,} were running"]
        if self.total is not None:
            parts.append(f"{self.total - self.done - self.failed - self.stopped:,} not started")
        else:
            parts.append("the input was not read to its end")
        return f"interrupted: {', '.join(parts)}\n"


def _one_line(given: JsonValue) -> str:
    if not isinstance(given, str):
        return _cut(json.dumps(given, ensure_ascii=False), INPUT_COLUMNS_MAX)
    # Whatever is in a file name must not move the terminal's cursor.
    text = "".join(part if part.isprintable() else "?" for part in given)
    # The end of a path says more than its beginning.
    return text if len(text) <= INPUT_COLUMNS_MAX else f"…{text[1 - INPUT_COLUMNS_MAX :]}"


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
