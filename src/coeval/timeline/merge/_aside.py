"""Rows that are set aside, as lines of JSON: {source, line, reason, text}."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from coeval.timeline.readers._set_aside import SetAsideRow


class AsideFile:
    """
    Takes the rows of one part that are set aside; no file where there are none.

    Args:
        path: its name once it is whole.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> AsideFile:
        return self

    def add(self, row: SetAsideRow) -> None:
        """One more; its line is counted from the part's start."""
        if self._file is None:
            self._file = open(f"{self.path}.partial", "w", encoding="utf-8")  # noqa: SIM115  # closed on exit
        self._file.write(aside_line(row.source, row.number, row.reason, row.values))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            if kind is None:
                Path(f"{self.path}.partial").replace(self.path)


def aside_line(source: str, line: int, reason: str, values: Mapping[str, Any]) -> str:
    """
    One row, as a line of JSON in ASCII.

    Args:
        values: by column; {"text": …} alone is the line itself.
    """
    text = values["text"] if set(values) == {"text"} else json.dumps(values, default=str)
    return json.dumps({"source": source, "line": line, "reason": reason, "text": text}) + "\n"


def aside_lines(path: str, lines_before: int) -> Iterable[str]:
    """
    What a part set aside, its lines counted from the source's start.

    Args:
        lines_before: of the source, before this part.
    """
    with open(path, encoding="utf-8") as file:
        for text in file:
            if lines_before:
                told = json.loads(text)
                told["line"] += lines_before
                text = json.dumps(told) + "\n"
            yield text
