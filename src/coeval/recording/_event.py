"""
What happens inside a call, as it travels home: marks, spans, log records and clock readings, each with raw readings.

An event is a plain tuple of plain values, so that a worker needs nothing but the standard library to make one and a
recording needs no pickle to keep one. Times are readings of the clock of the process that made the event; nothing here
is ever corrected.
"""

from __future__ import annotations

from coeval.clocks._named_tuple import NamedTuple

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, TypeAlias

JsonScalar: TypeAlias = str | int | float | bool | None
# Texts at run time: workers do without `typing`.
EventKind: TypeAlias = "Literal['mark', 'span', 'log', 'output', 'clock']"
Fields: TypeAlias = "Mapping[str, JsonScalar]"

# Longest text that one field of an event keeps. A log line is longer than this only by accident (a whole array
# printed), and an accident must not fill the recording.
FIELD_CHARS_MAX = 10_000


class Event(NamedTuple):
    """
    One thing that happened in one process.

    Attributes:
        kind: "mark" (a moment), "span" (a begin and an end), "log" (a `logging` record), "output" (a line that
            was printed), or "clock" (a snapshot of the process's clocks).
        reading_ns: when, or when it began, on the raw clock of that process.
        end_ns: when it ended, for spans; the second raw reading, for clock snapshots; else None.
        name: the mark's or span's name; the logger's name; "stdout" or "stderr"; "" for clock snapshots.
        fields: what was given along, cut to JSON's scalars (`plain_field`).
        item: which item of its batch was running; -1 outside of any call.
    """

    kind: EventKind
    reading_ns: int
    end_ns: int | None
    name: str
    fields: Fields
    item: int = -1


def plain_field(value: object) -> JsonScalar:
    """A field as JSON can keep it: scalars as they are, everything else by its `repr`, cut to `FIELD_CHARS_MAX`."""
    # Exact types: a subclass (numpy.float64 is a float) may carry a repr or an encoding of its own.
    if value is None or type(value) in (bool, int):
        return value  # type: ignore[return-value]  # the line above is the narrowing
    if type(value) is float and value - value == 0:  # finite: JSON has no word for the others
        return value
    try:
        text = str(value) if isinstance(value, str) else repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: repr failed with {type(error).__name__}>"
    return text if len(text) <= FIELD_CHARS_MAX else f"{text[:FIELD_CHARS_MAX]}… ({len(text)} characters)"
