"""Reading recordings: typed rows in recorded order, every damage counted, nothing wrong ever let through."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.errors import NewerFormat, NotARun, RecordingWarning
from coeval.recording import Recorder, Recording, RunFolder
from coeval.recording._event import JsonScalar
from coeval.recording._rows import (
    FORMAT,
    KIND_NAMES,
    KINDS,
    AnchorRow,
    ExchangeRow,
    ExecutorRow,
    ItemRow,
    OutcomeRow,
    Row,
    SentRow,
)
from coeval.recording._spool import FRAME_ROWS_MAX, SpoolWriter, encode_frame, encode_header

DATA = Path(__file__).parent.parent / "data"

int64 = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=()), max_size=10)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    int: int64,
    str: texts,
    bool: st.booleans(),
    int | None: st.none() | int64,
    Sequence[int]: st.lists(int64, max_size=3).map(tuple),
    Sequence[str]: st.lists(texts, max_size=3).map(tuple),
    Mapping[str, JsonScalar]: st.dictionaries(texts, scalars, max_size=3),
}


def rows_of(kind: type[Row]) -> st.SearchStrategy[Row]:
    hints = get_type_hints(kind)
    return st.tuples(*(FIELDS[hints[name]] for name in kind._fields)).map(kind._make)


any_rows = st.one_of([rows_of(kind) for kind in KINDS.values()])


def write_spool(path: Path, *frames: list[Any], version: int = FORMAT) -> None:
    """A spool of any rows at all, as JSON."""
    data, first_row = encode_header(version), 0
    for frame in frames:
        data += encode_frame(json.dumps(frame).encode(), first_row)
        first_row += len(frame)
    path.write_bytes(data)


def a_run(folder: Path, *frames: list[Any]) -> Path:
    made = RunFolder.create(folder / "run", command=["test"])
    if frames:
        write_spool(made.path / "0001.spool", *frames)
    return made.path


def item(number: int) -> list[Any]:
    return ["item", 0, 0, number, 0, 0]


def open_quietly(path: Path) -> Recording:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        return Recording.open(path)


# Whole runs -----------------------------------------------------------------------------------------------------------


def test_the_golden_run_of_version_1_opens_as_it_did_when_it_was_made() -> None:
    expected = json.loads((DATA / "run-v1.json").read_text())
    with pytest.warns(RecordingWarning, match=r"12 rows were not kept: the disk took no more: No space left"):
        recording = Recording.open(DATA / "run-v1")
    assert json.loads(json.dumps([(KIND_NAMES[type(row)], *row) for row in recording])) == expected["rows"]
    assert recording.run == expected["run"]
    assert (recording.rows_read, recording.rows_set_aside) == (len(expected["rows"]), 0)
    assert set(map(type, recording)) == set(KINDS.values()) - {ExchangeRow, AnchorRow}  # came later


@settings(max_examples=40)
@given(st.lists(any_rows, max_size=8))
def test_any_rows_that_are_written_come_back_equal(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = a_run(Path(folder))
        writer = SpoolWriter(path / "0001.spool")
        for row in rows:
            writer.append(row)
        writer.rest()
        recording = open_quietly(path)
        assert list(recording) == rows
        assert [type(row) for row in recording] == [type(row) for row in rows]
        assert recording.rows_read == len(rows)


def test_rows_are_given_by_kind() -> None:
    sent = SentRow(0, 0, 1, 0, (1,), 5)
    outcome = OutcomeRow(0, 0, 0, 1, "ok", 1, 1, 2, 3, 4)
    recording = Recording([sent, outcome, sent])
    assert recording.sent == [sent, sent]
    assert recording.outcomes == [outcome]
    assert recording.items == ()
    assert list(recording) == [sent, outcome, sent]


def test_a_run_that_recorded_nothing_is_empty_and_has_no_problem(tmp_path: Path) -> None:
    recording = Recording.open(a_run(tmp_path))
    assert (len(recording), recording.rows_read, recording.problems) == (0, 0, ())
    assert recording.run is not None
    assert recording.run["command"] == ["test"]


def test_what_is_not_ours_in_a_run_folder_is_ignored(tmp_path: Path) -> None:
    path = a_run(tmp_path, [item(0)])
    (path / "notes.txt").write_text("mine")
    (path / "plots").mkdir()
    (path / "plots.spool").mkdir()
    assert Recording.open(path).problems == ()


def test_a_running_run_can_be_opened_again_and_again(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder)
    for number in range(5):
        recorder.append(ItemRow(0, 0, number, 0, 0))
        folder.spool().flush()
        recording = Recording.open(folder.path)
        assert [row.item for row in recording.items] == list(range(number + 1))
        assert [problem[:25] for problem in recording.problems] == ["executor 0 (local) has no"]
    recorder.close(finished=0, failed=0, cancelled=0)
    assert Recording.open(folder.path).problems == ()


def test_opening_never_unpickles(tmp_path: Path) -> None:
    path = a_run(tmp_path)
    bomb = b"\x80\x04cos\nsystem\n(S'touch bombed'\ntR."
    (path / "0001.spool").write_bytes(encode_header() + encode_frame(bomb, 0) + bomb)
    recording = open_quietly(path)
    assert len(recording) == 0
    [problem] = recording.problems
    end = 16 + 20 + 2 * len(bomb)
    assert problem.startswith(f"0001.spool: frame 1 (bytes 16 to {end}) is damaged and was set aside with an unknown")


# Several processes ----------------------------------------------------------------------------------------------------


def test_processes_and_executors_of_several_spools_are_told_apart(tmp_path: Path) -> None:
    path = a_run(tmp_path)
    for number in (1, 2, 10):
        write_spool(
            path / f"{number:04}.spool",
            [
                ["process", 0, "driver", f"host{number}", 1, "c", "3"],
                ["process", 1, "worker", f"far{number}", 2, "d", "3", 0],
                ["executor", 0, "local", 5],
                ["outcome", 0, 0, 0, 1, "ok", 1, 1, 2, 3, 4],
                ["outcome", 0, 1, 0, 1, "moved", -1, 1, 2, 3, 4],
                ["event", 0, -1, -1, -1, "mark", 1, None, "m", {}],
                ["end", 0, 9, 1, 0, 0],
            ],
        )
    recording = Recording.open(path)
    hosts = {row.process: row.host for row in recording.processes}
    assert hosts == {0: "host1", 1: "far1", 2: "host2", 3: "far2", 4: "host10", 5: "far10"}
    assert [row.executor for row in recording.executors] == [row.executor for row in recording.ends] == [0, 1, 2]
    assert [(row.executor, row.process) for row in recording.outcomes] == [
        (0, 1),
        (0, -1),
        (1, 3),
        (1, -1),
        (2, 5),
        (2, -1),
    ]
    assert [(row.process, row.executor) for row in recording.events] == [(0, -1), (2, -1), (4, -1)]


# Damage ---------------------------------------------------------------------------------------------------------------


def big_run(tmp_path: Path) -> tuple[Path, bytes]:
    """A spool of four full frames: its path and its bytes."""
    path = a_run(tmp_path)
    spool = path / "0001.spool"
    frames = [[item(FRAME_ROWS_MAX * frame + number) for number in range(FRAME_ROWS_MAX)] for frame in range(4)]
    write_spool(spool, *frames)
    return spool, spool.read_bytes()


def test_a_flipped_byte_sets_one_frame_aside_and_says_which(tmp_path: Path) -> None:
    spool, data = big_run(tmp_path)
    flipped = bytearray(data)
    flipped[len(data) // 3] ^= 1
    spool.write_bytes(flipped)
    with pytest.warns(RecordingWarning) as caught:
        recording = Recording.open(spool.parent)
    assert [str(warning.message) for warning in caught] == [f"{spool.parent}: {recording.problems[0]}"]
    [problem] = recording.problems
    begin = data.index(b"\xf5\xff\xc0\xfe", 20 + 16)
    end = data.index(b"\xf5\xff\xc0\xfe", begin + 1)
    assert problem == (
        f"0001.spool: frame 2 (bytes {begin} to {end}) is damaged and was set aside with {FRAME_ROWS_MAX} rows."
    )
    assert [row.item for row in recording.items] == [
        *range(FRAME_ROWS_MAX),
        *range(2 * FRAME_ROWS_MAX, 4 * FRAME_ROWS_MAX),
    ]
    assert (recording.rows_read, recording.rows_set_aside) == (4 * FRAME_ROWS_MAX, FRAME_ROWS_MAX)


def test_a_cut_tail_says_where_and_what_came_before(tmp_path: Path) -> None:
    spool, data = big_run(tmp_path)
    spool.write_bytes(data[:-10])
    with pytest.warns(RecordingWarning, match=r"0001\.spool ends within frame 4") as caught:
        recording = Recording.open(spool.parent)
    assert len(caught) == 1
    [problem] = recording.problems
    assert problem.startswith(f"0001.spool ends within frame 4, at byte {len(data) - 10}: its process was killed")
    assert problem.endswith(f" {3 * FRAME_ROWS_MAX} rows before it were read.")
    assert len(recording) == recording.rows_read == 3 * FRAME_ROWS_MAX


def test_several_damages_give_one_warning_that_counts_them(tmp_path: Path) -> None:
    spool, data = big_run(tmp_path)
    damaged = bytearray(data[:-10])
    damaged[3] ^= 1
    damaged[100] ^= 1
    spool.write_bytes(damaged)
    (spool.parent / "0002.spool").write_bytes(b"%PDF-1.7, much longer than a header")
    (spool.parent / "0003.spool").write_bytes(b"")
    counted = rf"{3 * FRAME_ROWS_MAX} rows read, {FRAME_ROWS_MAX} set aside"
    with pytest.warns(RecordingWarning, match=rf"has 5 problems; {counted}\. The first: ") as caught:
        recording = Recording.open(spool.parent)
    assert len(caught) == 1
    assert [problem.split(":")[0] for problem in recording.problems[:2]] == ["0001.spool"] * 2
    assert "0001.spool: its header (bytes 0 to 16) is damaged; its rows were read all the same." in recording.problems
    assert "0002.spool is not a spool of coeval's (it begins with b'%PDF-1.7'); it was left out." in recording.problems
    assert any(problem.startswith("0003.spool ends within frame 1, at byte 0") for problem in recording.problems)
    assert len(recording) == 2 * FRAME_ROWS_MAX


def test_frames_that_are_gone_are_missed(tmp_path: Path) -> None:
    path = a_run(tmp_path)
    frames = [encode_frame(json.dumps([item(number)]).encode(), number) for number in range(3)]
    (path / "0001.spool").write_bytes(encode_header() + frames[0] + frames[2])
    recording = open_quietly(path)
    begin = len(encode_header() + frames[0])
    assert recording.problems == (f"0001.spool: 1 row was removed before frame 2, at byte {begin}.",)
    assert (recording.rows_read, recording.rows_set_aside) == (3, 1)


def test_the_run_of_a_full_disk_tells_its_gap(tmp_path: Path) -> None:
    path = a_run(tmp_path, [item(0), ["gap", 40, "the disk took no more: No space left on device (errno 28)"]])
    with pytest.warns(RecordingWarning, match="40 rows were not kept: the disk took no more: No space left on device"):
        assert len(Recording.open(path).gaps) == 1


@settings(max_examples=60)
@given(st.data())
def test_whatever_happens_to_a_byte_or_the_end_kept_rows_are_rows_that_were_written(draw: st.DataObject) -> None:
    data = (DATA / "run-v1" / "0001.spool").read_bytes()
    at = draw.draw(st.integers(0, len(data) - 1))
    if draw.draw(st.booleans()):
        changed = bytearray(data)
        changed[at] ^= draw.draw(st.integers(1, 255))
    else:
        changed = bytearray(data[:at])
    written = list(open_quietly(DATA / "run-v1"))
    with tempfile.TemporaryDirectory() as folder:
        path = a_run(Path(folder))
        (path / "0001.spool").write_bytes(changed)
        recording = open_quietly(path)
    rest = iter(written)
    assert all(row in rest for row in recording)  # in order, and each one as it was
    assert len(recording) + recording.rows_set_aside == recording.rows_read


# Rows that this coeval cannot take ------------------------------------------------------------------------------------


def test_rows_of_kinds_that_are_not_known_are_set_aside_and_counted_by_kind(tmp_path: Path) -> None:
    path = a_run(tmp_path, [item(0), ["memory", 1], ["memory", 2], ["energy"], item(1)])
    recording = open_quietly(path)
    assert [row.item for row in recording.items] == [0, 1]
    assert (recording.rows_read, recording.rows_set_aside) == (5, 3)
    assert [problem.split(":")[0] for problem in recording.problems] == [
        "1 row of kind 'energy' was set aside",
        "2 rows of kind 'memory' were set aside",
    ]


@pytest.mark.parametrize(
    "row",
    [
        None,
        7,
        "item",
        [],
        {},
        [7],
        [["item"], 0, 0, 0, 0, 0],
        ["item"],
        ["item", 0, 0, 0, 0],
        ["item", 0, 0, 0, 0, None],
        ["item", 0, 0, 0, 0, "1"],
        ["item", 0, 0, 0, 0, 1.0],
        ["item", 0, 0, 0, 0, True],
        ["item", 0, 0, 0, 0, 2**63],
        ["item", 0, 0, 0, 0, -(2**63) - 1],
        ["gap", 1, 2],
        ["failure", 0, 0, 0, "k", "t", "m", "a", 1],
        ["sent", 0, 0, 1, 0, 5, 1],
        ["sent", 0, 0, 1, 0, [1.5], 1],
        ["sent", 0, 0, 1, 0, [2**63], 1],
        ["sent", 0, 0, 1, 0, [1], 1, [1]],
        ["sent", 0, 0, 1, 0, [1], 1, "label"],
        ["event", 0, 0, 0, 0, "mark", 1, 2.0, "n", {}],
        ["event", 0, 0, 0, 0, "mark", 1, 2**63, "n", {}],
        ["event", 0, 0, 0, 0, "mark", 1, None, "n", []],
        ["event", 0, 0, 0, 0, "mark", 1, None, "n", {"a": [1]}],
    ],
    ids=repr,
)
def test_a_row_of_a_wrong_shape_or_type_is_set_aside_and_counted(tmp_path: Path, row: Any) -> None:
    recording = open_quietly(a_run(tmp_path, [item(0), row, item(1)]))
    assert [one.item for one in recording.items] == [0, 1]
    assert (recording.rows_read, recording.rows_set_aside) == (3, 1)
    [problem] = recording.problems
    assert problem.startswith("1 row of ")
    assert problem.endswith(f" was set aside: not of the shape that format {FORMAT} gives it.")


def test_rows_from_before_a_field_was_added_get_its_default(tmp_path: Path) -> None:
    path = a_run(tmp_path, [["process", 0, "driver", "h", 1, "c", "3"], ["sent", 0, 0, 1, 0, [1], 5]])
    recording = Recording.open(path)
    assert recording.processes[0].worker == -1
    assert recording.sent[0].labels == ()


def test_fields_that_a_later_coeval_added_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    path = a_run(tmp_path, [[*item(0), "new", {}], [*item(1), "new"], item(2)])
    recording = open_quietly(path)
    assert [row.item for row in recording.items] == [0, 1, 2]
    assert recording.rows_set_aside == 0
    [problem] = recording.problems
    assert problem.startswith("2 rows of kind 'item' have more fields than this coeval")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
odd_rows = json_values | st.tuples(st.sampled_from([*KINDS, "memory"]), st.lists(json_values, max_size=11)).map(
    lambda parts: [parts[0], *parts[1]]
)


@settings(max_examples=60)
@given(st.lists(odd_rows, max_size=6))
def test_whatever_rows_a_spool_holds_each_one_is_kept_or_set_aside(rows: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = a_run(Path(folder), rows)
        recording = open_quietly(path)
    assert recording.rows_read == len(rows)
    assert len(recording) + recording.rows_set_aside == len(rows)
    for row in recording:
        for name, kind in get_type_hints(type(row)).items():
            if kind in (int, str, bool):
                assert type(getattr(row, name)) is kind


# Runs that cannot be opened -------------------------------------------------------------------------------------------


def test_a_spool_of_a_newer_format_is_refused_with_both_numbers(tmp_path: Path) -> None:
    path = a_run(tmp_path, [item(0)])
    write_spool(path / "0002.spool", [item(1)], version=FORMAT + 1)
    with pytest.raises(
        NewerFormat, match=rf"0002\.spool was written in format {FORMAT + 1}; .* reads formats up to {FORMAT}\."
    ):
        Recording.open(path)


def test_a_folder_of_something_else_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(NotARun, match=r"it has no run\.json among its 1 entry\."):
        Recording.open(tmp_path)


def test_a_run_may_be_moved_and_copied(tmp_path: Path) -> None:
    shutil.copytree(DATA / "run-v1", tmp_path / "copy")
    assert list(open_quietly(tmp_path / "copy")) == list(open_quietly(DATA / "run-v1"))


def test_a_recording_says_in_short_what_it_is() -> None:
    recording = Recording([ExecutorRow(0, "local", 1000)])
    assert repr(recording) == "<coeval.recording.Recording in memory: 1 row, 0 set aside, problems: 0>"
