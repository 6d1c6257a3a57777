"""
The certain/possible as-of join against the plain as-of joins of DuckDB and Polars, Parquet to Parquet, in one run.

    python benchmarks/join.py                    # 10 M x 10 M rows, without and with a key; about five minutes
    python benchmarks/join.py --rows 200000 --rounds 1

Both sides have the columns of a small timeline, and everyone writes all columns of both; ours adds the verdict and the
count of possible matches. Each contender runs in a process of its own, in turn, round after round; DuckDB with its best
settings of those tried (order of rows kept or not, zstd and snappy). The claim: ours
takes at most 1.5 times as long as DuckDB's best.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CLAIM = 1.5
KEYS = 1000

CONTENDERS = ("coeval", "duckdb zstd", "duckdb snappy", "duckdb ordered", "polars")


def make(path: Path, rows: int, seed: int, bound_ns: int, clock: str, value: str) -> None:
    """One stream of an hour: random true times, one clock, a bound of some microseconds, random keys."""
    random = np.random.default_rng(seed)
    true = 1_790_000_000_000_000_000 + np.sort(random.integers(0, 3600 * 10**9, rows))
    # The estimate is off by what changes slowly, as a clock's error does.
    estimate = true + (bound_ns // 2 * np.sin(np.arange(rows) / rows * 40)).astype(np.int64)
    estimate = np.maximum.accumulate(estimate)
    table = pa.table(
        {
            "earliest_ns": estimate - bound_ns,
            "estimate_ns": estimate,
            "latest_ns": estimate + bound_ns,
            "raw_ns": estimate - 12_345_678,
            "clock": pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), [clock]),
            "key": random.integers(0, KEYS, rows),
            value: random.integers(0, 10**6, rows),
        }
    )
    integers = {name: "DELTA_BINARY_PACKED" for name in table.column_names if name != "clock"}
    pq.write_table(
        table, path, compression="zstd", use_dictionary=["clock"], column_encoding=integers, row_group_size=1 << 20
    )


def run(contender: str, keyed: bool, folder: Path) -> dict[str, float]:
    """Join once, in this process; imports are not timed."""
    left, right, out = folder / "left.parquet", folder / "right.parquet", folder / "out.parquet"
    said: dict[str, float] = {}
    if contender == "coeval":
        from coeval.timeline.join._files import JoinInput, join_files, parquet_writer
        from coeval.timeline.join._rules import JoinRules

        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        start = time.perf_counter()
        counts = join_files(
            JoinInput(left),
            JoinInput(right),
            JoinRules(("key",) if keyed else ()),
            parquet_writer(out, memory),
            memory_bytes=memory,
            scratch=folder,
        )
        said["seconds"] = time.perf_counter() - start
        said |= counts._asdict()
    elif contender.startswith("duckdb"):
        import duckdb

        connection = duckdb.connect()
        connection.execute(f"SET preserve_insertion_order = {'true' if 'ordered' in contender else 'false'}")
        compression = "snappy" if "snappy" in contender else "zstd"
        on = "l.key = r.key AND" if keyed else ""
        start = time.perf_counter()
        connection.execute(
            f"COPY (SELECT l.*, r.* FROM '{left}' l ASOF LEFT JOIN '{right}' r "
            f"ON {on} l.estimate_ns >= r.estimate_ns) TO '{out}' (FORMAT parquet, COMPRESSION {compression})"
        )
        said["seconds"] = time.perf_counter() - start
    else:
        import polars as pl

        start = time.perf_counter()
        joined = pl.read_parquet(left).join_asof(
            pl.read_parquet(right),
            on="estimate_ns",
            by="key" if keyed else None,
            coalesce=False,
            check_sortedness=False,
        )
        joined.write_parquet(out, compression="zstd")
        said["seconds"] = time.perf_counter() - start
    said["rows"] = pq.read_metadata(out).num_rows
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Imports included: a few tenths of a second. Beside a wall clock it tells how much others had of the machine.
    said["processor_s"] = used.ru_utime + used.ru_stime
    said["peak_mb"] = used.ru_maxrss / 1024
    out.unlink()
    return said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="Where the files go. [a temporary folder]")
    parser.add_argument("--one", nargs=3, metavar=("CONTENDER", "KEYED", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        contender, keyed, folder = options.one
        print(json.dumps(run(contender, keyed == "keyed", Path(folder))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make(folder / "left.parquet", options.rows, 1, 2_000, "web", "order")
        make(folder / "right.parquet", options.rows, 2, 3_000, "db", "payment")
        print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
        print(f"{options.rows:,} x {options.rows:,} rows, Parquet to Parquet, {options.rounds} rounds in turn")
        failed = False
        for keyed in (False, True):
            failed |= not compare("keyed" if keyed else "plain", folder, options.rounds)
    sys.exit(failed)


def compare(kind: str, folder: Path, rounds: int) -> bool:
    """Run everyone in turn, print their medians; whether the claim holds."""
    seconds: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    said: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for contender in CONTENDERS:
            command = [sys.executable, __file__, "--one", contender, kind, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                print(f"  {contender}: failed: {done.stderr.strip().splitlines()[-1:]}")
                continue
            said[contender] = json.loads(done.stdout)
            seconds[contender].append(said[contender]["seconds"])
    print(f"{kind}: {'one shared key column' if kind == 'keyed' else 'no key'}")
    for contender, taken in seconds.items():
        if taken:
            each = " ".join(f"{value:.2f}" for value in taken)
            last = said[contender]
            print(
                f"  {contender:16}{statistics.median(taken):7.2f} s  processors {last['processor_s']:6.2f} s  "
                f"{last['peak_mb']:7.0f} MB  ({each})"
            )
    ours = said["coeval"]
    print(f"  ours: {ours['certain']:,} certain, {ours['possible']:,} possible, {ours['none']:,} none")
    rivals = [statistics.median(taken) for name, taken in seconds.items() if name.startswith("duckdb") and taken]
    ratio = statistics.median(seconds["coeval"]) / min(rivals)
    print(f"  ours / DuckDB's best: {ratio:.2f} (claim: at most {CLAIM})")
    return ratio <= CLAIM


if __name__ == "__main__":
    main()
