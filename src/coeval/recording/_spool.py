"""
The spool: one append-only file of rows, written by one process, readable after any crash.

    header   8 bytes magic, u32 format version, u32 crc of both
    frame    4 bytes marker, u32 length, u32 crc, u64 number of the first row in this spool, payload
    frame    …

A payload is a JSON array of rows, each `[kind, field, …]`. All numbers are little-endian; the crc of a frame is over
its length, its first row's number and its payload. The marker holds bytes that UTF-8 never uses, so no payload has it:
after damage a reader goes on at the next one and loses one frame only, and the row numbers tell how many rows that was.

Rows are gathered for a moment and written by a thread of their own. While there is nothing to write it sleeps without a
time-out, and a spool that rests has neither thread nor open file.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

from coeval.errors import RecordingWarning
from coeval.recording._raw_rows import RawRow, raw_row
from coeval.recording._rows import FORMAT, GapRow, Row

MAGIC = b"coeval\xff\n"
_HEADER = struct.Struct("<8sII")

MARKER = b"\xf5\xff\xc0\xfe"
_FRAME_HEAD = struct.Struct("<4sIIQ")
_CHECKED_HEAD = struct.Struct("<IQ")

# Rows in one frame: what one flipped byte can cost. More: encoding them keeps the interpreter for longer than 0.1 ms
# at a time, and the caller's receive stamps wait for that. Fewer: a write for every few rows.
FRAME_ROWS_MAX = 100

# The largest payload. Rows are a few hundred bytes; this is only there so that one monster cannot ask for gigabytes.
FRAME_BYTES_MAX = 1 << 24

# Why rows are missing that were handed over and that the format cannot hold.
UNKEPT = "rows too large for a frame, or holding what JSON has no word for"

# How long a row waits for company before it is written; a killed driver loses at most the rows of this time.
GATHER_S = 0.5

# How many of the last frames may be given up for the count of lost rows, which is at most 150 bytes long; a frame of
# one row is 40 bytes or more.
LAST_FRAMES = 8

# What a full disk, a full quota and the limit on a file's size answer.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Rows that may wait for a slow disk. Above, whoever appends writes them out himself, and so waits for the disk.
WAITING_ROWS_MAX = 50_000


# What the bytes mean --------------------------------------------------------------------------------------------------


class Damage(NamedTuple):
    """
    A stretch of a spool that gave no rows.

    Attributes:
        kind: "header" (the file's own, nothing is lost by it), "frame" (bytes changed), "missing" (frames are gone,
            and only row numbers tell) or "tail" (the file ends within a frame: its writer was killed, the disk full).
        frame: number of the first frame it touches, from 1; 0 for the header.
        begin, end: which bytes, [begin, end).
        rows_before: how many rows were read from this spool before it.
        row_count: how many rows were in it; None if nothing tells.
    """

    kind: Literal["header", "frame", "missing", "tail"]
    frame: int
    begin: int
    end: int
    rows_before: int
    row_count: int | None


class SpoolContents(NamedTuple):
    """
    What a spool holds.

    Attributes:
        format: its version; rows of one above `FORMAT` are not read. 0: these bytes are no spool at all.
        rows: as JSON gives them, unchecked, in the order of their writing.
        damages: in order of their place.
    """

    format: int
    rows: list[Any]
    damages: tuple[Damage, ...]


def encode_header(version: int = FORMAT) -> bytes:
    """The first bytes of a spool."""
    return _HEADER.pack(MAGIC, version, crc32(struct.pack("<8sI", MAGIC, version)))


def encode_frame(payload: bytes, first_row: int) -> bytes:
    """One frame around a payload."""
    length = len(payload)
    return _FRAME_HEAD.pack(MARKER, length, _frame_crc(length, first_row, payload), first_row) + payload


def _listed(value: object) -> list[int]:
    """Call numbers of a map's chunk are kept as a range."""
    if isinstance(value, range):
        return list(value)
    raise TypeError(f"{type(value).__qualname__} has no word in JSON")


def encode_rows(rows: Sequence[Row | RawRow]) -> Iterator[tuple[int, bytes | None]]:
    """
    Turn rows into payloads; yield how many rows and the payload that holds them, in order.

    One row that cannot be kept (too large, or holding what JSON has no word for) gives None and spoils no other.
    """
    if not rows:
        return
    try:
        text = json.dumps(
            [*map(raw_row, rows)],
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
            default=_listed,
        )
        # File names that are no UTF-8 have lone surrogates in Python; they must come back as they were.
        payload = text.encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError):
        payload = None
    if payload is not None and len(payload) <= FRAME_BYTES_MAX:
        yield len(rows), payload
    elif len(rows) == 1:
        yield 1, None
    else:
        half = len(rows) // 2
        yield from encode_rows(rows[:half])
        yield from encode_rows(rows[half:])


def decode_spool(data: bytes) -> SpoolContents:
    """Read a spool; never raises, whatever the bytes are."""
    if len(data) < _HEADER.size and encode_header().startswith(data):
        return SpoolContents(FORMAT, [], (Damage("tail", 1, len(data), len(data), 0, None),))
    rows: list[Any] = []
    damages: list[Damage] = []
    version = _header_version(data)
    if version is not None:
        position = _HEADER.size
        if version > FORMAT:
            return SpoolContents(version, rows, ())
    else:
        position = _next_frame(data, 0)
        if position == len(data):
            return SpoolContents(0, rows, ())
        damages.append(Damage("header", 0, 0, min(position, _HEADER.size), 0, 0))
    frame_number, rows_expected = 1, 0
    while position < len(data):
        frame = _frame_at(data, position)
        if frame is not None:
            first_row, end, frame_rows = frame
            _note_missing(damages, first_row - rows_expected, frame_number, position, len(rows))
            rows += frame_rows
            rows_expected = first_row + len(frame_rows)
        else:
            end = _next_frame(data, position + 1)
            is_tail = end == len(data) and _is_cut(data, position)
            kind: Literal["tail", "frame"] = "tail" if is_tail else "frame"
            damages.append(Damage(kind, frame_number, position, end, len(rows), None))
        frame_number += 1
        position = end
    return SpoolContents(FORMAT, rows, tuple(damages))


def _note_missing(damages: list[Damage], missing: int, frame: int, position: int, rows_before: int) -> None:
    """The next frame's row number tells how many rows were in the damage just before it, or that frames are gone."""
    if damages and damages[-1].kind == "frame" and damages[-1].end == position:
        damages[-1] = damages[-1]._replace(row_count=max(missing, 0))
    elif missing > 0:
        damages.append(Damage("missing", frame, position, position, rows_before, missing))


def _frame_crc(length: int, first_row: int, payload: bytes | memoryview) -> int:
    return crc32(payload, crc32(_CHECKED_HEAD.pack(length, first_row)))


def _header_version(data: bytes) -> int | None:
    if len(data) < _HEADER.size:
        return None
    magic, version, crc = _HEADER.unpack_from(data)
    return int(version) if magic == MAGIC and crc == crc32(data[:12]) else None


def _frame_at(data: bytes, position: int) -> tuple[int, int, list[Any]] | None:
    """First row's number, end, and rows of the frame that begins here; None if there is no sound one."""
    if not data.startswith(MARKER, position) or position + _FRAME_HEAD.size > len(data):
        return None
    _, length, crc, first_row = _FRAME_HEAD.unpack_from(data, position)
    begin = position + _FRAME_HEAD.size
    end = begin + length
    if end > len(data):
        return None
    payload = data[begin:end]
    if _frame_crc(length, first_row, payload) != crc:
        return None
    try:
        rows = json.loads(payload.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    return (first_row, end, rows) if isinstance(rows, list) else None


def _next_frame(data: bytes, position: int) -> int:
    """Where the next sound frame begins; the end of the data if there is none."""
    while (position := data.find(MARKER, position)) >= 0:
        if _frame_at(data, position) is not None:
            return position
        position += 1
    return len(data)


def _is_cut(data: bytes, position: int) -> bool:
    """Is what stands here a frame whose end is not there, rather than one whose bytes were changed?"""
    rest = memoryview(data)[position:]
    if len(rest) < len(MARKER):
        return MARKER.startswith(rest)
    if not data.startswith(MARKER, position):
        return False
    if len(rest) < _FRAME_HEAD.size:
        return True
    _, length, crc, first_row = _FRAME_HEAD.unpack_from(rest)
    payload = rest[_FRAME_HEAD.size :]
    # All of the payload may be there, and only the length that its head tells be changed.
    return bool(length > len(payload) and _frame_crc(len(payload), first_row, payload) != crc)


# Writing --------------------------------------------------------------------------------------------------------------


class SpoolWriter:
    """
    Appends rows to a new spool file; safe from any thread.

    When the disk takes no more, writing stops for good with one `RecordingWarning`: the half-written frame is cut off,
    and a `GapRow` counts what is missing, the rows of a last frame that gave it its place included. Only a disk that
    has no place for it beside the first frame stays without. After a fork the child's copy writes nothing.

    Args:
        path: a file that does not exist yet.

    Raises:
        OSError: the file cannot be made (`FileExistsError` if it is there).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Re-entrant, as the garbage collector may run an executor's last rites in the middle of an append.
        self._changed = threading.Condition(threading.RLock())
        self._writing = threading.RLock()
        self._waiting: list[Row | RawRow] = []
        self._thread: threading.Thread | None = None
        self._is_draining = False
        self._end = 0  # of the last whole frame, in bytes
        self._last_frames: deque[tuple[int, int]] = deque(maxlen=LAST_FRAMES)  # (begin, rows), none of them the first
        self._rows_written = 0
        self._stop_reason = ""
        self._rows_lost = 0
        self._told_of_unkept = False
        self._untold: list[str] = []
        _writers.add(self)

    def append(self, row: Row | RawRow) -> None:
        """Take a row; it is in the file half a second later, or when `flush` returns."""
        with self._changed:
            if self._stop_reason:
                self._rows_lost += 1
                return
            self._waiting.append(row)
            count = len(self._waiting)
            if count == 1 or count == FRAME_ROWS_MAX:
                is_written_behind = self._wake_thread()
            else:
                is_written_behind = count < WAITING_ROWS_MAX
        if not is_written_behind:
            self._drain()

    def flush(self, *, sync: bool = False) -> None:
        """
        Write what waits. When this returns, a kill of this process loses nothing that was appended before.

        Args:
            sync: wait until the disk has it, so that a power failure loses nothing either.
        """
        self._drain()
        with self._writing:
            if sync and self._file is not None and not self._stop_reason:
                try:
                    os.fsync(self._file)
                except OSError as error:
                    self._stop(error)
                    self._write_gap()
        self._tell()

    def rest(self, *, sync: bool = False) -> None:
        """Write what waits, then hold neither thread nor file. The next row wakes both again."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.flush(sync=sync)
        with self._writing:
            if self._stop_reason:
                self._write_gap()
            if self._file is not None and not self._is_draining:
                os.close(self._file)
                self._file = None

    def _wake_thread(self) -> bool:
        """Have the thread look; False if there can be none any more. Called with the lock held."""
        if self._thread is not None:
            self._changed.notify_all()
            return True
        self._thread = threading.Thread(target=self._write_behind, name=f"coeval {self.path.name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down
            self._thread = None
            return False
        return True

    def _write_behind(self) -> None:
        this = threading.current_thread()
        try:
            while True:
                with self._changed:
                    while not self._waiting and self._thread is this:
                        self._changed.wait()
                    if self._thread is not this:
                        return
                    self._changed.wait_for(
                        lambda: len(self._waiting) >= FRAME_ROWS_MAX or self._thread is not this, GATHER_S
                    )
                self._drain()
                self._tell()
        finally:  # also where a filter makes the warning an error: the next row starts another thread
            with self._changed:
                if self._thread is this:
                    self._thread = None

    def _drain(self) -> None:
        with self._writing:
            if self._is_draining:  # the garbage collector brought us here from within the loop below, which goes on
                return
            self._is_draining = True
            try:
                while rows := self._take():
                    for begin in range(0, len(rows), FRAME_ROWS_MAX):
                        self._write_rows(rows[begin : begin + FRAME_ROWS_MAX])
                    if self._stop_reason:
                        self._write_gap()
            finally:
                self._is_draining = False

    def _take(self) -> list[Row | RawRow]:
        with self._changed:
            rows, self._waiting = self._waiting, []
            return rows

    def _write_rows(self, rows: Sequence[Row | RawRow]) -> None:
        written = unkept = 0
        for row_count, payload in encode_rows(rows):
            if payload is None:
                unkept += 1
            elif self._write_payload(payload, row_count):
                written += row_count
        if unkept and self._write_row(GapRow(unkept, UNKEPT)):
            written += unkept
            if not self._told_of_unkept:
                self._told_of_unkept = True
                self._untold.append(
                    f"a row of {self.path} was left out: it is larger than {FRAME_BYTES_MAX >> 20} MiB or holds what "
                    f"JSON cannot keep. The recording goes on and counts such rows."
                )
        with self._changed:
            self._rows_lost += len(rows) - written

    def _write_row(self, row: Row | RawRow) -> bool:
        [(row_count, payload)] = encode_rows([row])
        assert payload is not None
        return self._write_payload(payload, row_count)

    def _write_payload(self, payload: bytes, row_count: int) -> bool:
        if self._stop_reason:
            return False
        frame = encode_frame(payload, self._rows_written)
        begin = self._end
        try:
            self._append(frame if begin else encode_header() + frame)
        except OSError as error:
            self._stop(error)
            return False
        if begin:
            self._last_frames.append((begin, row_count))
        self._rows_written += row_count
        return True

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._end += len(data)

    def _stop(self, error: OSError) -> None:
        """The disk takes no more: write nothing from here on but the gap."""
        with self._changed:
            self._stop_reason = f"the disk took no more: {error.strerror} (errno {error.errno})"
        self._untold.append(
            f"the recording in {self.path} stopped: {error.strerror} (errno {error.errno}). The work goes on, and so "
            f"does what is kept in memory. Make room, or give the next run another place."
        )

    def _write_gap(self) -> None:
        """
        Cut off what is not whole, then count the lost rows in a last frame; again when more are lost.

        A spool whose end looks whole and is not would be worse than a few rows less: where the disk is full to the
        last bytes, the last frames are lost too, and counted.
        """
        if self._file is None:
            return
        end_of_rows = self._end
        while self._end:
            end = self._end
            [(_, payload)] = encode_rows([GapRow(self._rows_lost, self._stop_reason)])
            assert payload is not None
            frame = encode_frame(payload, self._rows_written)
            try:
                os.ftruncate(self._file, end)
                self._append(frame)
            except OSError as error:
                # Should this fail as well, readers find a frame that is cut off and say so.
                with suppress(OSError):
                    os.ftruncate(self._file, end)
                room_made = end_of_rows - end
                if error.errno not in NO_ROOM or room_made >= len(frame) or not self._last_frames:
                    return
                self._end, row_count = self._last_frames.pop()
                self._rows_written -= row_count
                with self._changed:
                    self._rows_lost += row_count
            else:
                self._end = end
                return

    def _tell(self) -> None:
        with self._changed:
            untold, self._untold = self._untold, []
        for sentence in untold:
            warnings.warn(sentence, RecordingWarning, stacklevel=3)

    def _stop_in_forked_child(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._thread, self._waiting, self._untold, self._end = None, None, [], [], 0
        self._changed = threading.Condition(threading.RLock())
        self._writing = threading.RLock()
        self._is_draining = False
        self._stop_reason = "this is a forked child; the spool is its parent's"


_writers: weakref.WeakSet[SpoolWriter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for writer in list(_writers):
        writer._stop_in_forked_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
