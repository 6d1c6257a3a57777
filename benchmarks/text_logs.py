"""
How fast text logs are read: lines of each format, once with nothing but their text and once with every field.

Every format has lines of its own kind, some megabytes that are written again and again until the size is reached; the
files lie in the page cache. Each is read in this process, one part, on one core; the best of three is said, in
megabytes a second by the wall clock and by processor, and events a second.

Run: python benchmarks/text_logs.py [MEGABYTES OF EACH] [FORMAT ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from coeval.timeline.readers import SourceSettings, Tally
from coeval.timeline.readers._registry import reader_named
from coeval.timeline.readers._set_aside import SetAside

MEGABYTES = 1000.0
BEGIN = datetime(2026, 11, 5, 12, tzinfo=UTC)
LINES = 20_000
ROUNDS = 3
SETTINGS = SourceSettings(zone="Europe/Berlin", year=2026)


class Lines(NamedTuple):
    """Lines of one format: the reader's name, and how line `number` is written at a time."""

    reader: str
    write: Callable[[int, datetime], str]


def _said(number: int) -> str:
    return f"request {number} handled in {number % 977} ms by user number {number * 7919 % 100_003}"


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def _comma(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S},{time.microsecond // 1000:03}"


def _trace(number: int, time: datetime) -> str:
    frames = "".join(f'  File "/app/module{frame}.py", line {number % 1000}, in pay\n' for frame in range(8))
    return f"{_iso(time)} ERROR request {number}\nTraceback (most recent call last):\n{frames}OSError: no"


def _clf(number: int, time: datetime) -> str:
    return (
        f"10.{number % 256}.{number // 7 % 256}.{number % 100} - user{number % 13} [{time:%d/%b/%Y:%H:%M:%S} +0100] "
        f'"GET /a/{number % 977}?q={number} HTTP/1.1" {200 + number % 5} {number % 5000} '
        f'"https://example.com/{number % 100}" "Mozilla/5.0 (X11; Linux x86_64)"'
    )


def _nginx_error(number: int, time: datetime) -> str:
    return (
        f'{time:%Y/%m/%d %H:%M:%S} [error] {number}#0: *{number} open() "/srv/{number % 977}" failed (2: No file), '
        f'client: 10.0.0.{number % 256}, server: example.com, request: "GET /{number} HTTP/1.1", host: "example.com"'
    )


KINDS: dict[str, Lines] = {
    "iso": Lines("iso", lambda n, t: f"{_iso(t)} INFO [worker-{n % 7}] shop.Cart: {_said(n)}"),
    "iso after a level": Lines("iso", lambda n, t: f"{('INFO', 'DEBUG')[n % 2]} {_iso(t)} {_said(n)}"),
    "iso with stack traces": Lines("iso", _trace),
    "python-logging": Lines("python-logging", lambda n, t: f"{_comma(t)} - shop.cart - INFO - {_said(n)}"),
    "log4j": Lines("log4j", lambda n, t: f"{_comma(t)} [main-{n % 7}] INFO  shop.Cart - {_said(n)}"),
    "go": Lines("go", lambda n, t: f"{t:%Y/%m/%d %H:%M:%S.%f} server.go:{n % 500}: {_said(n)}"),
    "syslog": Lines("syslog", lambda n, t: f"{t:%b} {t.day:2} {t:%H:%M:%S} web{n % 5} sshd[{n % 30_000}]: {_said(n)}"),
    "rfc5424": Lines("rfc5424", lambda n, t: f'<165>1 {_iso(t)} web{n % 5} shop {n} ID47 [a@32473 b="3"] {_said(n)}'),
    "clf": Lines("clf", _clf),
    "nginx-error": Lines("nginx-error", _nginx_error),
}


def write_log(path: Path, lines: Lines, size: int) -> int:
    """So many bytes of lines, and how many lines begin a record."""
    text = "".join(lines.write(number, BEGIN + timedelta(milliseconds=37 * number)) + "\n" for number in range(LINES))
    times = max(1, round(size / len(text)))
    with open(path, "wb") as file:
        for _ in range(times):
            file.write(text.encode())
    return times * LINES


def read_all(reader: str, path: Path, wanted: set[str] | None) -> int:
    """How many events there are; everything must be one."""
    by_name = reader_named(reader)
    [part] = by_name.parts("log", str(path), SETTINGS, 1 << 60)
    tally = Tally(SetAside())
    events = sum(len(batch) for batch in by_name.batches(part, tally, wanted))
    assert not tally.aside, tally.aside.examples
    return events


def main(arguments: list[str]) -> None:
    """Print one line for each format."""
    size = int(float(arguments[0] if arguments else MEGABYTES) * 1e6)
    # One core: Arrow would otherwise take more for some of its steps.
    pa.set_cpu_count(1)
    print(f"{'':<24}{'only the text':>30}{'every field':>30}")
    for kind in arguments[1:] or KINDS:
        lines = KINDS[kind]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "app.log"
            records = write_log(path, lines, size)
            megabytes = path.stat().st_size / 1e6
            told = ""
            for wanted in ({"text"}, None):
                best_s = best_cpu_s = float("inf")
                for _ in range(ROUNDS):
                    start_s, start_cpu_s = time.perf_counter(), time.process_time()
                    assert read_all(lines.reader, path, wanted) == records
                    best_s = min(best_s, time.perf_counter() - start_s)
                    best_cpu_s = min(best_cpu_s, time.process_time() - start_cpu_s)
                told += (
                    f"{megabytes / best_s:6.0f} ({megabytes / best_cpu_s:4.0f}) MB/s {records / best_s / 1e6:6.2f} M/s"
                )
            print(f"{kind:<24}{told}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
