"""The reader contract, on the readers that coeval brings."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from coeval.testing import Gap, ReaderContract
from coeval.timeline.readers import SourceSettings
from coeval.timeline.readers._registry import reader_names

DATA = Path(__file__).parent.parent / "data" / "readers"
BEGIN = datetime(2026, 11, 5, 23, 59, 30, tzinfo=UTC)
BERLIN = SourceSettings(zone="Europe/Berlin")


def moment(number: int, form: str) -> bytes:
    return (BEGIN + timedelta(seconds=number)).strftime(form).encode()


class TestIso(ReaderContract):
    reader = "iso"
    settings = BERLIN
    golden = DATA / "iso.log"
    bad_record = b"2026-02-30T12:34:56.000Z no such day"

    def record(self, number: int, message: bytes) -> bytes:
        form = ["%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%d %H:%M:%S,000000+00:00", "INFO [%Y-%m-%dT%H:%M:%S.000Z"][number % 3]
        return moment(number, form) + b" WARN " + message


class TestSyslog(ReaderContract):
    reader = "syslog"
    settings = SourceSettings(zone="UTC", year=2026)
    golden = DATA / "syslog.log"
    bad_record = b"Nov  5 25:00:00 web1 app[1]: no such hour"

    def record(self, number: int, message: bytes) -> bytes:
        stamp = moment(number, "%b %d %H:%M:%S").replace(b" 0", b"  ", 1)
        return stamp + b" web%d app[%d]: " % (number % 3, number) + message


class TestRfc5424(ReaderContract):
    reader = "rfc5424"
    golden = DATA / "rfc5424.log"
    bad_record = b"<34>1 - web1 app - - - no time"

    def record(self, number: int, message: bytes) -> bytes:
        return b"<34>1 " + moment(number, "%Y-%m-%dT%H:%M:%S.000Z") + b' web1 app 17 - [a b="c"] ' + message


class TestClf(ReaderContract):
    reader = "clf"
    golden = DATA / "clf.log"
    bad_record = b'10.0.0.1 - - [05/Nov/2026 12:34:56] "GET / HTTP/1.1" 200 1'

    def record(self, number: int, message: bytes) -> bytes:
        stamp = moment(number, "[%d/%b/%Y:%H:%M:%S +0000]")
        return b"10.0.0.%d - - " % number + stamp + b' "GET /%d HTTP/1.1" 200 17 "-" "' % number + message + b'"'


class TestNginxError(ReaderContract):
    reader = "nginx-error"
    settings = BERLIN
    golden = DATA / "nginx-error.log"
    bad_record = b"nginx: [emerg] bind() to 0.0.0.0:80 failed"

    def record(self, number: int, message: bytes) -> bytes:
        return moment(number, "%Y/%m/%d %H:%M:%S") + b" [error] 8#9: *%d " % number + message + b", client: 10.0.0.1"


class TestPythonLogging(ReaderContract):
    reader = "python-logging"
    settings = BERLIN
    golden = DATA / "python-logging.log"
    bad_record = b"2026-11-05 24:00:00,000 - shop - INFO - no such hour"

    def record(self, number: int, message: bytes) -> bytes:
        return moment(number, "%Y-%m-%d %H:%M:%S,000") + b" - shop.cart%d - INFO - " % number + message


class TestLog4j(ReaderContract):
    reader = "log4j"
    settings = BERLIN
    golden = DATA / "log4j.log"
    bad_record = b"2026-11-31 12:00:00,000 [main] INFO org.shop.Cart - no such day"

    def record(self, number: int, message: bytes) -> bytes:
        return moment(number, "%Y-%m-%d %H:%M:%S,000") + b" [thread-%d] INFO  org.shop.Cart - " % number + message


class TestGo(ReaderContract):
    reader = "go"
    settings = BERLIN
    golden = DATA / "go.log"
    bad_record = b"2026/00/05 12:00:00.000000 main.go:1: no such month"

    def record(self, number: int, message: bytes) -> bytes:
        return moment(number, "%Y/%m/%d %H:%M:%S.000000") + b" server.go:%d: " % number + message


class TestPattern(ReaderContract):
    reader = "pattern"
    settings = SourceSettings(pattern=r"^\[(?P<time>[^|\]]*)\|(?P<host>\w+)\] (?P<message>.*)", clock_field="host")
    golden = DATA / "pattern.log"
    bad_record = b"[yesterday|web1] no time"
    gaps: ClassVar = {
        name: Gap("never", "only its owner knows the pattern")
        for name in ("test_format_is_told_by_how_the_file_begins", "test_format_is_told_by_a_few_records")
    }

    def record(self, number: int, message: bytes) -> bytes:
        return b"[%d|web%d] " % (BEGIN.timestamp() + number, number % 2) + message


class TestJsonLines(ReaderContract):
    reader = "jsonl"
    golden = DATA / "app.jsonl"
    bad_record = b'{"time": "2026-11-05T12:34:56Z", "message": "no end'

    def record(self, number: int, message: bytes) -> bytes:
        stamp = moment(number, "%Y-%m-%dT%H:%M:%S.000Z")
        return b'{"time": "%s", "level": "INFO", "message": "%s", "count": %d}' % (stamp, message, number)


class TestNestedJsonLines(ReaderContract):
    reader = "jsonl"
    settings = SourceSettings(clock_field="host")
    golden = DATA / "nested.jsonl"
    bad_record = b"[1793923200, 2]"

    def record(self, number: int, message: bytes) -> bytes:
        more = [b'{"a": 1}', b"[1, null]", b'"text"', b"2.5"][number % 4]
        fields = b'"host": "web%d", "message": "%s", "more": %s' % (number % 2, message, more)
        return b'{"ts": %d, %s}' % (BEGIN.timestamp() + number, fields)


class TestJournald(ReaderContract):
    reader = "journald"
    golden = DATA / "journald.json"
    bad_record = b'{"__REALTIME_TIMESTAMP": "yesterday", "_HOSTNAME": "web1", "MESSAGE": "no time"}'

    def record(self, number: int, message: bytes) -> bytes:
        stamp = int(BEGIN.timestamp() + number) * 1_000_000
        return b'{"__REALTIME_TIMESTAMP": "%d", "_HOSTNAME": "web1", "MESSAGE": "%s"}' % (stamp, message)


class TestCsv(ReaderContract):
    reader = "csv"
    golden = DATA / "table.csv"
    header = b"time,host,message,count\n"
    bad_record = b"2026-11-05T12:34:56Z,too few"

    def record(self, number: int, message: bytes) -> bytes:
        return moment(number, "%Y-%m-%dT%H:%M:%S.000Z") + b',web%d,"%s",%d' % (number % 3, message, number)


class TestOtlp(ReaderContract):
    reader = "otlp"
    golden = DATA / "otlp.jsonl"
    bad_record = b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "no time"}}]}]}]}'

    def record(self, number: int, message: bytes) -> bytes:
        return (
            b'{"resourceLogs": [{"resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "web1"}}]}, '
            b'"scopeLogs": [{"logRecords": [{"timeUnixNano": "%d", "body": {"stringValue": "%s"}}]}]}]}'
            % (int(BEGIN.timestamp() + number) * 10**9, message)
        )


class TestChrome(ReaderContract):
    reader = "chrome"
    golden = DATA / "viztracer.json"
    header = b'{"traceEvents": ['
    bad_record = b'{"ph": "X", "ts": 5, "name": "no comma" "pid": 1}'
    gaps: ClassVar = {
        "test_blank_lines_are_counted_and_no_records": Gap("never", "records are counted here, not lines"),
    }

    def record(self, number: int, message: bytes) -> bytes:
        return b'{"ph": "X", "ts": %d.125, "dur": 2, "pid": 1, "tid": 2, "name": "%s"}' % (number * 10**6, message)

    def content(self, records: Sequence[bytes], line_ends: Sequence[bytes] = (b"\n",)) -> bytes:
        ends = [line_ends[number % len(line_ends)] for number in range(len(records))]
        last = len(records) - 1
        lines = [
            record + (b"," if number < last else b"") + end
            for number, (record, end) in enumerate(zip(records, ends, strict=True))
        ]
        return self.header + b"".join(lines) + b"]}"


class TestShiviz(ReaderContract):
    reader = "shiviz"
    golden = DATA / "shiviz.log"
    bad_record = b"2026-11-05T12:34:56.000Z web1 has no vector clock"

    def record(self, number: int, message: bytes) -> bytes:
        stamp = moment(number, "%Y-%m-%dT%H:%M:%S.000Z")
        return stamp + b' web1 {"web1": %d, "db": %d} ' % (number + 1, number // 2) + message


ROWS = "its rows are no lines"
CUT = {
    "test_compressed_file_that_was_cut_gives_what_it_has_and_says_so": Gap("never", "nothing is known without its end")
}


class TableSubject(ReaderContract):
    """A format that is no text: records stand in the columns `time` and `message`; one without a time is a bad one."""

    bad_record = b"none no time"

    def __init_subclass__(cls, **options: Any) -> None:
        cls.gaps = {
            "test_file_cut_at_any_byte_gives_every_whole_record": Gap("never", "its columns stand at its end"),
            "test_blank_lines_are_counted_and_no_records": Gap("never", ROWS),
            **cls.gaps,
        }
        super().__init_subclass__(**options)

    def record(self, number: int, message: bytes) -> bytes:
        return b"%d " % (int(BEGIN.timestamp() + number) * 10**9) + message

    def columns(self, records: Sequence[bytes]) -> tuple[list[int | None], list[str] | list[bytes]]:
        parted = [record.partition(b" ") for record in records]
        times = [None if time == b"none" else int(time) for time, _, _ in parted]
        messages = [message for _, _, message in parted]
        try:
            return times, [message.decode() for message in messages]
        except UnicodeDecodeError:
            return times, messages

    def table(self, records: Sequence[bytes]) -> pa.Table:
        times, messages = self.columns(records)
        text = pa.binary() if any(isinstance(message, bytes) for message in messages) else pa.string()
        return pa.table({"time": pa.array(times, pa.timestamp("ns", "UTC")), "message": pa.array(messages, text)})

    def test_odd_record_harms_no_other(self, tmp_path: Path, message: bytes = b"caf\xe9 \x00 \xff\xfe") -> None:
        records = self.records(40)
        whole = self.read(self._file(tmp_path, self.content(records))).without_lines()
        records[17] = self.record(17, message)
        read = self.read(self._file(tmp_path, self.content(records)))
        assert [event["raw_ns"] for event in read.without_lines()[-22:]] == [event["raw_ns"] for event in whole[-22:]]
        assert len(read.events) + len(read.aside) == 40

    def test_bad_record_is_set_aside_with_its_file_and_line_and_all_others_are_read(self, tmp_path: Path) -> None:
        records = self.records(40)
        whole = self.read(self._file(tmp_path, self.content(records))).without_lines()
        records[17:17] = [self.bad_record]
        read = self.read(self._file(tmp_path, self.content(records)), source="db/table")
        assert read.without_lines() == whole
        [row] = read.aside
        assert (row.source, row.unit, row.number, row.reason) == ("db/table", "row", 18, "time is missing")
        assert row.values["message"] == "no time"


class TestParquet(TableSubject):
    reader = "parquet"
    golden = DATA / "table.parquet"
    gaps: ClassVar = CUT

    def content(self, records: Sequence[bytes], line_ends: Sequence[bytes] = (b"\n",)) -> bytes:
        sink = io.BytesIO()
        pq.write_table(self.table(records), sink, row_group_size=7)
        return sink.getvalue()


class TestArrow(TableSubject):
    reader = "arrow"
    golden = DATA / "table.arrow"

    def content(self, records: Sequence[bytes], line_ends: Sequence[bytes] = (b"\n",)) -> bytes:
        sink = io.BytesIO()
        table = self.table(records)
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        return sink.getvalue()


class TestSqlite(TableSubject):
    reader = "sqlite"
    golden = DATA / "table.sqlite"
    gaps: ClassVar = CUT

    def content(self, records: Sequence[bytes], line_ends: Sequence[bytes] = (b"\n",)) -> bytes:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("create table events (time integer, message text)")
            rows = zip(*self.columns(records), strict=True)
            database.executemany("insert into events values (?, cast(? as text))", rows)
            database.commit()
            return database.serialize()


# A run is a folder; its reader has tests of its own.
WITHOUT_FILES = {"run"}


def test_every_reader_is_held_to_the_contract() -> None:
    held = {kind.reader for kind in all_kinds(ReaderContract) if hasattr(kind, "reader")}
    assert held == set(reader_names()) - WITHOUT_FILES


def all_kinds(kind: type[ReaderContract]) -> Iterator[type[ReaderContract]]:
    for below in kind.__subclasses__():
        yield below
        yield from all_kinds(below)
