"""Making a run folder, and what makes a folder no run."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from coeval._version import __version__
from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.errors import NewerFormat, NotARun, RecordingError, RunExists
from coeval.recording import Recording, RunFolder, ambient_run, mark, set_ambient_run, span
from coeval.recording._rows import FORMAT
from coeval.recording._run_folder import read_description


def test_a_new_folder_says_what_it_is(tmp_path: Path) -> None:
    before_ns = SYSTEM_CLOCK.snapshot().realtime_ns
    folder = RunFolder.create(tmp_path / "deep" / "run", command=["python", "script.py", "\udcff"])
    description = read_description(tmp_path / "deep" / "run")
    assert re.fullmatch("[0-9a-f]{32}", folder.id)
    assert before_ns <= description["started_realtime_ns"] <= SYSTEM_CLOCK.snapshot().realtime_ns
    assert description == {
        "format": FORMAT,
        "coeval": __version__,
        "run": folder.id,
        "command": ["python", "script.py", "\udcff"],
        "host": platform.node(),
        "python": platform.python_version(),
        "started_realtime_ns": description["started_realtime_ns"],
    }


@pytest.mark.parametrize("exists", [False, True])
def test_only_the_owner_may_enter_the_folder(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "run").mkdir(mode=0o755)
    folder = RunFolder.create(tmp_path / "run", command=[])
    folder.spool()
    folder.close()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.path.iterdir()} == {
        "run.json": 0o600,
        "0001.spool": 0o600,
    }


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "data").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(RunExists, match=rf"{re.escape(str(tmp_path))} has 2 entries; .*Give another path"):
        RunFolder.create(tmp_path, command=[])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "notes.txt"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_run_is_not_recorded_over(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path / "run", command=[])
    with pytest.raises(RunExists, match=r"holds a run already \(1 entry\)") as caught:
        RunFolder.create(tmp_path / "run", command=[])
    assert isinstance(caught.value, FileExistsError)
    assert read_description(tmp_path / "run")["run"] == first.id


def test_a_file_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunExists, match="run is a file"):
        RunFolder.create(tmp_path / "run", command=[])


def test_of_many_that_want_one_empty_folder_exactly_one_gets_it(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / str(number)
        path.mkdir()
        made: list[RunFolder] = []
        refused: list[RunExists] = []
        start = threading.Barrier(4)

        def create(
            path: Path = path,
            made: list[RunFolder] = made,
            refused: list[RunExists] = refused,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            try:
                made.append(RunFolder.create(path, command=[]))
            except RunExists as error:
                refused.append(error)

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(made), len(refused)) == (1, 3)
        assert read_description(path)["run"] == made[0].id
        assert [file.name for file in path.iterdir()] == ["run.json"]


def test_executors_and_workers_are_numbered_without_doubles_from_many_threads(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    numbers: list[int] = []

    def number() -> None:
        for _ in range(1000):
            numbers.append(folder.next_executor())

    threads = [threading.Thread(target=number) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(4000))
    assert [folder.next_process(), folder.next_process()] == [1, 2]


def test_the_spool_is_one_and_begins_with_this_process(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    assert folder.spool() is folder.spool()
    folder.close()
    recording = Recording.open(folder.path)
    [process], [host], [clock] = recording.processes, recording.hosts, recording.clocks
    assert (process.process, process.role, process.pid, process.worker) == (0, "driver", os.getpid(), -1)
    assert (process.host, process.clock) == (platform.node(), clock_id(SYSTEM_CLOCK))
    assert (host.process, clock.process) == (0, 0)
    assert host.synchronised in ("yes", "no", "unknown")
    assert clock.raw_before_ns <= clock.raw_after_ns <= SYSTEM_CLOCK.raw_ns()


def test_with_an_ambient_run_marks_before_and_between_executors_are_written_down(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    assert ambient_run() is None
    set_ambient_run(folder)
    try:
        assert ambient_run() is folder
        mark("loading", rows=3)
        with span("fitting"):
            pass
    finally:
        set_ambient_run(None)
    assert ambient_run() is None
    mark("unheard")
    folder.close()
    events = Recording.open(folder.path).events
    assert [(event.kind, event.name, event.process, event.executor, event.batch, event.item) for event in events] == [
        ("mark", "loading", 0, -1, -1, -1),
        ("span", "fitting", 0, -1, -1, -1),
    ]
    assert events[0].fields == {"rows": 3}


def test_closing_twice_is_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    folder.listen()
    folder.close()
    folder.close()
    folder.stop_listening()
    mark("unheard")
    assert Recording.open(folder.path).events == ()


FORKED_EXECUTORS = """
import os, sys, warnings
warnings.simplefilter("ignore")  # later Pythons warn of forking at all
from coeval.recording import Recorder, RunFolder, mark, set_ambient_run

folder = RunFolder.create(sys.argv[1], command=[])
set_ambient_run(folder)
parent = Recorder(engine="parent", folder=folder)
child = os.fork()
if child == 0:
    mark("by nobody")
    parent.close(finished=9, failed=9, cancelled=9)  # as exit functions would
    recorder = Recorder(engine="child", folder=folder)
    recorder.process_of(0, role="worker", host="h", pid=1, clock="c", python="3")
    mark("by the child")
    recorder.close(finished=1, failed=0, cancelled=0)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
parent.process_of(0, role="worker", host="h", pid=1, clock="c", python="3")
mark("by the parent")
parent.close(finished=2, failed=0, cancelled=0)
folder.close()
"""


def test_a_forked_child_with_an_executor_writes_a_spool_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run"
    subprocess.run([sys.executable, "-c", FORKED_EXECUTORS, path], check=True, timeout=60)
    assert sorted(file.name for file in path.iterdir()) == ["0001.spool", "0002.spool", "run.json"]
    recording = Recording.open(path)
    assert [(row.process, row.role) for row in recording.processes] == [
        (0, "driver"),
        (1, "worker"),
        (2, "driver"),
        (3, "worker"),
    ]
    engines = {row.engine: row.executor for row in recording.executors}
    assert len(set(engines.values())) == 2
    assert {(row.executor, row.finished) for row in recording.ends} == {(engines["parent"], 2), (engines["child"], 1)}
    assert [(row.process, row.name) for row in recording.events] == [(0, "by the parent"), (2, "by the child")]


def test_a_path_that_is_no_run_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match="nowhere does not exist; expected a run folder"):
        read_description(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotARun, match="file is a file; expected a run folder"):
        read_description(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotARun, match="empty is not a run folder: it is empty"):
        read_description(tmp_path / "empty")
    with pytest.raises(NotARun, match=r"is not a run folder: it has no run\.json among its 2 entries"):
        read_description(tmp_path)


DESCRIPTION = {
    "format": 1,
    "coeval": "0.1.0",
    "run": "0" * 32,
    "command": ["x"],
    "host": "h",
    "python": "3.11.7",
    "started_realtime_ns": 1,
}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", r"run\.json is not JSON \("),
        ("\udcff", r"run\.json is not JSON \("),
        ("[" * 100_000, r"run\.json is not JSON \("),
        ("[]", r"run\.json holds a list; expected the description of a run"),
        ("{}", r"run\.json lacks format, coeval, run, command, host, python, started_realtime_ns"),
        (json.dumps(DESCRIPTION | {"command": "x"}), r"run\.json lacks command \(or has it of a wrong type\)"),
        (json.dumps(DESCRIPTION | {"command": [1]}), r"run\.json lacks command "),
        (json.dumps(DESCRIPTION | {"format": True}), r"run\.json lacks format "),
        (json.dumps(DESCRIPTION | {"format": 0}), r"run\.json lacks format "),
        (json.dumps(DESCRIPTION | {"started_realtime_ns": 1.5}), r"run\.json lacks started_realtime_ns "),
    ],
)
def test_a_description_that_is_not_whole_is_refused_with_what_is_wrong(
    tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(NotARun, match=sentence):
        read_description(tmp_path)


def test_a_newer_run_is_refused_with_both_numbers(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": FORMAT + 1, "coeval": "9.0", "new": 1}))
    with pytest.raises(NewerFormat, match=rf"format {FORMAT + 1} by coeval 9\.0; .* reads formats up to {FORMAT}\."):
        read_description(tmp_path)


def test_a_description_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RecordingError, match=r"cannot read .*run\.json: Is a directory"):
        read_description(tmp_path)


def test_fields_that_a_later_writer_added_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(DESCRIPTION | {"added": 1}))
    assert read_description(tmp_path) == DESCRIPTION
