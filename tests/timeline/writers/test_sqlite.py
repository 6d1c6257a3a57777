"""Timelines as tables of SQLite: in order, all of it or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.writers._sqlite import write_sqlite
from tests.timeline.readers.reading import Read

NOW_NS = 1_793_923_200_123_456_789


def rows(count: int) -> pa.Table:
    return pa.table(
        {
            "time": pa.array([NOW_NS + number for number in range(count)], pa.timestamp("ns", "UTC")),
            "earliest_ns": pa.array([None if number else 5 for number in range(count)], pa.int64()),
            "clock": pa.array(["web1"] * count).dictionary_encode(),
            "more": pa.array([{"a": number} for number in range(count)]),
            "id": pa.array([2**64 - 1] * count, pa.uint64()),
        }
    )


def asked(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def test_rows_come_in_order_with_types_that_sqlite_has(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    assert write_sqlite(rows(2), path, "merged") == 2
    assert asked(path, "select rowid, * from merged order by rowid") == [
        (1, "2026-11-06T00:00:00.123456789Z", 5, "web1", '{"a": 0}', "18446744073709551615"),
        (2, "2026-11-06T00:00:00.123456790Z", None, "web1", '{"a": 1}', "18446744073709551615"),
    ]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_sqlite(rows(1000).to_batches(100), tmp_path / "x.db", "merged")
    read = Read("sqlite", tmp_path / "x.db", SourceSettings(query="merged"))
    assert read.raw_ns == [NOW_NS + number for number in range(1000)]


def test_table_that_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    write_sqlite(rows(2), path, "merged")
    with pytest.raises(FileExistsError, match="has a table Merged already"):
        write_sqlite(rows(3), path, "Merged")
    assert asked(path, "select count(*) from merged") == [(2,)]
    write_sqlite(rows(3), path, "merged", replace=True)
    assert asked(path, "select count(*) from merged") == [(3,)]


def test_failure_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    write_sqlite(rows(2), path, "merged")

    def broken() -> Iterator[pa.RecordBatch]:
        yield from rows(5).to_batches()
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        write_sqlite(broken(), path, "merged", replace=True)
    assert asked(path, "select count(*) from merged") == [(2,)]


def test_failure_leaves_no_new_file(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from rows(5).to_batches()
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        write_sqlite(broken(), tmp_path / "x.db", "merged")
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_one_for_sqlite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns a and A"):
        write_sqlite(pa.table({"a": [1], "A": [2]}), tmp_path / "x.db", "merged")


def test_names_are_never_taken_for_sql(tmp_path: Path) -> None:
    name = 'x"; drop table y; --'
    write_sqlite(pa.table({name: [1]}), tmp_path / "x.db", name)
    assert asked(tmp_path / "x.db", "select name from sqlite_schema") == [(name,)]
