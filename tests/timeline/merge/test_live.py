"""Live merges of files that really grow: what is written, when, and what becomes of the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.merge._follow import FollowedFile, RecordCutter
from coeval.timeline.merge._live import LiveMerge, LiveSettings
from coeval.timeline.merge._live_order import FUTURE, LATE
from coeval.timeline.merge._request import requested

S = 10**9
T0 = 1_794_000_000


def append(path: Path, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def stamp(at_s: float) -> str:
    return datetime.fromtimestamp(T0 + at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Live:
    """A live merge whose rounds the test makes; `at_s` is the time that the merge is told."""

    def __init__(self, folder: Path, sources: list[Path], *, idle_timeout_s: float | None = None, **asked: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self.asides: list[dict[str, Any]] = []
        self.told: list[str] = []
        self.at_s = 0.0
        request = requested(sources, **asked)
        (folder / "work").mkdir()
        self.merge = LiveMerge(
            request.sources,
            request.settings,
            request.evidence,
            LiveSettings(None if idle_timeout_s is None else int(idle_timeout_s * S)),
            write=lambda lines: self.lines.extend(map(json.loads, lines)),
            write_aside=lambda line: self.asides.append(json.loads(line)),
            tell=self.told.append,
            folder=folder / "work",
        )

    def step(self, after_s: float = 1.0) -> list[str]:
        """The texts that one more round wrote."""
        self.at_s += after_s
        count = len(self.lines)
        self.merge.step(int(self.at_s * S))
        return [line["text"].split()[1] for line in self.lines[count:]]


def test_lines_come_in_the_order_of_corrected_times_as_soon_as_nothing_earlier_can_come(tmp_path: Path) -> None:
    web, db = tmp_path / "web.log", tmp_path / "db.log"
    append(web, f"{stamp(1)} w1\n{stamp(3)} w2\n")
    append(db, f"{stamp(102)} d1\n")
    live = Live(tmp_path, [web, db], clock=["db.log=+100s±1ms@web.log"])
    assert live.step() == []  # the last line of a log may go on
    append(db, f"{stamp(104)} d2\n{stamp(106)} d3\n")
    append(web, f"{stamp(5)} w3\n{stamp(7)} w4\n")
    assert live.step() + live.step() == ["w1", "d1", "w2"]
    report = live.merge.finish(10 * S)
    assert [line["text"].split()[1] for line in live.lines] == ["w1", "d1", "w2", "d2", "w3", "d3", "w4"]
    assert (report.read, report.emitted, report.set_aside) == (7, 7, {})
    for line in live.lines:
        true_ns = line["raw_ns"] - (100 * S if line["source"] == "db.log" else 0)
        assert line["earliest_ns"] <= true_ns <= line["latest_ns"]


def test_requests_relate_clocks_while_they_come(tmp_path: Path) -> None:
    web, db = tmp_path / "web.jsonl", tmp_path / "db.jsonl"

    def line(at_s: float, key: str, text: str) -> str:
        return json.dumps({"time": stamp(at_s), "request": key, "text": f"x {text}"}) + "\n"

    append(web, line(1.0, "r1", "ask1") + line(1.5, "q0", "w"))
    append(db, line(51.1, "r1", "got1") + line(51.2, "q1", "d"))
    live = Live(tmp_path, [web, db], pair=["request:order=web.jsonl>db.jsonl", "back:order=db.jsonl>web.jsonl"])
    live.step()
    for number in range(2, 8):
        append(web, line(number, f"r{number}", f"ask{number}"))
        append(db, line(50.1 + number, f"r{number}", f"got{number}"))
        live.step()
    report = live.merge.finish(100 * S)
    assert report.read == report.emitted + sum(report.set_aside.values()) == 16
    order = {entry["text"]: place for place, entry in enumerate(live.lines)}
    for number in range(1, 8):
        assert order[f"x ask{number}"] < order[f"x got{number}"]


def test_a_stamp_far_in_the_future_is_set_aside_and_holds_nothing_back(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    append(log, f"{stamp(1)} a\n{stamp(90_000)} far\n{stamp(2)} b\n{stamp(3)} c\n{stamp(4)} d\n")
    live = Live(tmp_path, [log])
    assert live.step() + live.step(5) == ["a", "b", "c"]
    assert [(aside["source"], aside["line"], aside["reason"]) for aside in live.asides] == [("web.log", 2, FUTURE)]
    report = live.merge.finish(10 * S)
    assert (report.read, report.emitted, report.set_aside) == (5, 4, {FUTURE: 1})


def test_a_silent_source_is_let_go_what_follows_names_it_and_its_late_lines_are_set_aside(tmp_path: Path) -> None:
    web, db = tmp_path / "web.log", tmp_path / "db.log"
    append(web, f"{stamp(1)} w1\n{stamp(2)} w2\n{stamp(3)} w3\n")
    append(db, f"{stamp(1)} d1\n{stamp(1.1)} d2\n")
    live = Live(tmp_path, [web, db], idle_timeout_s=10, clock=["db.log=+0s±1ms@web.log"])
    live.step()
    live.step(5)
    assert {line["text"].split()[1] for line in live.lines} == {"w1", "d1"}
    assert live.merge.holding(int(live.at_s * S))[0][0] == "db.log"
    append(web, f"{stamp(4)} w4\n{stamp(5)} w5\n")
    live.step()
    assert set(live.step(9.5)) >= {"d2", "w2", "w3"}
    assert any("db.log was silent for" in text for text in live.told)
    assert [line.get("without") for line in live.lines if "w2" in line["text"]] == [["db.log"]]
    append(db, f"{stamp(1.5)} d3\n{stamp(6)} d4\n")
    append(web, f"{stamp(6)} w6\n{stamp(7)} w7\n")
    live.step()
    report = live.merge.finish(100 * S)
    assert report.set_aside == {LATE: 1} and report.read == report.emitted + 1
    assert ["d3" in aside["text"] for aside in live.asides] == [True]


def test_lines_that_go_on_with_a_record_stay_in_it_whenever_they_are_written(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    append(log, f"{stamp(1)} ERROR x\nTraceback:\n  File")
    live = Live(tmp_path, [log])
    live.step(0.1)
    append(log, ' "a.py"\nValueError\n')
    live.step(0.1)
    append(log, f"{stamp(2)} INFO y\n")
    live.step(0.1)
    live.merge.finish(10 * S)
    assert [line["text"].split(" ", 1)[1] for line in live.lines] == [
        'ERROR x\nTraceback:\n  File "a.py"\nValueError',
        "INFO y",
    ]
    assert [line["line"] for line in live.lines] == [1, 5]


def test_a_bad_line_is_set_aside_with_its_number_and_nothing_else_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "web.jsonl"
    good = [json.dumps({"time": stamp(at), "text": f"x {at}"}) + "\n" for at in range(1, 6)]
    append(log, good[0] + good[1])
    live = Live(tmp_path, [log])
    live.step()
    append(log, "{no json\n" + good[2] + good[3] + good[4])
    live.step()
    report = live.merge.finish(10 * S)
    assert [line["line"] for line in live.lines] == [1, 2, 4, 5, 6]
    assert [aside["line"] for aside in live.asides] == [3] and report.read == 6


def test_a_file_that_is_rotated_or_cut_is_read_on_from_its_begin_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "one\n")
    file = FollowedFile(str(path))
    assert file.read() == b"one\n"
    append(path, "two\n")
    path.rename(tmp_path / "a.log.1")
    assert file.read() == b"two\n" and file.read() == b"" and not file.problems
    append(tmp_path / "a.log.1", "three\n")
    append(path, "four\n")
    assert file.read() == b"three\n"  # what the old one still has comes first
    assert file.read() == b"" and file.read() == b"four\n"
    path.write_text("5\n")
    assert file.read() == b"5\n"
    assert ["another file" in text or "was cut" in text for text in file.problems] == [True, True]
    file.close()


@given(st.lists(st.sampled_from([b"2 x\n", b"2 y", b"\n", b"  at\n", b"z"]), max_size=20), st.data())
def test_however_bytes_come_records_are_cut_only_where_one_begins(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    cutter = RecordCutter(lambda line: line.startswith(b"2"))
    out = [cutter.cut(whole[begin:end]) for begin, end in zip([0, *places], [*places, len(whole)], strict=True)]
    out.append(cutter.rest())
    assert b"".join(out) == whole
    begun = False
    for cut in filter(None, out):
        assert not begun or cut.startswith(b"2")
        begun |= cut.startswith(b"2")


def run_live(folder: Path, *options: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "coeval", "merge", "--live", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **more)


def test_the_command_follows_a_file_until_ctrl_c_and_accounts_for_every_line(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    append(log, f"{stamp(1)} a\n{stamp(2)} b\n{stamp(3)} c\n")
    with run_live(tmp_path, "web.log", "-o", "-") as live:
        assert live.stdout is not None
        assert json.loads(live.stdout.readline())["line"] == 1  # it came while the command runs
        append(log, f"{stamp(4)} d\n{stamp(5)} e\n")
        assert json.loads(live.stdout.readline())["line"] == 2
        live.send_signal(signal.SIGINT)
        assert live.stderr is not None
        rest = [json.loads(line)["line"] for line in live.stdout]
        said = live.stderr.read()
        assert live.wait(60) == 0, said
    # The last ones may have come after the signal.
    assert rest == list(range(3, 3 + len(rest))) and len(rest) <= 3
    assert f"{2 + len(rest)} read = {2 + len(rest)} written + 0 set aside" in said


def test_standard_input_is_followed_to_its_end_beside_a_file(tmp_path: Path) -> None:
    append(tmp_path / "db.jsonl", "".join(json.dumps({"time": stamp(at), "text": f"d{at}"}) + "\n" for at in (2, 4)))
    options = ("-", "db.jsonl", "-o", "out.jsonl", "--trust-clocks", "1ms", "--idle", "2s")
    live = run_live(tmp_path, *options)
    said = "".join(json.dumps({"time": stamp(at), "text": f"w{at}"}) + "\n" for at in (1, 3, 5))
    _, err = live.communicate(said + "{bad\n", timeout=60)
    assert live.returncode == 1, err
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == ["w1", "d2", "w3", "d4", "w5"]
    assert "6 read = 5 written + 1 set aside in out.jsonl.set-aside.jsonl" in err
    (aside,) = [json.loads(line) for line in (tmp_path / "out.jsonl.set-aside.jsonl").read_text().splitlines()]
    assert aside["text"] == "{bad"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("t.parquet", "-o", "-"), "which is not read line by line"),
        (("web.log", "-o", "x.parquet"), "--live writes JSON lines, in this process; expected no OUT for parquet"),
        (("web.log", "-o", "-", "--tz", "UTC"), "expected no --tz UTC"),
        (("web.log", "-o", "-", "--for", "soon"), "--for"),
    ],
)
def test_what_cannot_be_followed_is_refused(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"time": [1]}), tmp_path / "t.parquet")
    append(tmp_path / "web.log", f"{stamp(1)} a\n")
    live = run_live(tmp_path, *options)
    _, err = live.communicate(timeout=60)
    assert live.returncode == 2 and said in err, err
