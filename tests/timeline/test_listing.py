from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from coeval.clocks import ClockId, Instant
from coeval.recording import Recording
from coeval.recording._rows import (
    ClockRow,
    EndRow,
    EventRow,
    ExecutorRow,
    FailureRow,
    FunctionRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.timeline import RunTimeline
from coeval.timeline._listing import Style, call_lines, digits_needed, event_lines, html_table, summary_text
from coeval.timeline._time_text import plain

NASTY = "three\nis \x1b[31mnot\u202e good <b>"


@pytest.fixture
def failing() -> RunTimeline:
    """One call that works and one that fails with a message that means harm to a terminal."""
    rows: list[Row] = [
        ProcessRow(0, "driver", "home", 1, "A", "3.11"),
        ClockRow(0, 90, 1_790_000_000_123_456_789, 0, 110),
        ProcessRow(1, "worker", "home", 77, "A", "3.11", 0),
        ExecutorRow(0, "local", 100),
        FunctionRow(0, 0, "shop:count_words", ""),
        SentRow(0, 0, 1, 0, [0], 1_000, ["january"]),
        OutcomeRow(0, 0, 0, 1, "ok", 1, 1_000, 2_000_000, 5_000_000, 5_100_000),
        SentRow(0, 1, 1, 0, [1], 5_200_000),
        OutcomeRow(0, 1, 0, 1, "raised", 1, 5_200_000, 6_000_000, 9_000_000, 9_100_000),
        FailureRow(0, 1, 0, "raised", "ValueError", NASTY, "(str)", True),
        EventRow(1, 0, 0, 0, "log", 3_000_000, None, "shop", {"message": NASTY, "level": 30}),
        EndRow(0, 10_000_000, 1, 1, 3),
    ]
    return RunTimeline.of(Recording(rows))


def test_the_summary_says_what_ran_how_it_went_where_and_what_the_times_are(failing: RunTimeline) -> None:
    text = failing.summary()
    assert "calls     2: 1 finished, 1 failed, 3 cancelled before they ran" in text
    assert "functions shop:count_words 2" in text
    assert "workers   1 on home 1; engine local" in text
    assert "reference time of host home, every time is exact on it" in text
    assert re.search(r"time +2026-09-21 14:13:20\.\d{3}Z to 2026-09-21 14:13:20\.\d{3}Z, 9\.10 ms", text)


def test_a_line_per_call_says_when_where_what_and_how_long(failing: RunTimeline) -> None:
    heading, first, second, failure = call_lines(failing)
    assert heading.split() == ["2026-09-21", "UTC", "home:", "took", "what"]
    assert first.split() == ["14:13:20.125", "77", "3.00", "ms", "count_words", "#0", "january"]
    assert second.split() == ["14:13:20.129", "77", "3.00", "ms", "count_words", "#1"]
    assert failure.split() == ["failed", "raised", "ValueError:", "three", "is", "?[31mnot?", "good", "<b>"]


def test_nothing_that_was_recorded_moves_the_cursor(failing: RunTimeline) -> None:
    lines = [*call_lines(failing), *event_lines(failing), failing.summary().replace("\n", "")]
    assert all(character.isprintable() for line in lines for character in line)
    assert plain("a\tb\x00c") == "a b?c"


def test_events_stand_between_the_stamps_of_their_call(failing: RunTimeline) -> None:
    kinds = [line.split()[2] for line in event_lines(failing) if "#0" in line]
    assert kinds == ["handed", "started", "log", "finished", "seen"]


def test_a_zone_changes_the_display_and_every_time_says_its_offset(failing: RunTimeline) -> None:
    _, first, *_ = call_lines(failing, Style(ZoneInfo("Asia/Kathmandu")))
    assert first.startswith("19:58:20.125+05:45 ")


def test_only_a_failure_is_coloured(failing: RunTimeline) -> None:
    lines = list(call_lines(failing, Style(failed=("<", ">"))))
    assert ["<" in line.replace("<b>", "") for line in lines] == [False, False, False, True]
    assert "<failed>" in lines[3]


def test_the_limit_is_kept(failing: RunTimeline) -> None:
    assert len(list(call_lines(failing, limit=1))) == 2
    assert list(call_lines(failing, limit=0)) == []


@pytest.mark.parametrize("columns", [60, 80, 132])
def test_no_line_is_longer_than_the_screen(
    simulated: Callable[..., Any], far_host: Callable[..., Any], columns: int
) -> None:
    run = simulated([far_host("a-host-with-quite-a-name.example.org"), far_host("b")], call_count=60)
    run.rows.append(FailureRow(0, 3, 0, "raised", "ValueError", "x" * 500, "", True))
    timeline = RunTimeline.of(run.recording)
    style = Style(columns=columns)
    lines = [*summary_text(timeline, style).split("\n"), *call_lines(timeline, style), *event_lines(timeline, style)]
    assert max(map(len, lines)) <= columns


def test_bounds_have_a_column_where_some_time_is_not_exact(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    timeline = RunTimeline.of(simulated([far_host("far", origin_ns=5)]).recording)
    heading, *lines = call_lines(timeline)
    assert "bound" in heading
    assert all("±" in line for line in lines)


def test_show_prints_the_summary_the_first_calls_and_how_many_more(
    simulated: Callable[..., Any], far_host: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    timeline = RunTimeline.of(simulated([far_host("far")]).recording)
    timeline.show(limit=3)
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(timeline.summary().splitlines())] == timeline.summary().splitlines()
    assert printed[-1] == "… and 37 more calls: show(limit=...)"


def test_the_notebooks_table_escapes_what_comes_from_outside(failing: RunTimeline) -> None:
    rows = [*failing.recording, FunctionRow(0, 9, "<script>:<script>", ""), SentRow(0, 2, 1, 9, [2], 9_200_000)]
    text = html_table(RunTimeline.of(Recording(rows)))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def instant(estimate_ns: int, half_ns: int = 0) -> Instant:
    return Instant(ClockId("A"), estimate_ns - half_ns, estimate_ns, estimate_ns + half_ns, "declared")


@pytest.mark.parametrize(
    ("instants", "digits"),
    [
        ([instant(0), instant(5_000_000)], 3),
        ([instant(0), instant(5_000)], 6),
        ([instant(0), instant(5)], 9),
        ([instant(0), instant(0)], 3),
        ([instant(0, 2_000_000), instant(5, 3_000_000)], 3),
        ([instant(0), None, instant(7_000)], 6),
        ([], 3),
    ],
)
def test_digits_tell_neighbours_apart_but_never_more_than_their_bounds_bear(
    instants: list[Instant | None], digits: int
) -> None:
    assert digits_needed(instants) == digits
