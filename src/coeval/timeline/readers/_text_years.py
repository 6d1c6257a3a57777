"""
In which year each part of a log without years begins.

The parts are read alone, so that must be known before. It is found from samples: a line here and there through the
file, denser where two of them are so far apart that a New Year could hide between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import IO, NamedTuple

import numpy as np

from coeval.errors import WrongTable
from coeval.timeline.readers._input import DAMAGED, is_plain, modified_s, open_input, size_of
from coeval.timeline.readers._reader import Part
from coeval.timeline.stamps._forms import read_stamp
from coeval.timeline.stamps._written import GOOD
from coeval.timeline.stamps._years import LATE_DAYS_MAX, first_year, year_steps

_STRIDE_BYTES = 1 << 18
_WINDOW_BYTES = 1 << 13
_HEAD_LINES = 200
_APART_S = 60 * 86_400
_YEAR_S = 366 * 86_400
# A smaller file is looked at whole: it may have few lines a year.
_SAMPLED_BYTES = 1 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PartYears(NamedTuple):
    """The year of each part's first stamp, and what was taken for granted."""

    years: list[int]
    notes: tuple[str, ...]


class _Sample(NamedTuple):
    at: int
    """Of the line's first byte."""
    seconds: int
    text: str


def years_of_parts(search: re.Pattern[bytes], forms: tuple[str, ...], parts: Sequence[Part]) -> PartYears | None:
    """
    Tell the years.

    Args:
        search: finds a line's stamp, in its group `time`.

    Returns:
        None: the stamps have their years.

    Raises:
        WrongTable: nobody said the year, and when the file was written is not known.
        OSError: it cannot be read.
    """
    if "syslog" not in forms:
        return None
    path, settings = parts[0].path, parts[0].settings
    finder = _Finder(search, forms)
    with closing(open_input(path)) as file:
        if next(finder.in_lines(file, 0, _HEAD_LINES), None) is None:
            return None
        samples = []
        if is_plain(path) and size_of(path) > _SAMPLED_BYTES:
            samples = list(_of_plain(finder, file, [part.start for part in parts], size_of(path)))
    if not samples:
        with closing(open_input(path)) as file:
            samples = list(finder.in_lines(file, 0, None))
    seconds = np.array([sample.seconds for sample in samples], np.int64)
    steps = year_steps(seconds)
    notes: tuple[str, ...] = ()
    year = settings.year
    if year is None:
        written_s = modified_s(path)
        if written_s is None:
            raise WrongTable(
                f"{parts[0].source} has stamps without a year, such as {samples[0].text!r}, and when it was written is "
                "not known; say the year of the first one, with `year =` in coeval.toml."
            )
        year = first_year(int(seconds[-1]), int(steps[-1]), written_s)
        day = f"{_EPOCH + timedelta(seconds=written_s):%Y-%m-%d}"
        note = (
            f"{parts[0].source} has stamps without a year: they are counted back from the day it was last written, "
            f"{day}, so its first one, {samples[0].text!r}, is of {year}. Say `year =` where that is wrong."
        )
        notes = (note,)
    places = np.array([sample.at for sample in samples], np.int64)
    after = np.minimum(np.searchsorted(places, [part.start for part in parts], "left"), len(places) - 1)
    return PartYears([year + int(steps[index]) for index in after], notes)


def line_of(file: IO[bytes]) -> tuple[bytes, int]:
    """As much of the next line as counts, and how long it is; 0 at the end, and where a file is damaged."""
    try:
        line = piece = file.readline(_WINDOW_BYTES)
        length = len(line)
        while len(piece) == _WINDOW_BYTES and not piece.endswith(b"\n"):
            piece = file.readline(_WINDOW_BYTES)
            length += len(piece)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return b"", 0
    return line, length


class _Finder:
    """Finds stamps without years in lines."""

    def __init__(self, search: re.Pattern[bytes], forms: tuple[str, ...]) -> None:
        self._search = search
        self._forms = forms

    def in_lines(self, file: IO[bytes], at: int, count: int | None, stop: int | None = None) -> Iterator[_Sample]:
        """Of the lines from where the file stands, which is `at`: so many, and none that begins at `stop` or later."""
        number = 0
        while (count is None or number < count) and (stop is None or at < stop):
            line, length = line_of(file)
            if not length:
                return
            sample = self.in_line(line, at)
            if sample is not None:
                yield sample
            at += length
            number += 1

    def in_line(self, line: bytes, at: int) -> _Sample | None:
        found = self._search.search(line)
        if found is None:
            return None
        text = found["time"].decode("latin-1")
        reading = read_stamp(text, self._forms)
        return _Sample(at, reading.seconds, text) if reading.state == GOOD and reading.is_yearless else None


def _of_plain(finder: _Finder, file: IO[bytes], starts: Sequence[int], size: int) -> Iterator[_Sample]:
    """Samples in order: the first of all, of each part, of each stride, and the last of all."""
    places = sorted({*starts, *range(0, size, _STRIDE_BYTES)})
    before: _Sample | None = None
    tail = _last(finder, file, size)
    for place in places:
        sample = _first_from(finder, file, place)
        if sample is not None and (before is None or sample.at > before.at):
            yield from _between(finder, file, before, sample)
            yield sample
            before = sample
    if tail is not None and (before is None or tail.at > before.at):
        yield from _between(finder, file, before, tail)
        yield tail


def _between(finder: _Finder, file: IO[bytes], before: _Sample | None, after: _Sample) -> Iterator[_Sample]:
    """Every stamp between two that are far apart, in whichever year the second is."""
    if before is None:
        return
    # A late one, up to a month, is not far.
    if _APART_S < (after.seconds - before.seconds) % _YEAR_S < _YEAR_S - LATE_DAYS_MAX * 86_400:
        file.seek(before.at)
        for sample in finder.in_lines(file, before.at, None, after.at):
            if sample.at > before.at:
                yield sample


def _first_from(finder: _Finder, file: IO[bytes], place: int) -> _Sample | None:
    """The first one in a line that begins at a place or after it."""
    if place:
        file.seek(place - 1)
        place += len(file.readline()) - 1
    else:
        file.seek(0)
    return next(finder.in_lines(file, place, _HEAD_LINES), None)


def _last(finder: _Finder, file: IO[bytes], size: int) -> _Sample | None:
    place = max(0, size - (_WINDOW_BYTES << 3))
    first = _first_from(finder, file, place)
    if first is None:
        return None
    file.seek(first.at)
    return max(finder.in_lines(file, first.at, None), key=lambda sample: sample.at)
