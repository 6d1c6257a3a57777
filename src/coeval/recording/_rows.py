"""
The rows of a recording, version 1: what the driver writes down, one tuple each, raw readings only.

On disk a row is a JSON array: its kind's name first, then its fields in the order given here. Adding a field at the end
or a kind is a compatible change (readers fill in the default and keep unknown kinds aside, counted); anything else
raises `FORMAT`. All `*_ns` are int64 readings of the raw clock of the process that they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from coeval.recording._event import JsonScalar

FORMAT = 1


class ProcessRow(NamedTuple):
    """
    A process that stamps: the driver (always process 0) or a worker.

    `process` numbers it within the recording. `clock` is the identity that it claims; `worker` is its number in its
    engine,
    -1 for the driver.
    """

    process: int
    role: str
    host: str
    pid: int
    clock: str
    python: str
    worker: int = -1


class HostRow(NamedTuple):
    """
    What the host of a process says about its wall clock: its zone, and whether anything synchronises it.

    `synchronised` is "yes", "no" or "unknown"; `max_error_ns` (-1: unknown) is the kernel's own bound against UTC at
    `reading_ns`; `remedy` is one line to show a person, "" if there is nothing to do.
    """

    process: int
    reading_ns: int
    zone: str
    utc_offset_s: int
    synchronised: str
    max_error_ns: int
    remedy: str


class ClockRow(NamedTuple):
    """A snapshot of a process's clocks: the wall and the boot clock were read between the two raw readings."""

    process: int
    raw_before_ns: int
    realtime_ns: int
    boottime_ns: int
    raw_after_ns: int


class AnchorRow(NamedTuple):
    """
    Evidence of UTC: when the process's clock read `reading_ns`, UTC was in [earliest_ns, latest_ns], if `source` is
    right by its own word. What sources agree on is decided by whoever reads.
    """

    process: int
    reading_ns: int
    earliest_ns: int
    latest_ns: int
    source: str


class ExecutorRow(NamedTuple):
    """An executor that was opened in this run; several may share one recording."""

    executor: int
    engine: str
    opened_ns: int


class FunctionRow(NamedTuple):
    """A function that was called; `digest` is the hex SHA-256 of its body as it travelled."""

    executor: int
    function: int
    name: str
    digest: str


class SentRow(NamedTuple):
    """
    A batch that was handed to the engine at (or just after) `sent_ns` of the driver's clock.

    `calls` are the numbers of its calls; `labels`, if there are any, name them for people.
    """

    executor: int
    batch: int
    attempt: int
    function: int
    calls: Sequence[int]
    sent_ns: int
    labels: Sequence[str] = ()


class OutcomeRow(NamedTuple):
    """
    What became of items [first, first + item_count) of a batch: `kind` is "ok" or a failure's kind.

    The four stamps are those of `engines.Stamps`; `process` is -1 where no worker ran it.
    """

    executor: int
    batch: int
    first: int
    item_count: int
    kind: str
    process: int
    handed_over_ns: int
    started_ns: int
    finished_ns: int
    seen_ns: int


class ExchangeRow(NamedTuple):
    """
    A message from the driver to a process, and one back, that carried no call: the engine measured the two clocks.

    `sent_ns` and `seen_ns` are the driver's, the others the process's. A message with a reading of 0 was not sent.
    """

    executor: int
    process: int
    sent_ns: int
    arrived_ns: int
    replied_ns: int
    seen_ns: int


class ItemRow(NamedTuple):
    """Start and end of one item that ran long, on its worker's clock."""

    executor: int
    batch: int
    item: int
    started_ns: int
    finished_ns: int


class FailureRow(NamedTuple):
    """Why an item failed. `final` says that it was not tried again; `arguments` give types and shapes, no values."""

    executor: int
    batch: int
    item: int
    kind: str
    type_name: str
    message: str
    arguments: str
    final: bool


class EventRow(NamedTuple):
    """A mark, a span or a log record; `executor`, `batch` and `item` are -1 outside of any call."""

    process: int
    executor: int
    batch: int
    item: int
    kind: str
    reading_ns: int
    end_ns: int | None
    name: str
    fields: Mapping[str, JsonScalar]


class GapRow(NamedTuple):
    """Rows that are missing here, and why: the memory's bound was reached, or the disk was full."""

    row_count: int
    reason: str


class EndRow(NamedTuple):
    """An executor that was closed, and its counts. A recording without it ends where its driver was killed."""

    executor: int
    closed_ns: int
    finished: int
    failed: int
    cancelled: int


class WorkRow(NamedTuple):
    """
    First row of a ledger, what its results are results of: a function by name, and the hex SHA-256 of its source.
    """

    function: str
    source: str


class ResultRow(NamedTuple):
    """
    A finished item in a ledger: its index, the hex SHA-256 of its input, and its result, encoded by whoever wrote it,
    as base64. Nothing here reads it.
    """

    item: int
    input: str
    result: str


Row: TypeAlias = (
    ProcessRow
    | HostRow
    | ClockRow
    | AnchorRow
    | ExecutorRow
    | FunctionRow
    | SentRow
    | OutcomeRow
    | ExchangeRow
    | ItemRow
    | FailureRow
    | EventRow
    | GapRow
    | EndRow
    | WorkRow
    | ResultRow
)

KINDS: Mapping[str, type[Row]] = {
    "process": ProcessRow,
    "host": HostRow,
    "clock": ClockRow,
    "anchor": AnchorRow,
    "executor": ExecutorRow,
    "function": FunctionRow,
    "sent": SentRow,
    "outcome": OutcomeRow,
    "exchange": ExchangeRow,
    "item": ItemRow,
    "failure": FailureRow,
    "event": EventRow,
    "gap": GapRow,
    "end": EndRow,
    "work": WorkRow,
    "result": ResultRow,
}

KIND_NAMES: Mapping[type[Row], str] = {row_type: name for name, row_type in KINDS.items()}
