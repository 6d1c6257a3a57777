"""A small timeline of two clocks, as a table: what merging two logs and a trace would give."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from coeval.clocks import UTC, ClockId
from coeval.timeline import Timeline
from coeval.timeline._layout import TableClaims

T0 = 1_794_000_000_000_000_000
"""2026-11-06 21:20:00 UTC."""

WEB, DB = ClockId("web"), ClockId("db")


def event(
    clock: str, at_ns: int, half_ns: int | None, text: str, line: int, *, end_ns: int | None = None, **more: Any
) -> dict[str, Any]:
    """A row whose true time is within `half_ns` of T0 + at_ns; None: nothing is known of its time."""
    estimate = None if half_ns is None else T0 + at_ns
    end = None if end_ns is None or half_ns is None else T0 + end_ns
    return {
        "time": estimate,
        "earliest_ns": None if estimate is None else estimate - (half_ns or 0),
        "estimate_ns": estimate,
        "latest_ns": None if estimate is None else estimate + (half_ns or 0),
        "end_earliest_ns": None if end is None else end - (half_ns or 0),
        "end_estimate_ns": end,
        "end_latest_ns": None if end is None else end + (half_ns or 0),
        "raw_ns": T0 + at_ns + (7_000 if clock == "db" else 0),
        "end_raw_ns": None if end_ns is None else T0 + end_ns + (7_000 if clock == "db" else 0),
        "clock": clock,
        "source": f"{clock}.log",
        "line": line,
        "text": text,
        "trace_id": None,
        "span_id": None,
        "parent_span_id": None,
        "ratio": None,
        **more,
    }


ROWS = [
    event("web", 0, 0, "GET /cart", 1, end_ns=9_000, trace_id="aa", span_id="01", ratio=0.5),
    event("db", 2_000, 3_000, "SELECT cart", 1, end_ns=5_000, trace_id="aa", span_id="02", parent_span_id="01"),
    event("web", 4_000, 0, "cache miss", 2),
    event("db", 8_000, 3_000, "vacuum\nof cart", 2),
    event("web", 20_000, 0, "GET /pay", 3, ratio=float("nan")),
    event("db", 0, None, "never related", 3),
]

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", tz="UTC")),
        *((name, pa.int64()) for name in ("earliest_ns", "estimate_ns", "latest_ns")),
        *((name, pa.int64()) for name in ("end_earliest_ns", "end_estimate_ns", "end_latest_ns")),
        *((name, pa.int64()) for name in ("raw_ns", "end_raw_ns")),
        *((name, pa.dictionary(pa.int32(), pa.string())) for name in ("clock", "source")),
        ("line", pa.int64()),
        *((name, pa.string()) for name in ("text", "trace_id", "span_id", "parent_span_id")),
        ("ratio", pa.float64()),
    ]
)


def table(
    rows: list[dict[str, Any]] = ROWS, *, reference: ClockId = UTC, set_back: tuple[ClockId, ...] = ()
) -> pa.Table:
    label = "UTC" if reference == UTC else f"time of clock {reference}"
    claims = TableClaims(reference, label, "declared", set_back)
    return pa.Table.from_pylist(rows, SCHEMA.with_metadata(claims.metadata()))


def timeline(**options: Any) -> Timeline:
    return Timeline(table(**options))
