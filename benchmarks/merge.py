"""
Merging 8 sources of wrong clocks into one file, beside the best that DuckDB and Polars can do with the offsets given.

What each does:

    coeval   reads stamps and a table of messages, relates the clocks by them, and gives every event its corrected
             time with bounds beside its raw stamp, source and line; of logs it writes the lines, in that order. Text
             that is no UTF-8 and lines without a stamp are looked for and accounted for.
    DuckDB   reads stamps, subtracts a constant that it is told for each source, sorts, writes Parquet. No bounds.
    Polars   the same, by its engine that streams.
    sort -m  merges lines by their first bytes, as they stand there: no clock is corrected, nothing is read.
    lnav     reads stamps, indexes the lines and prints them in raw order.

All of them write what coeval writes: Parquet of Parquet and of JSON lines, a log of logs. coeval, DuckDB and Polars
may use all cores; sort -m merges in one thread, and the others' files are not made durable, while coeval's is.

Each runs in a process of its own, in a memory cgroup of 2 GB where one can be made; rivals take turns; the figures are
medians of the rounds. Who is ended for memory did not finish.

Run: python benchmarks/merge.py [--events 20] [--text-mb 1000] [--rounds 3] [--only parquet|jsonl|log] [--folder DIR]
     --events 80 or 320 (millions) and --text-mb 4000 show that time is linear and memory flat.
Needs: the package lnav, where it is to be compared; root, for the limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contenders import merges
from benchmarks.contenders.merges import RIVALS, SOURCES, offset_ns

LIMIT_BYTES = 2 << 30
T0 = 1_790_000_000_000_000_000
HOUR_NS = 3600 * 10**9
MESSAGES = 2000
CHUNK = 1 << 20
# What a run may take before it counts as not finished.
PATIENCE_S = 900

LEVELS = pa.array(["DEBUG", "INFO", "WARN", "ERROR"])
PATHS = pa.array([f"/api/v1/items/{number}" for number in range(500)])


# Sources --------------------------------------------------------------------------------------------------------------


def write_messages(folder: Path) -> None:
    """Evidence: each clock and the first one, back and forth; delays from 0.1 ms."""
    rng = np.random.default_rng(1)
    tables = []
    for source in range(1, SOURCES):
        for sender, receiver in ((0, source), (source, 0)):
            true = T0 + np.sort(rng.integers(0, HOUR_NS, MESSAGES))
            arrived = true + 10**5 + rng.exponential(3e5, MESSAGES).astype(np.int64)
            tables.append(
                pa.table(
                    {
                        "sender": [f"s{sender}"] * MESSAGES,
                        "receiver": [f"s{receiver}"] * MESSAGES,
                        "sent_ns": true + offset_ns(sender),
                        "received_ns": arrived + offset_ns(receiver),
                    }
                )
            )
    pq.write_table(pa.concat_tables(tables), folder / "messages.parquet")


def chunks(source: int, rows: int) -> Iterator[pa.Table]:
    """Events of one source in the order of its clock: 8 columns."""
    rng = np.random.default_rng(100 + source)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        low, high = start * HOUR_NS // rows, (start + count) * HOUR_NS // rows
        stamps = T0 + np.sort(rng.integers(low, high, count)) + offset_ns(source)
        ids = pa.array(rng.integers(0, 2**40, count)).cast(pa.string())
        workers = pa.array(rng.integers(0, 64, count)).cast(pa.string())
        yield pa.table(
            {
                "ts": pa.array(stamps).cast(pa.timestamp("ns", "UTC")),
                "host": pa.array([f"host-{source}"]).take(pa.array(np.zeros(count, dtype=np.int64))),
                "level": LEVELS.take(pa.array(rng.integers(0, len(LEVELS), count))),
                "path": PATHS.take(pa.array(rng.integers(0, len(PATHS), count))),
                "message": pc.binary_join_element_wise("request ", ids, " handled by worker ", workers, ""),
                "status": pa.array(rng.integers(200, 204, count), pa.int32()),
                "size": rng.integers(0, 10**6, count),
                "duration": rng.random(count),
            }
        )


def write_parquet(folder: Path, rows: int) -> None:
    """`rows` events in 8 files."""
    for source in range(SOURCES):
        writer = None
        for table in chunks(source, rows // SOURCES):
            writer = writer or pq.ParquetWriter(folder / f"s{source}.parquet", table.schema, compression="zstd")
            writer.write_table(table)
        assert writer is not None
        writer.close()


def _texts(table: pa.Table) -> pa.Array:
    """Stamps of a log: microseconds, UTC."""
    return pc.strftime(
        table.column("ts").cast(pa.timestamp("us", "UTC"), safe=False), "%Y-%m-%dT%H:%M:%SZ"
    ).combine_chunks()


def write_lines(folder: Path, size: int, kind: str) -> None:
    """About so many bytes of logs or JSON lines in 8 files."""
    row_bytes = 120 if kind == "log" else 200
    for source in range(SOURCES):
        with open(folder / f"s{source}.{kind}", "wb") as file:
            for table in chunks(source, size // SOURCES // row_bytes):
                columns = {name: table.column(name).combine_chunks() for name in table.schema.names}
                stamp = _texts(table)
                if kind == "log":
                    parts = [stamp, " ", columns["level"], " ", columns["host"], " ", columns["path"], " "]
                    parts += [columns["message"], " status=", columns["status"].cast(pa.string()), "\n"]
                else:
                    parts = ['{"ts":"', stamp, '","host":"', columns["host"], '","level":"', columns["level"]]
                    parts += ['","path":"', columns["path"], '","message":"', columns["message"], '","status":']
                    parts += [columns["status"].cast(pa.string()), ',"size":', columns["size"].cast(pa.string()), "}\n"]
                lines = pc.binary_join_element_wise(*parts, "")
                offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
                file.write(memoryview(lines.buffers()[2])[: int(offsets[len(lines)])])


# Measuring ------------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """Seconds, or None where it did not finish; and the most memory that was its own, in MB."""

    wall_s: float | None
    peak_mb: int


@contextmanager
def memory_group() -> Iterator[Path | None]:
    """A cgroup with the limit; None where none can be made."""
    old = Path("/sys/fs/cgroup/memory")
    home, name = (old, "memory.limit_in_bytes") if old.is_dir() else (Path("/sys/fs/cgroup"), "memory.max")
    group = home / f"coeval-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / name).write_text(str(LIMIT_BYTES))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def run(name: str, folder: Path, kind: str, out: Path, group: Path | None) -> Run:
    """One run of one rival, from its start to its end."""
    out.unlink(missing_ok=True)
    # Nobody waits for the disk while it writes what another left; coeval's own output is there at the end.
    os.sync()
    started = time.perf_counter()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.execv(sys.executable, [sys.executable, merges.__file__, name, kind, str(folder), str(out)])
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(PATIENCE_S)
    _, status, usage = os.wait4(child, 0)
    signal.alarm(0)
    wall_s = time.perf_counter() - started
    is_done = os.waitstatus_to_exitcode(status) == 0 and out.exists() and out.stat().st_size > 0
    shutil.rmtree(out.parent / "duckdb", ignore_errors=True)
    return Run(wall_s if is_done else None, usage.ru_maxrss >> 10)


def measure(kind: str, folder: Path, rounds: int, what: str, names: list[str]) -> None:
    """Rivals of a kind, in turns; a table."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    with memory_group() as group:
        limit = f"in {LIMIT_BYTES >> 20:,} MB" if group is not None else "no limit (no cgroup can be made here)"
        for number in range(rounds):
            for name in (*names[number % len(names) :], *names[: number % len(names)]):
                runs[name].append(
                    run(name, folder, kind, folder / f"out.{'log' if kind == 'log' else 'parquet'}", group)
                )
    print(f"\n{what}, {limit}, {rounds} rounds")
    print(f"{'':<10}{'median s':>10}{'least s':>10}{'peak MB':>10}{'ours / its':>12}")
    own = [each.wall_s for each in runs["coeval"] if each.wall_s is not None]
    for name in names:
        seconds = [each.wall_s for each in runs[name] if each.wall_s is not None]
        peak = max(each.peak_mb for each in runs[name])
        if len(seconds) < rounds:
            print(f"{name:<10}{'did not finish':>20}{peak:>10,}")
            continue
        ratio = f"{statistics.median(own) / statistics.median(seconds):.2f}" if own else "-"
        print(f"{name:<10}{statistics.median(seconds):>10.2f}{min(seconds):>10.2f}{peak:>10,}{ratio:>12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, default=20, help="millions, in Parquet")
    parser.add_argument("--text-mb", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=RIVALS)
    parser.add_argument("--folder", type=Path, help="where sources are made; kept there for the next time")
    options = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {_versions()}")
    with tempfile.TemporaryDirectory() as temporary:
        home = options.folder or Path(temporary)
        for kind in [options.only] if options.only else list(RIVALS):
            names = [name for name in RIVALS[kind] if name != "lnav" or shutil.which("lnav")]
            amount = options.events if kind == "parquet" else options.text_mb
            compared(home, kind, amount, options.rounds, names)


def compared(home: Path, kind: str, amount: float, rounds: int, names: list[str]) -> None:
    """
    Make the sources, where they are not there yet, and measure.

    Args:
        amount: millions of events in Parquet, else MB.
    """
    folder = home / f"{kind}-{amount:g}{'M' if kind == 'parquet' else 'MB'}"
    if not (folder / "messages.parquet").exists():
        folder.mkdir(parents=True)
        if kind == "parquet":
            write_parquet(folder, int(amount * 10**6))
        else:
            write_lines(folder, int(amount) * 10**6, kind)
        write_messages(folder)
    told = f"{amount:g} M events" if kind == "parquet" else f"{amount:,} MB"
    measure(kind, folder, rounds, f"{kind}: {told} from {SOURCES} sources", names)
    for left in folder.glob("out.*"):
        left.unlink()


def _versions() -> str:
    import duckdb
    import polars

    sort = subprocess.run(["sort", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    return f"pyarrow {pa.__version__}, DuckDB {duckdb.__version__}, Polars {polars.__version__}, {sort}"


if __name__ == "__main__":
    main()
