from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval import Executor, mark, open_run, span
from coeval.recording import Recording
from coeval.recording._rows import KIND_NAMES

Coeval = Callable[..., "subprocess.CompletedProcess[str]"]

CALL_KEYS = {
    *("call", "executor", "function", "label", "status", "tries", "attempt", "batch", "item", "outcome"),
    *("process", "worker", "host", "pid", "shared_by", "handed_over", "started", "finished", "seen"),
    *("queued_ns", "running_ns", "failure", "reference", "grade"),
}
EVENT_KEYS = {
    *("kind", "name", "label", "earliest_ns", "estimate_ns", "latest_ns", "raw_ns", "clock", "end", "executor"),
    *("call", "attempt", "batch", "item", "process", "worker", "host", "pid", "fields", "shared_by", "reference"),
    "grade",
}


def work(number: int) -> int:
    mark("here", number=number)
    with span("part"):
        pass
    if number == 13:
        raise ValueError("thirteen is\nnot good")
    return number


@pytest.fixture
def run(folder: Path) -> Path:
    """A real recorded run of 50 calls, one of which failed."""
    with Executor("local:2", run=folder / "run") as executor:
        for future in [executor.submit(work, number) for number in range(50)]:
            future.exception()
    return folder / "run"


def test_it_shows_a_summary_then_forty_calls_and_how_many_more(coeval: Coeval, run: Path) -> None:
    done = coeval("timeline", run)
    assert (done.returncode, done.stderr) == (0, "")
    summary, _, listing = done.stdout.partition("\n\n")
    assert "calls     50: 49 finished, 1 failed" in summary
    assert "time of host" in summary
    lines = listing.splitlines()
    assert sum("work #" in line for line in lines) == 40
    assert lines[-1] == "… and 10 more calls: --limit N or --all shows them"
    assert "\x1b" not in done.stdout
    # Which forty come first is up to the workers.
    lines = coeval("timeline", run, "--all").stdout.splitlines()
    failure = next(number for number, line in enumerate(lines) if "failed raised" in line)
    assert lines[failure].endswith("ValueError: thirteen is not good")
    assert "#13" in lines[failure - 1]


def test_all_shows_every_call_and_a_limit_so_many(coeval: Coeval, run: Path) -> None:
    everything = coeval("timeline", run, "--all").stdout
    assert len(re.findall(r"work #\d", everything)) == 50
    assert "more calls" not in everything
    assert len(re.findall(r"work #\d", coeval("timeline", run, "--limit", 3).stdout)) == 3


def test_events_stand_in_order_with_marks_and_spans(coeval: Coeval, run: Path) -> None:
    listing = coeval("timeline", run, "--events", "--all").stdout.partition("\n\n")[2]
    of_one = [line for line in listing.splitlines() if re.search(r"#7\b", line)]
    assert [re.search(r"(handed over|started|mark|span|finished|seen) #7", line)[1] for line in of_one] == [  # type: ignore[index]
        *("handed over", "started", "mark", "span", "finished", "seen"),
    ]


def test_json_has_a_line_per_call_with_the_keys_that_the_help_names(coeval: Coeval, run: Path) -> None:
    calls = [json.loads(line) for line in coeval("timeline", run, "--json").stdout.splitlines()]
    assert len(calls) == 50
    assert all(set(call) == CALL_KEYS for call in calls)
    shown = coeval("timeline", "--help").stdout
    assert all(key in shown for key in CALL_KEYS | EVENT_KEYS)
    known = {call.number: call for call in open_run(run).calls}
    for call in calls:
        stamps = known[call["call"]].last.stamps
        for name, stamp in zip(stamps._fields, stamps, strict=True):
            assert stamp is not None
            assert call[name]["raw_ns"] == stamp.reading_ns
            bounds = [call[name][bound] for bound in ("earliest_ns", "estimate_ns", "latest_ns")]
            assert bounds == sorted(bounds)
            if call["shared_by"] == 1:  # else a short call is known to have been somewhere in its batch
                assert bounds[0] == bounds[2]
    (failed,) = (call for call in calls if call["status"] == "failed")
    assert failed["failure"]["message"] == "thirteen is\nnot good"


def test_json_events_have_the_keys_that_the_help_names_in_timeline_order(coeval: Coeval, run: Path) -> None:
    events = [json.loads(line) for line in coeval("timeline", run, "--json", "--events").stdout.splitlines()]
    assert all(set(event) == EVENT_KEYS for event in events)
    assert [event["estimate_ns"] for event in events] == sorted(event["estimate_ns"] for event in events)
    assert all((event["end"] is not None) == (event["kind"] == "span") for event in events)


def test_raw_gives_the_recording_back_bit_for_bit_in_its_order(coeval: Coeval, run: Path) -> None:
    lines = [json.loads(line) for line in coeval("timeline", run, "--raw", "--json").stdout.splitlines()]
    recorded = Recording.open(run)
    assert lines == [json.loads(json.dumps([KIND_NAMES[type(row)], *row])) for row in recorded]
    text = coeval("timeline", run, "--raw", "--all").stdout.splitlines()
    assert len(text) == len(recorded)
    for line, row in zip(text, recorded, strict=True):
        assert line.startswith(KIND_NAMES[type(row)])
        for name, value in zip(row._fields, row, strict=True):
            if isinstance(value, int):
                assert f" {name}={value}" in line


def test_a_zone_changes_only_the_display_and_each_time_says_its_offset(coeval: Coeval, run: Path) -> None:
    utc = coeval("timeline", run, "--limit", 5).stdout.partition("\n\n")[2].splitlines()
    there = coeval("timeline", run, "--limit", 5, "--tz", "Asia/Kathmandu").stdout.partition("\n\n")[2].splitlines()
    assert "UTC" in utc[0]
    for a, b in zip(utc[1:6], there[1:6], strict=True):
        if (first := re.match(r"(\d\d):(\d\d):([\d.]+)", a)) is None:
            continue
        second = re.match(r"(\d\d):(\d\d):([\d.]+)\+05:45 ", b)
        assert second is not None
        minutes = int(first[1]) * 60 + int(first[2]) + 345
        assert (int(second[1]) * 60 + int(second[2])) == minutes % 1440
        assert first[3] == second[3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "nowhere does not exist"),
        (("run", "--tz", "Europe/Berln"), "did you mean Europe/Berlin"),
        (("run", "--all", "--limit", "3"), "--all and --limit 3 exclude each other"),
        (("run", "--raw", "--events"), "--raw shows the recording as it is"),
        (("run", "--limit", "-1"), "--limit"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence_with_exit_code_2(
    coeval: Coeval, run: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = coeval("timeline", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_run_is_shown_with_its_problem_and_without_a_warning_of_pythons(coeval: Coeval, run: Path) -> None:
    (spool,) = run.glob("*.spool")
    spool.write_bytes(spool.read_bytes()[:-7])
    done = coeval("timeline", run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "problem   " in done.stdout
    data = coeval("timeline", run, "--json")
    assert "problem: " in data.stderr
    assert all(json.loads(line) for line in data.stdout.splitlines())


def test_a_reader_that_goes_away_gets_no_traceback(
    coeval_started: Callable[..., subprocess.Popen[str]], run: Path
) -> None:
    process = coeval_started("timeline", run, "--json", "--events")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.wait(30)
    assert process.stderr.read() == ""


def test_every_line_fits_a_screen_of_80_columns(coeval: Coeval, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for options in ((), ("--events",), ("--tz", "Asia/Kathmandu")):
        text = coeval("timeline", run, "--all", *options).stdout
        # A word that is longer than what is left of a line, such as a path, is not broken.
        assert max(len(line) for line in text.splitlines() if not line.startswith("run ")) <= 80
