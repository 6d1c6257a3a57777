"""
The columns of a timeline as a table, the same in memory and in Parquet, in timeline order.

| column | type | meaning |
|---|---|---|
| time | timestamp[ns, UTC] | the estimate, for tools that want one time |
| earliest_ns, estimate_ns, latest_ns | int64 | when, on the reference; null: unknown |
| end_earliest_ns, end_estimate_ns, end_latest_ns | int64 | the end, where some event has one |
| raw_ns, end_raw_ns | int64 | the readings as written, by the clock that wrote them |
| resolution_ns | int64 | a stamp means [reading, reading + resolution), where some stamp was cut; 0: exact |
| clock, source | string | whose readings, and where they are from |
| line | int64 | the line or row of the source, from 1 |
| assumed | bool | nobody said the zone of this stamp, where that is so of some |

Everything else an event has stands in columns of its own, after these. One whose name is taken gets a `_` behind it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

from coeval.clocks import UTC, ClockId, Grade
from coeval.errors import WrongTable

LAYOUT = 2
"""Version of this layout, in the metadata of a table."""

INSTANT = ("earliest_ns", "estimate_ns", "latest_ns")
END_INSTANT = ("end_earliest_ns", "end_estimate_ns", "end_latest_ns")
ORIGIN = ("clock", "source", "line")
OWN_COLUMNS = frozenset(("time", *INSTANT, *END_INSTANT, "raw_ns", "end_raw_ns", "resolution_ns", *ORIGIN, "assumed"))

_PREFIX = "coeval."


class TableClaims(NamedTuple):
    """
    What the metadata of a table says of its times.

    Attributes:
        reference: what instants count on: UTC, or a clock.
        reference_label: the same for people.
        grade: "declared" or "assumed".
        set_back: clocks that were set back in between, so that their own readings do not tell the order of events.
    """

    reference: ClockId
    reference_label: str
    grade: Grade = "declared"
    set_back: tuple[ClockId, ...] = ()

    def metadata(self) -> dict[str, str]:
        """For a schema."""
        return {
            "coeval.layout": str(LAYOUT),
            "coeval.reference": self.reference,
            "coeval.reference_label": self.reference_label,
            "coeval.grade": self.grade,
            "coeval.set_back": json.dumps(self.set_back),
        }

    @classmethod
    def of(cls, metadata: Mapping[bytes, bytes] | None, name: str) -> TableClaims:
        """
        Read them back.

        Args:
            name: of the table, for people.

        Raises:
            WrongTable: they are not there, or were written by a later coeval.
        """
        said = {key.decode(): value.decode() for key, value in (metadata or {}).items() if key.startswith(b"coeval.")}
        layout = said.get("coeval.layout", "")
        if "coeval.reference" not in said or not layout.isdecimal():
            raise WrongTable(
                f"{name} is no timeline: it does not say what its times count on. Make one: coeval merge {name}"
            )
        if int(layout) > LAYOUT:
            raise WrongTable(f"{name} has layout {layout}, and this coeval reads up to {LAYOUT}: install a later one.")
        grade = cast("Literal['declared', 'assumed']", said.get("coeval.grade", "declared"))
        reference = ClockId(said["coeval.reference"])
        return cls(reference, said.get("coeval.reference_label") or label_of(reference), grade, set_back_in(metadata))


def set_back_in(metadata: Mapping[bytes, bytes] | None) -> tuple[ClockId, ...]:
    """The clocks that a table says were set back; of one that says nothing, none."""
    return tuple(ClockId(clock) for clock in json.loads((metadata or {}).get(b"coeval.set_back", b"[]")))


def label_of(reference: ClockId) -> str:
    """What a reference is called where nothing better is known."""
    return "UTC" if reference == UTC else f"time of clock {reference}"


def payload_name(name: str) -> str:
    """What a column of an event's own is called in the table."""
    while name in OWN_COLUMNS:
        name += "_"
    return name
