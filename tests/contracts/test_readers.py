"""The reader contract, on the readers that coeval brings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

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


def test_every_reader_is_held_to_the_contract() -> None:
    held = {kind.reader for kind in ReaderContract.__subclasses__()}
    assert held == set(reader_names())
