"""
Rows as they are written down: a tuple of the kind's name and the kind's fields, just what stands on disk.

Whoever records makes these, as every call pays for its own: a plain tuple is made five times as fast as a named one,
and the garbage collector soon leaves it alone (where `calls` and `labels` are tuples as well). Whoever reads a
recording gets the named tuples of `_rows.py`, where the kinds and their fields are told.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeAlias

    from coeval.recording._event import JsonScalar
    from coeval.recording._rows import Row

RawRow: TypeAlias = "tuple[Any, ...]"

# Where a raw row names the function it called, and the process it ran in.
SENT_FUNCTION = 4
OUTCOME_PROCESS = 6


def process_row(process: int, role: str, host: str, pid: int, clock: str, python: str, worker: int = -1) -> RawRow:
    """A `ProcessRow`, raw."""
    return ("process", process, role, host, pid, clock, python, worker)


def host_row(
    process: int,
    reading_ns: int,
    zone: str,
    utc_offset_s: int,
    synchronised: str,
    max_error_ns: int,
    remedy: str,
) -> RawRow:
    """A `HostRow`, raw."""
    return ("host", process, reading_ns, zone, utc_offset_s, synchronised, max_error_ns, remedy)


def clock_row(process: int, raw_before_ns: int, realtime_ns: int, boottime_ns: int, raw_after_ns: int) -> RawRow:
    """A `ClockRow`, raw."""
    return ("clock", process, raw_before_ns, realtime_ns, boottime_ns, raw_after_ns)


def anchor_row(process: int, reading_ns: int, earliest_ns: int, latest_ns: int, source: str) -> RawRow:
    """An `AnchorRow`, raw."""
    return ("anchor", process, reading_ns, earliest_ns, latest_ns, source)


def executor_row(executor: int, engine: str, opened_ns: int) -> RawRow:
    """An `ExecutorRow`, raw."""
    return ("executor", executor, engine, opened_ns)


def function_row(executor: int, function: int, name: str, digest: str) -> RawRow:
    """A `FunctionRow`, raw."""
    return ("function", executor, function, name, digest)


def sent_row(
    executor: int,
    batch: int,
    attempt: int,
    function: int,
    calls: Sequence[int],
    sent_ns: int,
    labels: Sequence[str] = (),
) -> RawRow:
    """A `SentRow`, raw."""
    return ("sent", executor, batch, attempt, function, calls, sent_ns, labels)


def outcome_row(
    executor: int,
    batch: int,
    first: int,
    item_count: int,
    kind: str,
    process: int,
    handed_over_ns: int,
    started_ns: int,
    finished_ns: int,
    seen_ns: int,
) -> RawRow:
    """An `OutcomeRow`, raw."""
    return (
        "outcome",
        executor,
        batch,
        first,
        item_count,
        kind,
        process,
        handed_over_ns,
        started_ns,
        finished_ns,
        seen_ns,
    )


def exchange_row(executor: int, process: int, sent_ns: int, arrived_ns: int, replied_ns: int, seen_ns: int) -> RawRow:
    """An `ExchangeRow`, raw."""
    return ("exchange", executor, process, sent_ns, arrived_ns, replied_ns, seen_ns)


def item_row(executor: int, batch: int, item: int, started_ns: int, finished_ns: int) -> RawRow:
    """An `ItemRow`, raw."""
    return ("item", executor, batch, item, started_ns, finished_ns)


def failure_row(
    executor: int,
    batch: int,
    item: int,
    kind: str,
    type_name: str,
    message: str,
    arguments: str,
    final: bool,
) -> RawRow:
    """A `FailureRow`, raw."""
    return ("failure", executor, batch, item, kind, type_name, message, arguments, final)


def event_row(
    process: int,
    executor: int,
    batch: int,
    item: int,
    kind: str,
    reading_ns: int,
    end_ns: int | None,
    name: str,
    fields: Mapping[str, JsonScalar],
) -> RawRow:
    """An `EventRow`, raw."""
    return ("event", process, executor, batch, item, kind, reading_ns, end_ns, name, fields)


def gap_row(row_count: int, reason: str) -> RawRow:
    """A `GapRow`, raw."""
    return ("gap", row_count, reason)


def end_row(executor: int, closed_ns: int, finished: int, failed: int, cancelled: int) -> RawRow:
    """An `EndRow`, raw."""
    return ("end", executor, closed_ns, finished, failed, cancelled)


def raw_row(row: Row | RawRow) -> RawRow:
    """Any row, raw."""
    kind: type[Any] = type(row)
    if kind is tuple:
        return row
    from coeval.recording._rows import KIND_NAMES

    return (KIND_NAMES[kind], *row)


def typed_row(row: RawRow) -> Row:
    """A raw row as the named tuple of its kind."""
    from coeval.recording._rows import KINDS

    return KINDS[row[0]](*row[1:])
