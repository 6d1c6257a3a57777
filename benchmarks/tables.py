"""
How fast tables are read as events: JSON lines (flat and nested), CSV and Parquet, with every column and with none.

The files are made anew and lie in the page cache. Each is read in this process, in parts, on one core; the best of
three by processor time is said, and for Parquet what pyarrow takes to give the same columns.

Run: python benchmarks/tables.py [MEGABYTES OF EACH]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from coeval.timeline.readers import SourceSettings, Tally
from coeval.timeline.readers._registry import reader_named
from coeval.timeline.readers._set_aside import SetAside

MEGABYTES = 200.0
BEGIN = datetime(2026, 11, 5, 12, tzinfo=UTC)
LINES = 20_000
ROUNDS = 3
PART_BYTES = 64 << 20


def stamp(number: int) -> str:
    return f"{BEGIN + timedelta(milliseconds=37 * number):%Y-%m-%dT%H:%M:%S.%f}Z"


def flat(number: int) -> str:
    values = {"time": stamp(number), "level": "INFO", "logger": "shop.cart", "message": f"request {number} done"}
    return json.dumps({**values, "request": f"{number * 7919:012x}", "status": 200, "ms": number % 977 / 7})


def nested(number: int) -> str:
    return json.dumps({"ts": 1_793_880_000 + number / 27, "message": f"request {number}", "user": {"id": number}})


def separated(number: int) -> str:
    return f"{stamp(number)},INFO,shop.cart,request {number} done,{number * 7919:012x},200,{number % 977 / 7}"


LINE_KINDS: dict[str, tuple[str, str, Callable[[int], str]]] = {
    "jsonl, flat": ("jsonl", "", flat),
    "jsonl, nested": ("jsonl", "", nested),
    "csv": ("csv", "time,level,logger,message,request,status,ms\n", separated),
}


def write_lines(path: Path, header: str, line: Callable[[int], str], size: int) -> None:
    text = "".join(line(number) + "\n" for number in range(LINES)).encode()
    with open(path, "wb") as file:
        file.write(header.encode())
        for _ in range(max(1, size // len(text))):
            file.write(text)


def write_parquet(path: Path, size: int) -> None:
    count = max(size // 64, 1000)
    times = pa.array(range(1_793_880_000 * 10**9, 1_793_880_000 * 10**9 + count * 37_001, 37_001))
    texts = pa.array([f"request {number} done" for number in range(count)])
    hosts = pa.array([f"web{number % 5}" for number in range(count)])
    table = pa.table({"time": times, "host": hosts, "message": texts, "ms": pa.array(range(count))})
    pq.write_table(table, path, row_group_size=1 << 18)


def events(reader: str, path: Path, wanted: list[str] | None) -> int:
    """How many there are; everything must be one."""
    by_name = reader_named(reader)
    aside = SetAside()
    parts = by_name.parts("table", str(path), SourceSettings(), PART_BYTES)
    count = sum(len(batch) for part in parts for batch in by_name.batches(part, Tally(aside), wanted))
    assert not aside, aside.examples
    return count


def rows(path: Path, columns: list[str] | None) -> int:
    with pq.ParquetFile(path) as file:
        return sum(batch.num_rows for batch in file.iter_batches(1 << 17, columns=columns, use_threads=False))


def best_s(work: Callable[[], int]) -> tuple[float, int]:
    """The least processor time of some rounds, and what came of it."""

    def taken() -> Iterator[tuple[float, int]]:
        for _ in range(ROUNDS):
            begin = time.process_time()
            count = work()
            yield time.process_time() - begin, count

    return min(taken())


def main(arguments: list[str]) -> None:
    """Print one line for each kind and choice of columns."""
    size = int(float(arguments[0] if arguments else MEGABYTES) * 1e6)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for name, (reader, header, line) in LINE_KINDS.items():
            write_lines(path, header, line, size)
            for wanted, which in ((None, "all columns"), ([], "stamps only")):
                seconds, count = best_s(lambda reader=reader, wanted=wanted: events(reader, path, wanted))  # type: ignore[misc]
                speed = path.stat().st_size / seconds / 1e6
                print(f"{name:14} {which:12} {speed:6.0f} MB/s {count / seconds / 1e6:6.2f} M events/s")
        write_parquet(path, size)
        for columns, which in ((None, "all columns"), (["time"], "stamps only")):
            wanted = None if columns is None else []
            ours, count = best_s(lambda wanted=wanted: events("parquet", path, wanted))  # type: ignore[misc]
            theirs, _ = best_s(lambda columns=columns: rows(path, columns))  # type: ignore[misc]
            print(
                f"{'parquet':14} {which:12} {count / ours / 1e6:6.2f} M events/s, {ours / theirs:.2f} x pyarrow's time"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
