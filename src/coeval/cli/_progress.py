"""
How far a command is, for people: on a terminal one line that changes in place, elsewhere a plain line now and then.

What to say and when is decided in pure functions; `ProgressLine` draws it and keeps it out of the way of everything
else that is said on the same stream.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import NamedTuple, TextIO

from coeval.clocks import Clock

# A line that changes faster than this cannot be read, and drawing it costs.
DRAW_EVERY_NS = 100_000_000

# Plain lines end up in log files: one for each tenth of the work, or after a while without one.
PLAIN_EVERY_NS = 10_000_000_000
PLAIN_TENTH_EVERY_NS = 1_000_000_000


class Counts(NamedTuple):
    """What became of the inputs so far; `total` is None where nobody knows how many there are."""

    done: int
    failed: int
    total: int | None

    @property
    def finished(self) -> int:
        """Done or failed."""
        return self.done + self.failed

    def tenths(self) -> int:
        """How many tenths of all inputs are finished; 0 where nobody knows."""
        return self.finished * 10 // self.total if self.total else 0


def progress_text(counts: Counts, elapsed_ns: int) -> str:
    """How far it is, in less than 80 columns."""
    parts = [f"{counts.finished:,} finished" if counts.total is None else f"{counts.finished:,}/{counts.total:,}"]
    if counts.total:
        parts.append(f"{counts.finished * 100 // counts.total} %")
    parts.append(f"{counts.failed:,} failed")
    rate = counts.finished / elapsed_ns * 1e9 if elapsed_ns > 0 else 0.0
    if rate:
        parts.append(rate_text(rate))
        if counts.total is not None and counts.total > counts.finished:
            parts.append(f"{duration_text((counts.total - counts.finished) / rate)} left")
    return "  ".join(parts)


def rate_text(per_second: float) -> str:
    """A rate as people say it: per second, minute or hour, whichever gives a number of at least one."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_second * seconds >= 1:
            return f"{_three_digits(per_second * seconds)}/{unit}"
    return f"{_three_digits(per_second * 3600)}/h"


def duration_text(seconds: float) -> str:
    """A duration as people say it: `0.4 s`, `12 s`, `3:07 min`, `2:03:07 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600:,}:{whole // 60 % 60:02}:{whole % 60:02} h"


def plain_line_is_due(counts: Counts, said: Counts, since_ns: int) -> bool:
    """
    Is it time for another plain line?

    Args:
        said: the counts of the last one.
        since_ns: how long ago that was.
    """
    tenth = counts.tenths() > said.tenths() and since_ns >= PLAIN_TENTH_EVERY_NS
    return counts.finished > said.finished and (tenth or since_ns >= PLAIN_EVERY_NS)


class ProgressLine:
    """
    Draws how far it is.

    Everything else that goes to the same stream while it is there goes through `write`, which makes it a stream for
    `logging.StreamHandler`. Threads may share it. A stream that cannot be written is left alone: the work goes on.

    Args:
        stream: standard error.
        quiet: draw nothing; what is said is said all the same.
        text_of: what is drawn, in less than 80 columns, by counts and ns since the start.
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Clock,
        *,
        quiet: bool = False,
        text_of: Callable[[Counts, int], str] = progress_text,
    ) -> None:
        self.on_terminal = _is_terminal(stream)
        self._stream = stream
        self._clock = clock
        self._quiet = quiet
        self._text_of = text_of
        self._lock = threading.RLock()
        self._began_ns = self._last_ns = clock.raw_ns()
        self._said = Counts(0, 0, None)
        self._drawn = ""

    def elapsed_ns(self) -> int:
        """Since it was made."""
        return self._clock.raw_ns() - self._began_ns

    def show(self, counts: Counts) -> None:
        """Draw, if it is time to."""
        if self._quiet:
            return
        now_ns = self._clock.raw_ns()
        since_ns = now_ns - self._last_ns
        if self.on_terminal:
            if self._drawn and since_ns < DRAW_EVERY_NS:
                return
            with self._lock:
                self._drawn = self._text_of(counts, now_ns - self._began_ns)[: (columns_of(self._stream) or 80) - 1]
                self._put(f"\r\x1b[K{self._drawn}")
        else:
            if not plain_line_is_due(counts, self._said, since_ns):
                return
            self.write(f"{self._text_of(counts, now_ns - self._began_ns)}\n")
        self._last_ns, self._said = now_ns, counts

    def write(self, text: str) -> None:
        """Say something else, in whole lines."""
        with self._lock:
            self._put(f"\r\x1b[K{text}{self._drawn}" if self._drawn else text)

    def flush(self) -> None:
        """What is written is written."""

    def clear(self) -> None:
        """Take the line away; what is said next stands alone."""
        with self._lock:
            if self._drawn:
                self._put("\r\x1b[K")
                self._drawn = ""

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(_with_signs_of(self._stream, text))
            self._stream.flush()


def _with_signs_of(stream: TextIO, text: str) -> str:
    """`±` as `+-` where the stream has no such sign; options take either."""
    try:
        "±".encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return text.replace("±", "+-")
    return text


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM", "") != "dumb"
    except ValueError:
        return False


def columns_of(stream: TextIO) -> int:
    """How wide the terminal is; 0 where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def _three_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 99.95 else f"{number:.1f}"
