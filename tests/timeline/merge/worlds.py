"""Sources for tests: Parquet files and logs of clocks that are wrong by known amounts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START_NS = 1_760_000_000 * 10**9
OFFSETS_NS = (0, 3 * 10**9, -5 * 10**9)


def clock_option(number: int) -> str:
    """What is known of a clock's offset, as `--clock` says it."""
    return f"s{number}*={OFFSETS_NS[number] // 10**9:+d}s±1ms"


CLOCKS = [clock_option(number) for number in range(3)]


def write_parquet(folder: Path, rows: int = 3000, *, shuffled: bool = False, group_rows: int = 700) -> list[str]:
    """
    Three tables of one story: event n happens n ms after the start, and `number` says so. Seed 5.

    Args:
        shuffled: rows stand in no order.
    """
    rng = np.random.default_rng(5)
    owner = rng.integers(0, 3, rows)
    paths = []
    for clock, offset_ns in enumerate(OFFSETS_NS):
        numbers = np.flatnonzero(owner == clock)
        if shuffled:
            numbers = rng.permutation(numbers)
        table = pa.table(
            {
                "ts": pa.array(START_NS + numbers * 10**6 + offset_ns, pa.timestamp("ns", "UTC")),
                "level": pa.array(np.array(["INFO", "WARN"])[numbers % 2]),
                "number": pa.array(numbers, pa.int32() if clock else pa.int64()),
                f"only{clock}": pa.array([f"text {number}" for number in numbers]),
            }
        )
        path = folder / f"s{clock}.parquet"
        pq.write_table(table, path, row_group_size=group_rows)
        paths.append(f"{path}:time=ts")
    return paths


def write_logs(folder: Path, rows: int = 3000, *, rubbish: bool = False) -> list[str]:
    """The same story as text logs in ms, and the last one as JSON lines."""
    owner = np.random.default_rng(5).integers(0, 3, rows)
    paths = []
    for clock, offset_ns in enumerate(OFFSETS_NS):
        path = folder / f"s{clock}.{'jsonl' if clock == 2 else 'log'}"
        with open(path, "w") as file:
            if rubbish and clock == 0:
                file.write("no stamp at all\n")
            for number in np.flatnonzero(owner == clock).tolist():
                when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number, seconds=offset_ns // 10**9)
                stamp = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                if clock == 2:
                    file.write(f'{{"time": "{stamp}", "message": "event {number}"}}\n')
                else:
                    file.write(f"{stamp} INFO event {number}\n")
        paths.append(str(path))
    return paths


class OneWorkerDies(Executor):
    """
    An executor over another one, on which the worker that takes call `at` is killed, once.

    Args:
        marker: a file that says that it was done.
    """

    def __init__(self, inner: Executor, marker: Path, at: int) -> None:
        self._inner = inner
        self._marker = marker
        self._at = at
        self._count = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._count += 1
        if self._count == self._at:
            return self._inner.submit(_die_first, str(self._marker), function, *args, **kwargs)
        return self._inner.submit(function, *args, **kwargs)


def _die_first(marker: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*args, **kwargs)
