"""What `coeval map` tells people at its end."""

from __future__ import annotations

from coeval.cli._map_report import MapReport
from coeval.cli._result import Problem


def test_the_summary_counts_and_times() -> None:
    report = MapReport()
    report.done = 1799
    for index in range(3):
        report.add_problem(index, "x", Problem("ValueError", "no", 1))
    assert report.summary(2_100_000_000) == "1,802 inputs: 1,799 done, 3 failed, 2.1 s, 858/s\n"


def test_one_input_is_one_input() -> None:
    report = MapReport()
    report.done = 1
    assert report.summary(500_000_000) == "1 input: 1 done, 0 failed, 0.5 s, 2.0/s\n"


def test_nothing_read_has_no_rate() -> None:
    assert MapReport().summary(1_000_000) == "0 inputs: 0 done, 0 failed, 0.0 s\n"


def test_the_first_ten_failures_are_listed_by_index_and_the_others_counted() -> None:
    report = MapReport()
    for index in reversed(range(8, 22)):
        report.add_problem(index, f"f{index}", Problem("ValueError", "no\nreally", 1))
    lines = report.failures("out.jsonl").splitlines()
    assert lines[0] == "  12  f12  ValueError: no really"
    assert lines[9] == "  21  f21  ValueError: no really"
    assert lines[10:] == ["  … and 4 more, all in out.jsonl"]


def test_a_failure_has_one_line_however_long_or_odd_its_input_is() -> None:
    report = MapReport()
    report.add_problem(0, "c" * 100 + "a\x1b[2Jb\n", Problem("ValueError", "m" * 100, 1))
    (line,) = report.failures("out", columns=80).splitlines()
    assert len(line) == 80 and line.endswith("…") and line.isprintable()
    assert "cca?[2Jb?  ValueError: mmm" in line


def test_an_input_that_is_no_text_is_shown_as_json() -> None:
    report = MapReport()
    report.add_problem(0, {"a": None}, Problem("E", "m", 1))
    assert report.failures("out") == '  0  {"a": null}  E: m\n'


def test_an_interruption_is_told_in_one_line() -> None:
    report = MapReport()
    report.total, report.done, report.failed, report.stopped = 1802, 412, 3, 2
    assert report.interrupted() == "interrupted: 412 done, 3 failed, 2 were running, 1,385 not started\n"


def test_an_interruption_does_not_guess_how_many_inputs_there_would_have_been() -> None:
    report = MapReport()
    report.done = 5
    assert report.interrupted() == "interrupted: 5 done, 0 failed, 0 were running, the input was not read to its end\n"
