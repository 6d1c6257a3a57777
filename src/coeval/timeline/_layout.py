"""
The columns of a timeline as a table, the same in memory and in Parquet, in timeline order.

| column | type | meaning |
|---|---|---|
| time | timestamp[ns, UTC] | the estimate, for tools that want one time |
| earliest_ns, estimate_ns, latest_ns | int64 | when, on the reference; null: unknown |
| end_earliest_ns, end_estimate_ns, end_latest_ns | int64 | the end, where some event has one |
| raw_ns, end_raw_ns | int64 | the readings as written, by the clock that wrote them |
| clock, source | string | whose readings, and where they are from |
| line | int64 | the line or row of the source, from 1 |
| assumed | bool | nobody said the zone of this stamp, where that is so of some |

Everything else an event has stands in columns of its own, after these. One whose name is taken gets a `_` behind it.
"""

from __future__ import annotations

from typing import NamedTuple

LAYOUT = 2
"""Version of this layout, in the metadata of a table."""

INSTANT = ("earliest_ns", "estimate_ns", "latest_ns")
END_INSTANT = ("end_earliest_ns", "end_estimate_ns", "end_latest_ns")
ORIGIN = ("clock", "source", "line")
OWN_COLUMNS = frozenset(("time", *INSTANT, *END_INSTANT, "raw_ns", "end_raw_ns", *ORIGIN, "assumed"))

_PREFIX = "coeval."


class TableClaims(NamedTuple):
    """
    What the metadata of a table says of its times.

    Attributes:
        reference: what instants count on: "utc", or a clock.
        reference_label: the same for people.
        grade: "declared" or "assumed".
    """

    reference: str
    reference_label: str
    grade: str = "declared"

    def metadata(self) -> dict[str, str]:
        """For a schema."""
        said = {f"{_PREFIX}{name}": value for name, value in self._asdict().items()}
        return {f"{_PREFIX}layout": str(LAYOUT), **said}


def payload_name(name: str) -> str:
    """What a column of an event's own is called in the table."""
    while name in OWN_COLUMNS:
        name += "_"
    return name
