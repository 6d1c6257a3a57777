"""The reader contract: what every reader of a format does with good files and with broken ones."""

from __future__ import annotations

import bz2
import difflib
import gzip
import json
import lzma
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from coeval.errors import WrongTable
from coeval.testing._gap import Gap, expected_to_fail
from coeval.timeline.readers._input import head_of
from coeval.timeline.readers._reader import NO_READING, SourceSettings, Tally
from coeval.timeline.readers._registry import detected, reader_named
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow

# Set it to have golden files' events written anew.
UPDATE = "COEVAL_UPDATE_GOLDEN"

_ONE_PART = 1 << 60
_CUTS_MAX = 150


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    # The smallest blocks, as nothing of a block that was cut can be read.
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lzma.compress,
    "zst": _zstd,
}


@dataclass(frozen=True)
class ReadEvents:
    """
    All that a reader made of a file.

    Attributes:
        events: by line or row from 1: raw_ns, resolution_ns, end_raw_ns, fold_ns, clock, is_assumed, payload.
        aside: what could not be read.
        problems: what kept it from reading all.
    """

    events: dict[int, dict[str, Any]]
    aside: list[SetAsideRow]
    problems: list[str]

    def without_lines(self) -> list[dict[str, Any]]:
        """The events in their order."""
        return [self.events[line] for line in sorted(self.events)]


def read_events(
    reader: str,
    path: Path,
    settings: SourceSettings,
    *,
    source: str = "source",
    size: int = _ONE_PART,
    wanted: Collection[str] | None = None,
) -> ReadEvents:
    """
    Read a file whole, part by part, as a merge does; and check that read = events + set aside.

    Args:
        size: of a part, in bytes.
        wanted: columns of the payload; None: all.
    """
    by_name = reader_named(reader)
    events: dict[int, dict[str, Any]] = {}
    aside: list[SetAsideRow] = []
    problems: list[str] = []
    lines = 0
    for part in by_name.parts(source, str(path), settings, size):
        mine: list[SetAsideRow] = []
        tally = Tally(SetAside(mine.append))
        count = 0
        for batch in by_name.batches(part, tally, wanted):
            count += len(batch)
            for number, event in zip(batch.lines.tolist(), _events_of(batch), strict=True):
                line = lines + number + 1
                assert line not in events, f"line {line} is given twice"
                events[line] = event
        assert tally.read == count + len(tally.aside) == count + len(mine), (tally.read, count, mine)
        aside += [row._replace(number=row.number + lines) for row in mine]
        problems += tally.problems
        lines += tally.lines
    assert all(line <= lines for line in events), (lines, max(events, default=0))
    return ReadEvents(events, aside, problems)


def _events_of(batch: Any) -> list[dict[str, Any]]:
    count = len(batch)
    payload = batch.payload.to_pylist() if batch.payload.num_columns else [{}] * count
    ends = np.full(count, NO_READING) if batch.end_raw_ns is None else batch.end_raw_ns
    folds = np.zeros(count, np.int64) if batch.fold_ns is None else batch.fold_ns
    clocks = [None] * count if batch.clocks is None else batch.clocks.to_pylist()
    assert len(ends) == len(folds) == len(clocks) == len(payload) == len(batch.lines) == count
    return [
        {
            "raw_ns": int(batch.raw_ns[row]),
            "resolution_ns": batch.resolution_ns,
            "end_raw_ns": None if ends[row] == NO_READING else int(ends[row]),
            "fold_ns": int(folds[row]),
            "clock": clocks[row],
            "is_assumed": batch.is_assumed,
            "payload": payload[row],
        }
        for row in range(count)
    ]


class ReaderContract:
    """
    What every reader does, as a pytest class. Name the reader in a subclass whose name starts with `Test`, and say how
    a good record is written.

    Attributes:
        reader: its name.
        settings: what is said of the source.
        header: what a file begins with, such as a line of column names.
        bad_record: a line that is no record, though it stands where one should; without a line end.
        golden: a file of ours; what it gives is kept beside it, in a file that ends in `.expected.jsonl`.
        gaps: behaviours that the format cannot have, by the name of their test. Each still runs, and is expected to
            fail.

    Raises:
        ValueError: a gap names no behaviour (when the class is made).
    """

    reader: ClassVar[str]
    settings: ClassVar[SourceSettings] = SourceSettings()
    header: ClassVar[bytes] = b""
    bad_record: ClassVar[bytes]
    golden: ClassVar[Path]
    gaps: ClassVar[Mapping[str, Gap]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = [name for name in dir(ReaderContract) if name.startswith("test_")]
        for name, gap in cls.gaps.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{cls.__name__}.gaps: {name!r} is no behaviour of the reader contract.{meant}")
            setattr(cls, name, expected_to_fail(getattr(ReaderContract, name), gap))

    def record(self, number: int, message: bytes) -> bytes:
        """
        A good record: a line without its end.

        Args:
            number: its stamp is so many seconds after some moment of the subject's choice.
            message: stands in it as it is, but for quotes where the format wants them.

        Raises:
            NotImplementedError: the subject does not say how; each has its own.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not say how a good record of {self.reader!r} is written; "
            "give it a method record(number, message) that returns one line as bytes, without its end"
        )

    def content(self, records: Sequence[bytes], line_ends: Sequence[bytes] = (b"\n",)) -> bytes:
        """A file of these records; override it for a format that is not made of lines."""
        lines = [record + line_ends[number % len(line_ends)] for number, record in enumerate(records)]
        return self.header + b"".join(lines)

    def records(self, count: int) -> list[bytes]:
        """So many good ones, of different length."""
        return [self.record(number, b"message %d%s" % (number, b"x" * (number * 7 % 31))) for number in range(count)]

    def read(self, path: Path, **options: Any) -> ReadEvents:
        """Read a file as the subject's."""
        return read_events(self.reader, path, self.settings, **options)

    def test_golden_file_gives_the_events_that_it_always_gave(self) -> None:
        read = self.read(self.golden)
        told = [{"line": line, **read.events[line]} for line in sorted(read.events)]
        told += [{"line": row.number, "aside": row.reason} for row in read.aside]
        expected = self.golden.with_name(self.golden.name + ".expected.jsonl")
        if os.environ.get(UPDATE):
            expected.write_text("".join(json.dumps(line, default=str) + "\n" for line in told))
        kept = [json.loads(line) for line in expected.read_text().splitlines()]
        assert json.loads(json.dumps(told, default=str)) == kept, f"if that is right, run it once with {UPDATE}=1"

    def test_format_is_told_by_how_the_file_begins(self) -> None:
        assert detected(head_of(str(self.golden))).name == self.reader

    def test_format_is_told_by_a_few_records(self, tmp_path: Path) -> None:
        path = self._file(tmp_path, self.content(self.records(3)))
        assert detected(head_of(str(path))).name == self.reader

    def test_every_record_is_an_event_with_its_message_and_its_second(self, tmp_path: Path) -> None:
        path = self._file(tmp_path, self.content(self.records(500)))
        events = self.read(path).without_lines()
        assert len(events) == 500
        begin = events[0]["raw_ns"]
        for number, event in enumerate(events):
            assert event["raw_ns"] - begin == number * 10**9
            assert any(f"message {number}" in str(value) for value in event["payload"].values()), event

    @pytest.mark.parametrize("kind", sorted(_PACKERS))
    def test_compressed_file_gives_the_same(self, tmp_path: Path, kind: str) -> None:
        content = self.content(self.records(300))
        plain = self.read(self._file(tmp_path, content))
        assert self.read(self._file(tmp_path, _PACKERS[kind](content), f"packed.{kind}")) == plain

    @pytest.mark.parametrize("kind", sorted(_PACKERS))
    def test_compressed_file_that_was_cut_gives_what_it_has_and_says_so(self, tmp_path: Path, kind: str) -> None:
        content = self.content(self.records(6_000))
        whole = self.read(self._file(tmp_path, content), wanted=())
        packed = _PACKERS[kind](content)
        read = self.read(self._file(tmp_path, packed[: len(packed) * 3 // 4], f"packed.{kind}"), wanted=())
        assert read.problems
        assert 0 < len(read.events) < 6_000
        assert read.events == {line: whole.events[line] for line in read.events}
        assert not read.aside

    def test_parts_of_any_size_give_what_one_part_gives(self, tmp_path: Path) -> None:
        records = self.records(60)
        records[20:20] = [self.bad_record]
        path = self._file(tmp_path, self.content(records, (b"\n", b"\r\n")))
        whole = self.read(path)
        for size in (40, 57, 64, 100, 333, 1000, 4096):
            assert self.read(path, size=size) == whole, f"parts of {size} bytes"

    def test_only_wanted_columns_are_given_and_the_stamps_are_the_same(self, tmp_path: Path) -> None:
        path = self._file(tmp_path, self.content(self.records(50)))
        whole = self.read(path)
        names = list(next(iter(whole.events.values()))["payload"])
        for wanted in ([], names[:1], names[-1:], ["no such column"]):
            read = self.read(path, wanted=wanted)
            assert read.events == {
                line: {**event, "payload": {name: event["payload"][name] for name in names if name in wanted}}
                for line, event in whole.events.items()
            }

    def test_file_cut_at_any_byte_gives_every_whole_record(self, tmp_path: Path) -> None:
        records = self.records(12)
        content = self.content(records)
        whole = self.read(self._file(tmp_path, content)).without_lines()
        ends = [len(self.content(records[:count])) for count in range(len(records) + 1)]
        for cut in range(len(self.header), len(content), max(1, len(content) // _CUTS_MAX)):
            read = self.read(self._file(tmp_path, content[:cut]))
            count = max(0, sum(end <= cut for end in ends) - 1)
            events = read.without_lines()
            assert events[: max(0, count - 1)] == whole[: max(0, count - 1)], f"cut at byte {cut}"
            # What is left of the next line may look like one that goes on with the last.
            assert [event["raw_ns"] for event in events[:count]] == [event["raw_ns"] for event in whole[:count]]
            assert len(read.events) + len(read.aside) <= count + 1

    def test_last_record_needs_no_line_end(self, tmp_path: Path) -> None:
        content = self.content(self.records(5))
        assert self.read(self._file(tmp_path, content.rstrip(b"\n"))) == self.read(self._file(tmp_path, content, "b"))

    def test_mixed_line_ends_make_no_difference(self, tmp_path: Path) -> None:
        records = self.records(40)
        mixed = self._file(tmp_path, self.content(records, (b"\n", b"\r\n", b"\r\n")), "mixed")
        assert self.read(mixed) == self.read(self._file(tmp_path, self.content(records)))

    def test_blank_lines_are_counted_and_no_records(self, tmp_path: Path) -> None:
        records = self.records(6)
        blank = self._file(tmp_path, self.content(records, (b"\n", b"\n\n", b"\r\n\r\n")), "blank")
        read = self.read(blank)
        assert read.without_lines() == self.read(self._file(tmp_path, self.content(records))).without_lines()
        first = min(read.events)
        assert [line - first for line in sorted(read.events)] == [0, 1, 3, 5, 6, 8]

    @pytest.mark.parametrize(
        "message",
        [b"caf\xe9 \xff\xfe", b"a\x00b\x00", b"\xf0\x9f\x98\x80 \xe2\x82", b"z" * (1 << 20)],
        ids=["wrong encoding", "NUL bytes", "half a character", "1 MB"],
    )
    def test_odd_record_harms_no_other(self, tmp_path: Path, message: bytes) -> None:
        records = self.records(40)
        whole = self.read(self._file(tmp_path, self.content(records))).without_lines()
        records[17] = self.record(17, message)
        read = self.read(self._file(tmp_path, self.content(records)))
        events = read.without_lines()
        assert events[:17] == whole[:17]
        assert events[-22:] == whole[-22:]
        assert len(events) + len(read.aside) == 40

    def test_line_of_a_megabyte_is_read_whole(self, tmp_path: Path) -> None:
        records = self.records(40)
        records[17] = self.record(17, b"z" * (1 << 20))
        events = self.read(self._file(tmp_path, self.content(records))).without_lines()
        assert max(len(str(value)) for value in events[17]["payload"].values()) >= 1 << 20

    def test_bad_record_is_set_aside_with_its_file_and_line_and_all_others_are_read(self, tmp_path: Path) -> None:
        records = self.records(40)
        whole = self.read(self._file(tmp_path, self.content(records))).without_lines()
        records[17:17] = [self.bad_record]
        read = self.read(self._file(tmp_path, self.content(records)), source="web1/app.log")
        assert read.without_lines() == [
            {**event, "clock": event["clock"] and event["clock"].replace("source", "web1/app.log")} for event in whole
        ]
        [row] = read.aside
        line = self.content(records[:17]).count(b"\n") + 1
        assert (row.source, row.number) == ("web1/app.log", line)
        assert row.reason
        assert any(str(value) in self.bad_record.decode(errors="replace") for value in row.values.values() if value)

    def test_empty_file_has_no_events(self, tmp_path: Path) -> None:
        path = self._file(tmp_path, b"")
        try:
            read = self.read(path)
        except WrongTable as error:
            if "empty" not in str(error):
                raise
        else:
            assert read == ReadEvents({}, [], [])

    def test_file_that_is_not_there_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            self.read(tmp_path / "nowhere.log")

    def _file(self, folder: Path, content: bytes, name: str = "file") -> Path:
        path = folder / name
        path.write_bytes(content)
        return path
