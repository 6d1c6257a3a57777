"""
A timeline as lines for people: the time in any zone, how far the truth can be from it, where it is from, what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, TextIO

from coeval.timeline._said import said
from coeval.timeline._time_text import UNKNOWN, format_bound_ns, format_duration_ns, format_instant, half_width_ns
from coeval.timeline.writers._json_value import json_value

if TYPE_CHECKING:
    from coeval.timeline._timeline import TableEvent, Timeline

_DIGITS = 6
# As wide as "±unknown"; a name that is wider than its column shifts its own line only.
_BOUND_COLUMNS = 8
_SOURCE_COLUMNS = 12


def write_text(timeline: Timeline, file: TextIO, zone: tzinfo = UTC) -> int:
    """
    Write a line for each event, in timeline order; an event of several lines has them all, indented.

    Args:
        zone: of the times shown; each carries its offset from UTC.

    Returns:
        How many events were written: all of them.
    """
    count = 0
    for event in timeline.rows():
        count += 1
        for line in text_lines(event, zone):
            file.write(line + "\n")
    return count


def text_lines(event: TableEvent, zone: tzinfo = UTC) -> Iterator[str]:
    """The lines of one event."""
    begin, end = event.begin, event.end
    when = format_instant(begin.estimate_ns, zone, _DIGITS)
    half = half_width_ns(begin.earliest_ns, begin.estimate_ns, begin.latest_ns)
    bound = format_bound_ns(half) if half is not None else f"±{UNKNOWN}"
    lasted = ""
    if end is not None and begin.estimate_ns is not None and end.estimate_ns is not None:
        lasted = f" ({format_duration_ns(end.estimate_ns - begin.estimate_ns)})"
    payload = {name: json_value(value) for name, value in event.payload.items()}
    first, *more = said(payload).splitlines() or [""]
    source = str(event.row.get("source") or event.row["clock"])
    yield f"{when} {bound:<{_BOUND_COLUMNS}} {source:<{_SOURCE_COLUMNS}}  {first}{lasted}".rstrip()
    for line in more:
        yield f"    {line}"
