"""The spool's bytes, as values; and its writer, on real files, with real kills, forks and full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.errors import RecordingWarning
from coeval.recording import _spool
from coeval.recording._rows import FORMAT, EventRow, GapRow, ItemRow, Row
from coeval.recording._spool import (
    FRAME_ROWS_MAX,
    GATHER_S,
    MARKER,
    WAITING_ROWS_MAX,
    SpoolWriter,
    decode_spool,
    encode_frame,
    encode_header,
    encode_rows,
)

int64 = st.integers(-(2**63), 2**63 - 1)
# Lone surrogates too: file names that are no UTF-8 have them.
texts = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
rows = st.builds(
    EventRow, int64, int64, int64, int64, texts, int64, st.none() | int64, texts, st.dictionaries(texts, scalars)
) | st.builds(ItemRow, int64, int64, int64, int64, int64)
frames_of_rows = st.lists(st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=4)


def as_json(row: Row) -> list[Any]:
    return ["item" if isinstance(row, ItemRow) else "gap" if isinstance(row, GapRow) else "event", *row]


def spool_of(frames: list[list[Row]]) -> tuple[bytes, list[tuple[int, int]]]:
    """A spool with these frames, and where each frame begins and ends."""
    data, first_row, places = encode_header(), 0, []
    for frame_rows in frames:
        [(_, payload)] = encode_rows(frame_rows)
        assert payload is not None
        frame = encode_frame(payload, first_row)
        places.append((len(data), len(data) + len(frame)))
        data += frame
        first_row += len(frame_rows)
    return data, places


def item(number: int) -> ItemRow:
    return ItemRow(0, 0, number, 0, 0)


def items_in(path: Path) -> list[int]:
    contents = decode_spool(path.read_bytes())
    assert contents.damages == ()
    return [row[3] for row in contents.rows if row[0] == "item"]


# Bytes ----------------------------------------------------------------------------------------------------------------


@given(frames_of_rows)
def test_rows_come_back_as_they_were_and_in_order(frames: list[list[Row]]) -> None:
    data, _ = spool_of(frames)
    contents = decode_spool(data)
    assert contents.rows == [as_json(row) for frame in frames for row in frame]
    assert contents.damages == ()
    assert contents.format == FORMAT


@given(frames_of_rows, st.data())
def test_a_flipped_byte_costs_one_frame_at_most_and_never_gives_a_wrong_row(
    frames: list[list[Row]], draw: st.DataObject
) -> None:
    data, places = spool_of(frames)
    at = draw.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= draw.draw(st.integers(1, 255))
    contents = decode_spool(bytes(flipped))
    [damage] = contents.damages
    hit = [number for number, (begin, end) in enumerate(places) if begin <= at < end]
    kept = [frame for number, frame in enumerate(frames) if number not in hit]
    assert contents.rows == [as_json(row) for frame in kept for row in frame]
    if not hit:
        assert (damage.kind, damage.row_count) == ("header", 0)
        return
    [number] = hit
    assert (damage.kind, damage.frame, damage.begin, damage.end) == ("frame", number + 1, *places[number])
    assert damage.rows_before == sum(map(len, frames[:number]))
    # Of the last frame nothing tells how many rows it had.
    assert damage.row_count == (len(frames[number]) if number + 1 < len(frames) else None)


@given(frames_of_rows, st.data())
def test_a_cut_gives_the_frames_before_it_and_is_told_from_damage(frames: list[list[Row]], draw: st.DataObject) -> None:
    data, places = spool_of(frames)
    cut = draw.draw(st.integers(0, len(data)))
    contents = decode_spool(data[:cut])
    whole = [frame for frame, (_, end) in zip(frames, places, strict=True) if end <= cut]
    assert contents.rows == [as_json(row) for frame in whole for row in frame]
    is_between_frames = cut in {places[0][0], *(end for _, end in places)}
    assert [damage.kind for damage in contents.damages] == ([] if is_between_frames else ["tail"])
    for damage in contents.damages:
        assert (damage.end, damage.rows_before) == (cut, len(contents.rows))


@given(frames_of_rows.filter(lambda frames: len(frames) >= 3))
def test_a_frame_that_was_cut_out_is_missed_by_its_row_numbers(frames: list[list[Row]]) -> None:
    data, places = spool_of(frames)
    begin, end = places[1]
    contents = decode_spool(data[:begin] + data[end:])
    assert [(damage.kind, damage.begin, damage.row_count) for damage in contents.damages] == [
        ("missing", begin, len(frames[1]))
    ]


def test_zeros_that_a_power_failure_left_are_damage_and_no_frame() -> None:
    data, _ = spool_of([[item(0)], [item(1)]])
    contents = decode_spool(data + bytes(4096))
    assert [row[3] for row in contents.rows] == [0, 1]
    assert [(damage.kind, damage.begin) for damage in contents.damages] == [("frame", len(data))]


@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_any_bytes_at_all_can_be_read_and_none_become_rows(noise: bytes, has_header: bool, has_marker: bool) -> None:
    data = (encode_header() if has_header else b"") + (MARKER if has_marker else b"") + noise
    contents = decode_spool(data)
    assert contents.rows == []
    if has_header:
        assert contents.format == FORMAT
        assert len(contents.damages) == (1 if len(data) > len(encode_header()) else 0)


def test_bytes_of_something_else_are_no_spool() -> None:
    assert decode_spool(b"%PDF-1.7 and much more of it").format == 0
    assert decode_spool(b"short").format == 0


def test_a_newer_spool_is_not_read_but_tells_its_format() -> None:
    data, _ = spool_of([[item(0)]])
    newer = encode_header(FORMAT + 1) + data[len(encode_header()) :]
    contents = decode_spool(newer)
    assert (contents.format, contents.rows) == (FORMAT + 1, [])


def test_a_sound_frame_that_is_no_array_of_rows_is_set_aside() -> None:
    for payload in (b'{"kind": "item"}', b"not JSON", b"[" * 100_000):
        data = encode_header() + encode_frame(payload, 0) + encode_frame(b"[[1]]", 1)
        contents = decode_spool(data)
        assert contents.rows == [[1]]
        assert [damage.row_count for damage in contents.damages] == [1]


@pytest.mark.parametrize("bad", [object(), float("nan"), 10**5000, b"bytes"], ids=["object", "nan", "long", "bytes"])
def test_a_row_that_json_cannot_keep_spoils_no_other(bad: Any) -> None:
    good = [item(number) for number in range(5)]
    spoilt = EventRow(0, -1, -1, -1, "mark", 0, None, "", {"value": bad})
    parts = list(encode_rows([*good[:3], spoilt, *good[3:]]))
    assert [row_count for row_count, payload in parts if payload is None] == [1]
    assert sum(row_count for row_count, payload in parts if payload is not None) == 5


def test_a_monster_row_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spool, "FRAME_BYTES_MAX", 1000)
    monster = EventRow(0, -1, -1, -1, "mark", 0, None, "m" * 2000, {})
    parts = list(encode_rows([item(0), monster, *map(item, range(1, 100))]))
    assert [row_count for row_count, payload in parts if payload is None] == [1]
    payloads = [payload for _, payload in parts if payload is not None]
    assert sum(row_count for row_count, payload in parts if payload is not None) == 100
    assert max(map(len, payloads)) <= 1000


# The writer -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SpoolWriter]:
    made = SpoolWriter(tmp_path / "0001.spool")
    yield made
    made.rest()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("coeval ")]


@settings(max_examples=20)
@given(st.lists(st.lists(rows, max_size=5), max_size=5))
def test_what_is_appended_and_flushed_is_in_the_file(bursts: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = SpoolWriter(Path(folder) / "0001.spool")
        expected = []
        for burst in bursts:
            for row in burst:
                writer.append(row)
                expected.append(as_json(row))
            writer.flush()
            contents = decode_spool(writer.path.read_bytes())
            assert contents.rows == expected
        writer.rest()


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "0001.spool").write_text("mine")
    with pytest.raises(FileExistsError):
        SpoolWriter(tmp_path / "0001.spool")
    assert (tmp_path / "0001.spool").read_text() == "mine"


def test_only_the_owner_may_read_the_file(writer: SpoolWriter) -> None:
    assert writer.path.stat().st_mode & 0o777 == 0o600


def test_no_row_is_lost_or_doubled_when_threads_append_together(writer: SpoolWriter) -> None:
    count = 5000

    def append(first: int) -> None:
        for number in range(first, first + count):
            writer.append(item(number))
            if number % 1000 == 0:
                writer.flush()

    threads = [threading.Thread(target=append, args=(index * count,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    written = items_in(writer.path)
    assert sorted(written) == list(range(4 * count))
    for index in range(4):  # each thread's own order is kept
        own = [number for number in written if number // count == index]
        assert own == sorted(own)


def test_rows_that_wait_for_the_disk_are_bounded(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "0001.spool")
    with writer._writing:  # this thread has the disk, so the spool's own cannot write
        for number in range(WAITING_ROWS_MAX + 10):
            writer.append(item(number))
            assert len(writer._waiting) <= WAITING_ROWS_MAX
    writer.rest()
    assert items_in(writer.path) == list(range(WAITING_ROWS_MAX + 10))


def _switches(thread: threading.Thread) -> int:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


def _wait_until_written(writer: SpoolWriter, count: int) -> None:
    deadline_s = time.monotonic() + 30
    while not writer.path.stat().st_size or len(decode_spool(writer.path.read_bytes()).rows) < count:
        assert time.monotonic() < deadline_s, "the rows were not written by themselves"


def test_a_row_is_written_by_itself_and_then_nothing_wakes(
    writer: SpoolWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "GATHER_S", 0.02)
    writer.append(item(0))
    _wait_until_written(writer, 1)
    thread = writer._thread
    assert thread is not None
    while not writer._changed._waiters:  # type: ignore[attr-defined]  # the thread is not yet back from writing
        pass
    before = _switches(thread)
    until_s = time.monotonic() + 0.5
    while time.monotonic() < until_s:
        pass
    # Looking every 0.02 s would be 25. A few are its way into the wait.
    assert _switches(thread) - before < 5


def test_a_full_frame_is_written_without_waiting_for_company(writer: SpoolWriter) -> None:
    began_s = time.monotonic()
    for number in range(20 * FRAME_ROWS_MAX):
        writer.append(item(number))
    _wait_until_written(writer, FRAME_ROWS_MAX)
    assert time.monotonic() - began_s < 20 * GATHER_S


def _open_paths() -> set[str]:
    paths = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor that lists them
            paths.add(str(link.readlink()))
    return paths


def test_a_resting_spool_has_no_thread_and_no_file_and_goes_on_with_the_next_row(writer: SpoolWriter) -> None:
    assert str(writer.path) in _open_paths()
    for number in range(3):
        writer.append(item(number))
        writer.rest()
        assert writer._thread is None
        assert str(writer.path) not in _open_paths()
        assert items_in(writer.path) == list(range(number + 1))


def test_a_row_that_cannot_be_kept_is_told_once_and_counted_each_time(writer: SpoolWriter) -> None:
    spoilt = EventRow(0, -1, -1, -1, "mark", 0, None, "", {"value": object()})  # type: ignore[dict-item]
    writer.append(item(0))
    writer.append(spoilt)
    with pytest.warns(RecordingWarning, match=r"a row of .*0001\.spool was left out"):
        writer.flush()
    for number in (1, 2):  # a second warning would be an error here
        writer.append(item(number))
        writer.append(spoilt)
        writer.flush()
    contents = decode_spool(writer.path.read_bytes())
    assert [row[0] for row in contents.rows] == ["item", "gap"] * 3
    assert [row[1] for row in contents.rows if row[0] == "gap"] == [1, 1, 1]


def test_a_folder_that_goes_away_stops_the_recording_and_not_the_work(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "0001.spool")
    writer.append(item(0))
    writer.rest()
    writer.path.unlink()
    writer.append(item(1))
    with pytest.warns(RecordingWarning, match=r"0001\.spool stopped: No such file"):
        writer.rest()
    writer.append(item(2))
    writer.rest()  # a second warning would be an error here
    assert not writer.path.exists()


# Other processes ------------------------------------------------------------------------------------------------------


def run_script(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], text=True, capture_output=True, timeout=60, check=True, **options
    )


WRITE_AND_HANG = """
import sys
from pathlib import Path
from coeval.recording._rows import ItemRow
from coeval.recording._spool import SpoolWriter

writer = SpoolWriter(Path(sys.argv[1]))
for number in range(12_345):
    writer.append(ItemRow(0, 0, number, 0, 0))
writer.flush()
print("flushed", flush=True)
while True:
    writer.append(ItemRow(0, 0, -1, 0, 0))
"""


def test_a_killed_process_loses_no_flushed_row(tmp_path: Path) -> None:
    path = tmp_path / "0001.spool"
    with subprocess.Popen([sys.executable, "-c", WRITE_AND_HANG, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"flushed\n"
        process.send_signal(signal.SIGKILL)
    contents = decode_spool(path.read_bytes())
    assert [row[3] for row in contents.rows[:12_345]] == list(range(12_345))
    assert {row[3] for row in contents.rows[12_345:]} <= {-1}
    assert [damage.kind for damage in contents.damages] in ([], ["tail"])


FORK = """
import os, sys, threading
from pathlib import Path
from coeval.recording._rows import ItemRow
from coeval.recording._spool import SpoolWriter

writer = SpoolWriter(Path(sys.argv[1]))
writer.append(ItemRow(0, 0, 0, 0, 0))  # waits when the fork comes: the child must not write it as well
held, forked = threading.Event(), threading.Event()

def hold_the_locks():
    with writer._writing, writer._changed:
        held.set()
        forked.wait()

thread = threading.Thread(target=hold_the_locks)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    for number in range(10_000):
        writer.append(ItemRow(0, 0, -1, 0, 0))
    writer.flush()
    writer.rest()
    os._exit(0 if writer._file is None and threading.active_count() == 1 else 1)
forked.set()
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
writer.append(ItemRow(0, 0, 1, 0, 0))
writer.rest()
"""


def test_a_forked_child_writes_nothing_and_does_not_hang_on_a_held_lock(tmp_path: Path) -> None:
    # Python 3.12 and later warn of forking with threads; that is what is tested.
    run_script(f"import warnings; warnings.simplefilter('ignore')\n{FORK}", str(tmp_path / "0001.spool"))
    assert items_in(tmp_path / "0001.spool") == [0, 1]


AT_EXIT = """
import atexit, sys
from pathlib import Path
from coeval.recording._rows import ItemRow
from coeval.recording._spool import SpoolWriter

writer = SpoolWriter(Path(sys.argv[1]))

@atexit.register
def last_rows():
    for number in range(2000):
        writer.append(ItemRow(0, 0, number, 0, 0))
    writer.rest()
"""


def test_rows_can_be_appended_while_the_interpreter_ends(tmp_path: Path) -> None:
    assert run_script(AT_EXIT, str(tmp_path / "0001.spool")).stderr == ""
    assert items_in(tmp_path / "0001.spool") == list(range(2000))


# Argument 2: the largest file that this process may write, in bytes, or 0.
FILL_THE_DISK = """
import resource, sys, warnings
from pathlib import Path
from coeval.errors import RecordingWarning
from coeval.recording._rows import ItemRow
from coeval.recording._spool import SpoolWriter

if limit := int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    writer = SpoolWriter(Path(sys.argv[1]))
    for number in range(30_000):
        writer.append(ItemRow(0, 0, number, 0, 0))
        if number == 20_000:
            writer.flush()
    writer.flush()
    writer.rest()
for warning in caught:
    print(warning.category.__name__, warning.message)
"""

TMPFS_BYTES = 256 << 10


def _mount(folder: Path) -> bool:
    options = ["-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(folder)]
    return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0


def _may_mount() -> bool:
    """Only root may fill a small disk of its own, and not in every container; others fill only the file-size limit."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        if not _mount(Path(folder)):
            return False
        subprocess.run(["umount", folder], check=True)
    return True


@pytest.fixture(params=["file size limit", *(["full file system"] if _may_mount() else [])])
def full_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, int, str]]:
    """A path, the limit to set, and the error that is to come."""
    if request.param == "file size limit":
        yield tmp_path / "0001.spool", 200_000, "File too large"
        return
    assert _mount(tmp_path)
    try:
        yield tmp_path / "0001.spool", 0, "No space left on device"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_stops_the_recording_with_one_warning_and_an_exact_gap(full_disk: tuple[Path, int, str]) -> None:
    path, limit, error = full_disk
    lines = run_script(FILL_THE_DISK, str(path), str(limit)).stdout.splitlines()
    [line] = lines
    assert line.startswith(f"RecordingWarning the recording in {path} stopped: {error} (errno ")
    contents = decode_spool(path.read_bytes())
    assert contents.damages == ()
    *kept, gap = contents.rows
    assert [row[3] for row in kept] == list(range(len(kept)))
    assert 0 < len(kept) < 30_000
    assert gap == ["gap", 30_000 - len(kept), gap[2]]
    assert error in gap[2]


FILL_TO_THE_BRIM = """
import resource, sys, warnings
from pathlib import Path
from coeval.recording._rows import ItemRow
from coeval.recording._spool import SpoolWriter

warnings.simplefilter("ignore")
writer = SpoolWriter(Path(sys.argv[1]))
writer.append(ItemRow(0, 0, 0, 0, 0))
writer.flush()
limit = writer.path.stat().st_size + 40  # some of the next frame, and less than a gap
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for number in range(1, 100):
    writer.append(ItemRow(0, 0, number, 0, 0))
writer.rest()
"""


def test_a_disk_too_full_even_for_the_gap_leaves_whole_frames(tmp_path: Path) -> None:
    run_script(FILL_TO_THE_BRIM, str(tmp_path / "0001.spool"))
    assert items_in(tmp_path / "0001.spool") == [0]


# Rows of this and that length in frames of one row each, under every limit from the first frame on.
FILL_TO_EVERY_LIMIT = """
import resource, sys, warnings
from pathlib import Path
from coeval.recording._rows import ItemRow
from coeval.recording._spool import SpoolWriter

warnings.simplefilter("ignore")
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in range(*map(int, sys.argv[2:])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    writer = SpoolWriter(Path(sys.argv[1], f"{limit}.spool"))
    for number in range(12):
        writer.append(ItemRow(0, 0, number, 0, 0))
        writer.flush()
    writer.rest()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


def test_the_last_frames_make_room_for_the_count_of_what_is_lost(tmp_path: Path) -> None:
    first_frame = len(encode_header()) + len(encode_frame(b'[["item",0,0,0,0,0]]', 0))
    gap_frame = len(encode_frame(b'[["gap",12,"the disk took no more: File too large (errno 27)"]]', 0))
    limits = range(first_frame + gap_frame, first_frame + 5 * gap_frame)
    run_script(FILL_TO_EVERY_LIMIT, str(tmp_path), str(limits.start), str(limits.stop))
    kept_counts = []
    for limit in limits:
        contents = decode_spool((tmp_path / f"{limit}.spool").read_bytes())
        assert contents.damages == ()
        kept = [row[3] for row in contents.rows if row[0] == "item"]
        assert kept == list(range(len(kept)))
        gaps = [row[:2] for row in contents.rows[len(kept) :]]
        assert gaps == ([["gap", 12 - len(kept)]] if len(kept) < 12 else [])
        kept_counts.append(len(kept))
    assert kept_counts == sorted(kept_counts)
    assert kept_counts[0] == 1
