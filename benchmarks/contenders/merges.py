"""
What is measured beside a merge, and the merge itself, each in a process that imports nothing else: what a user starts.

Run by merge.py: python benchmarks/contenders/merges.py NAME parquet|jsonl|log FOLDER OUT
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

SOURCES = 8


def offset_ns(source: int) -> int:
    """How far each clock is ahead, whole milliseconds."""
    return (0, 3217, -4100, 250, 1999, -777, 4820, -12)[source] * 10**6


def ours(folder: Path, kind: str, out: Path) -> None:
    """The command itself."""
    endings = {"parquet": ":time=ts,clock=s{}", "jsonl": ":time=ts,clock=s{}", "log": ":clock=s{}"}
    sources = [f"{folder}/s{source}.{kind}{endings[kind].format(source)}" for source in range(SOURCES)]
    command = [sys.executable, "-m", "coeval", "merge", *sources, "--messages", str(folder / "messages.parquet")]
    # What is installed is compiled; to compile it anew for every run is no part of a merge.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.execv(sys.executable, [*command, "-o", str(out), "--force", "-q"])


def duckdb_query(folder: Path, kind: str, out: Path) -> None:
    """Subtract and sort, spilling within its own limit."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": "1500MB",
        "threads": 2,
        "temp_directory": str(out.parent / "duckdb"),
    }
    database = duckdb.connect(config=settings)
    columns = "host, level, path, message, status, size" + (", duration" if kind == "parquet" else "")
    read = {
        "parquet": "'{}'",
        "jsonl": "read_json('{}', format='newline_delimited', columns={{ts: 'TIMESTAMP', host: 'VARCHAR', "
        "level: 'VARCHAR', path: 'VARCHAR', message: 'VARCHAR', status: 'INTEGER', size: 'BIGINT'}})",
    }[kind]
    parts = [
        f"select ts - to_microseconds({offset_ns(source) // 1000}) as ts, {columns} "
        f"from {read.format(f'{folder}/s{source}.{kind}')}"
        for source in range(SOURCES)
    ]
    database.execute(f"copy (select * from ({' union all '.join(parts)}) order by ts) to '{out}' (format parquet)")


def polars_query(folder: Path, kind: str, out: Path) -> None:
    """Subtract and sort, by the engine that streams."""
    import polars as pl

    frames = []
    for source in range(SOURCES):
        path = folder / f"s{source}.{kind}"
        frame = pl.scan_parquet(path) if kind == "parquet" else pl.scan_ndjson(path)
        if kind == "jsonl":
            frame = frame.with_columns(pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_unit="us"))
        frames.append(frame.with_columns(pl.col("ts") - pl.duration(microseconds=offset_ns(source) // 1000)))
    pl.concat(frames).sort("ts").sink_parquet(out, engine="streaming")


def sort_merge(folder: Path, kind: str, out: Path) -> None:
    """GNU sort of files that are sorted, by the raw stamps, byte by byte."""
    files = [str(folder / f"s{source}.{kind}") for source in range(SOURCES)]
    os.execvpe("sort", ["sort", "-m", "-s", "-k1,1", "-o", str(out), *files], {**os.environ, "LC_ALL": "C"})


def lnav(folder: Path, kind: str, out: Path) -> None:
    """lnav reads all files and prints the merged view."""
    files = [str(folder / f"s{source}.{kind}") for source in range(SOURCES)]
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.execvp("lnav", ["lnav", "-n", *files])


RIVALS: dict[str, dict[str, Callable[[Path, str, Path], None]]] = {
    "parquet": {"coeval": ours, "DuckDB": duckdb_query, "Polars": polars_query},
    "jsonl": {"coeval": ours, "DuckDB": duckdb_query, "Polars": polars_query},
    "log": {"coeval": ours, "sort -m": sort_merge, "lnav": lnav},
}


if __name__ == "__main__":
    RIVALS[sys.argv[2]][sys.argv[1]](Path(sys.argv[3]), sys.argv[2], Path(sys.argv[4]))
