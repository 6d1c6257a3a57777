"""
How long tables of messages and stamps take to read, relate and place, and how much memory.

Messages go both ways between two clocks 30 ppm apart. Each step runs in a process of its own; the seconds are of
processor, all threads together; the memory is what the process had at most.

Run: python benchmarks/clock_tables.py [MILLIONS OF ROWS]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet as pq

from coeval import relate_clocks
from coeval.timeline._related_clocks import Stamping
from coeval.timeline.readers import SetAside, read_messages
from coeval.timeline.writers._placed_stamps import write_stamps

MILLIONS = 10.0
T0 = 1_790_000_000_000_000_000
STEPS = ("read messages.csv", "read messages.parquet", "relate messages.parquet", "place stamps.csv")


def write_tables(folder: Path, count: int) -> None:
    """Messages in both formats, and stamps of one clock."""
    generator = np.random.default_rng(1)
    sent = T0 + np.arange(count) * 100_000 + generator.integers(0, 50_000, count)
    ahead = 2_500_000_000 + ((sent - T0) * 30e-6).astype(np.int64)
    there = np.arange(count) % 2
    arrived = sent + 100_000 + generator.exponential(100_000, count).astype(np.int64)
    names = pa.array(["node-a/monotonic_raw", "node-b/monotonic_raw"])
    messages = pa.table(
        {
            "sender": names.take(pa.array(there)),
            "receiver": names.take(pa.array(1 - there)),
            "sent_ns": np.where(there == 0, sent, sent + ahead),
            "received_ns": np.where(there == 0, arrived + ahead, arrived),
        }
    )
    csv.write_csv(messages, folder / "messages.csv")
    pq.write_table(messages, folder / "messages.parquet")
    stamps = pa.table({"clock": messages["receiver"], "reading_ns": messages["received_ns"], "row": np.arange(count)})
    csv.write_csv(stamps, folder / "stamps.csv")


def take_step(step: str, folder: Path) -> int:
    """Do one thing, and return how many rows went through."""
    verb, name = step.split()
    if verb == "read":
        return len(read_messages([folder / name], SetAside()).messages)
    if verb == "relate":
        return len(relate_clocks(folder / name).messages)
    few = {name: column.slice(0, 10_000) for name, column in _columns(folder / "messages.parquet").items()}
    stamping = Stamping(relate_clocks(few), folder / name, SetAside())
    with open(folder / "placed.csv", "wb") as file:
        write_stamps(stamping, stamping.schema, "csv", file, is_text=True, metadata={})
    return stamping.count


def _columns(path: Path) -> dict[str, pa.ChunkedArray]:
    with pq.ParquetFile(path) as file:
        first = next(file.iter_batches(10_000))
    return {name: pa.chunked_array([first.column(name)]) for name in first.schema.names}


def main(arguments: list[str]) -> None:
    """Print one line for each step; with a step and a folder, take it and say what it cost."""
    if len(arguments) == 3:  # in a process of its own: what this one had at most, its children would inherit
        write_tables(Path(arguments[1]), int(arguments[2]))
        return
    if len(arguments) == 2:
        start = time.process_time()
        count = take_step(arguments[0], Path(arguments[1]))
        used_s = time.process_time() - start
        print(count, used_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    count = int(float(arguments[0] if arguments else MILLIONS) * 1e6)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "write", folder, str(count)], check=True)
        for step in STEPS:
            done = subprocess.run([sys.executable, __file__, step, folder], capture_output=True, text=True, check=True)
            rows, seconds, peak_bytes = done.stdout.split()
            size = (Path(folder) / step.split()[1]).stat().st_size
            print(
                f"{step:<24} {int(rows):>12,} rows, {size / 1e6:7,.0f} MB: {float(seconds):6.2f} s of processor, "
                f"{int(peak_bytes) / 1e6:6,.0f} MB at most"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
