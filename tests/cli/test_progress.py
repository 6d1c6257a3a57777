"""How far a command is."""

from __future__ import annotations

import io
import logging
import os
import pty
import select
from collections.abc import Callable, Iterator
from typing import TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.cli._progress import (
    Counts,
    ProgressLine,
    duration_text,
    plain_line_is_due,
    progress_text,
    rate_text,
)
from coeval.clocks import Snapshot

SECOND_NS = 1_000_000_000


class HandClock:
    """A clock that goes only where it is told to."""

    name = "hand"

    def __init__(self) -> None:
        self.now_ns = 0
        self.raw_ns: Callable[[], int] = lambda: self.now_ns

    def snapshot(self) -> Snapshot:
        return Snapshot(self.now_ns, self.now_ns, self.now_ns, self.now_ns)


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    controller, terminal = pty.openpty()
    with open(terminal, "w", encoding="utf-8") as stream:
        yield stream, controller
    os.close(controller)


def shown(controller: int, last: str) -> str:
    """What the terminal got, up to `last`; the kernel may bring it in parts."""
    text = ""
    while not text.endswith(last):
        assert select.select([controller], [], [], 10)[0], text
        text += os.read(controller, 1 << 16).decode()
    return text


@pytest.mark.parametrize(
    ("counts", "elapsed_s", "text"),
    [
        (Counts(0, 0, 1802), 0, "0/1,802  0 %  0 failed"),
        (Counts(1231, 3, 1802), 1, "1,234/1,802  68 %  3 failed  1,234/s  0.5 s left"),
        (Counts(10, 0, 100), 20, "10/100  10 %  0 failed  30.0/min  3:00 min left"),
        (Counts(1, 0, 100), 3600, "1/100  1 %  0 failed  1.0/h  99:00:00 h left"),
        (Counts(100, 0, 100), 2, "100/100  100 %  0 failed  50.0/s"),
        (Counts(500, 2, None), 10, "502 finished  2 failed  50.2/s"),
        (Counts(0, 0, 0), 0, "0/0  0 failed"),
    ],
)
def test_the_line_says_how_far_it_is(counts: Counts, elapsed_s: int, text: str) -> None:
    assert progress_text(counts, elapsed_s * SECOND_NS) == text


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7) | st.none(), st.integers(10**3, 10**12))
def test_the_line_fits_80_columns(done: int, failed: int, left: int | None, each_ns: int) -> None:
    counts = Counts(done, failed, None if left is None else done + failed + left)
    assert len(progress_text(counts, counts.finished * each_ns)) < 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (7383, "2:03:03 h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(1234.4, "1,234/s"), (99.97, "100/s"), (1, "1.0/s"), (0.5, "30.0/min"), (0.001, "3.6/h")]
)
def test_rates_have_the_unit_that_makes_them_at_least_one(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("now", "said", "since_s", "due"),
    [
        (Counts(10, 0, 100), Counts(0, 0, None), 1.5, True),  # a tenth
        (Counts(10, 0, 100), Counts(0, 0, None), 0.5, False),  # a tenth, but a short run needs no ten lines
        (Counts(19, 0, 100), Counts(10, 0, 100), 9, False),
        (Counts(19, 0, 100), Counts(10, 0, 100), 10, True),
        (Counts(10, 0, 100), Counts(10, 0, 100), 99, False),  # nothing new
        (Counts(500, 0, None), Counts(0, 0, None), 9, False),
        (Counts(500, 0, None), Counts(0, 0, None), 10, True),
    ],
)
def test_plain_lines_come_at_each_tenth_and_after_ten_seconds(
    now: Counts, said: Counts, since_s: float, due: bool
) -> None:
    assert plain_line_is_due(now, said, round(since_s * SECOND_NS)) is due


def test_a_file_gets_plain_lines_only() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = ProgressLine(stream, clock)
    for done in range(101):
        clock.now_ns += SECOND_NS // 2
        progress.show(Counts(done, 0, 100))
    progress.clear()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("10/100  10 %") and lines[-1].startswith("100/100  100 %")
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_line_in_place_ten_times_a_second_at_most(terminal: tuple[TextIO, int]) -> None:
    stream, controller = terminal
    clock = HandClock()
    progress = ProgressLine(stream, clock)
    for done in range(101):
        clock.now_ns += SECOND_NS // 100
        progress.show(Counts(done, 0, 100))
    progress.clear()
    progress.write("end\n")
    text = shown(controller, "end\r\n").removesuffix("\r\x1b[Kend\r\n")
    assert "\n" not in text
    assert 9 <= text.count("\r\x1b[K") <= 11


def test_what_else_is_said_does_not_mix_with_the_line(terminal: tuple[TextIO, int]) -> None:
    stream, controller = terminal
    clock = HandClock()
    clock.now_ns = SECOND_NS
    progress = ProgressLine(stream, clock)
    clock.now_ns = 2 * SECOND_NS
    progress.show(Counts(1, 0, None))
    shown(controller, "1.0/s")
    logger = logging.Logger("mine")
    logger.addHandler(logging.StreamHandler(progress))
    logger.warning("careful")
    assert shown(controller, "1.0/s") == "\r\x1b[Kcareful\r\n1 finished  0 failed  1.0/s"
    progress.clear()
    progress.write("end\n")
    assert shown(controller, "end\r\n") == "\r\x1b[Kend\r\n"


def test_quiet_draws_nothing_and_says_the_rest() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = ProgressLine(stream, clock, quiet=True)
    clock.now_ns = 60 * SECOND_NS
    progress.show(Counts(50, 0, 100))
    progress.write("summary\n")
    assert stream.getvalue() == "summary\n"


def test_a_closed_stream_stops_nothing() -> None:
    stream = io.StringIO()
    progress = ProgressLine(stream, HandClock())
    stream.close()
    progress.write("lost\n")
    progress.clear()
