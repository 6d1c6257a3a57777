"""Rows that are set aside, as lines of JSON: {source, line, reason, text}."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from types import TracebackType
from typing import IO, Any

from coeval.timeline._shared_files import begin_file, file_to_read
from coeval.timeline.readers._set_aside import SetAsideRow


class AsideFile:
    """
    Takes the rows of one part that are set aside, in any order; they are by line in the file, and there is none where
    there are none. Readers find odd rows of a block by their reasons, one reason after the other.

    Args:
        path: where it is to be, a path or a URL.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._numbers: list[int] = []

    def __enter__(self) -> AsideFile:
        return self

    def add(self, row: SetAsideRow) -> None:
        """One more; its line is counted from the part's start."""
        if self._file is None:
            self._file = begin_file(self.path)
        self._numbers.append(row.number)
        self._file.write(aside_line(row.source, row.number, row.reason, row.values).encode())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            if kind is None and any(one > next_one for one, next_one in pairwise(self._numbers)):
                self._put_in_order()

    def _put_in_order(self) -> None:
        """Where it is not so already, and that is seldom: all of it is in memory for this."""
        with file_to_read(self.path) as file:
            lines = file.read().splitlines(keepends=True)
        with begin_file(self.path) as file:
            file.writelines(lines[place] for place in sorted(range(len(lines)), key=self._numbers.__getitem__))


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
    with file_to_read(path) as file, io.TextIOWrapper(file, encoding="utf-8") as texts:
        for text in texts:
            if lines_before:
                told = json.loads(text)
                told["line"] += lines_before
                text = json.dumps(told) + "\n"
            yield text
