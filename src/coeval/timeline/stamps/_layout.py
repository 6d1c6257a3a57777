"""
Many stamps of one shape at once.

Lines of one log look alike: the stamp begins at the same byte and has the same signs at the same places. Such a shape
is learned from one text that `_forms.py` has read. A row is taken only if every byte fits, and what follows cannot be
more of the stamp; all others are left to the exact way, so it does not matter which shapes are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coeval.timeline._zone_names import OFFSET_HOURS_MAX
from coeval.timeline.readers._values import BoolArray, Int64Array
from coeval.timeline.stamps._forms import EPOCH_S_MAX, EPOCH_S_MIN, MONTHS, fields_of, read_stamp
from coeval.timeline.stamps._written import GOOD, NO_OFFSET, YEARLESS_YEAR, Written

Bytes = npt.NDArray[np.uint8]

PADDING = 64
"""So many bytes must follow the last text in the buffer, for looking beyond its end."""

LENGTH_MAX = PADDING - 3

_DAYS_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int32)
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.uint8)
_DAYS_TO_1970 = 719_162

_IS_WORD = np.zeros(256, np.bool_)
for _ranges in (b"0123456789", b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"_"):
    _IS_WORD[list(_ranges)] = True

_MONTH_KEYS = {
    int.from_bytes(written.encode(), "big"): number
    for number, name in enumerate(MONTHS, 1)
    for written in (name, name.capitalize())
}
_SORTED_KEYS = np.array(sorted(_MONTH_KEYS), np.int32)
_KEYED_MONTHS = np.array([_MONTH_KEYS[key] for key in sorted(_MONTH_KEYS)], np.int32)


class Span(NamedTuple):
    """Which bytes of a text hold a part of the stamp."""

    begin: int
    end: int


@dataclass(frozen=True)
class Layout:
    """
    The shape of a text that begins with a stamp, or with a few bytes that are always the same and then a stamp.

    Attributes:
        begin: of the stamp.
        length: from the text's begin to the stamp's end.
        literals: the bytes that are always the same, by place.
        spans: where the digits of each part stand.
        zone: "": none is written; "utc": a name of UTC; "number".
        epoch_digits: how many digits a count since 1970 has; 0: it is a date.
        is_day_padded: a day of one digit has a space before it.
    """

    begin: int
    length: int
    literals: tuple[tuple[int, int], ...]
    spans: dict[str, Span] = field(hash=False)
    zone: str = ""
    epoch_digits: int = 0
    is_day_padded: bool = False


def layout_of(text: bytes, begin: int, end: int, forms: tuple[str, ...]) -> Layout | None:
    """
    The shape of a text whose bytes from `begin` to `end` are a stamp; None: it is one that is better read alone.
    """
    if end > LENGTH_MAX:
        return None
    try:
        stamp = text[begin:end].decode("ascii")
    except UnicodeDecodeError:
        return None
    read = read_stamp(stamp, forms)
    if read.state != GOOD or read.is_leap:
        return None
    for form in forms:
        if form == "epoch":
            if not stamp.replace(".", "", 1).isdigit():
                continue
            return _epoch_layout(text, begin, end)
        found = fields_of(stamp, form)
        if found is not None:
            break
    else:
        return None
    spans = {
        name: Span(begin + found.start(name), begin + found.end(name))
        for name, value in found.groupdict().items()
        if value and name != "zone"
    }
    zone_begin = begin + found.start("zone")
    written = found["zone"].strip()
    zone = "" if not written else "number" if written[0] in "+-" else "utc"
    if zone == "number":
        sign = zone_begin + found["zone"].index(written[0])
        spans["sign"] = Span(sign, sign + 1)
        spans["hours"] = Span(sign + 1, sign + 3)
        if len(written) > 3:
            spans["minutes"] = Span(end - 2, end)
    if "fraction" in spans and spans["fraction"].end - spans["fraction"].begin > 9:
        return None
    free = {place for span in spans.values() for place in range(*span)}
    literals = tuple((place, text[place]) for place in range(end) if place not in free)
    return Layout(begin, end, literals, spans, zone, is_day_padded=form in ("syslog", "asctime"))


def _epoch_layout(text: bytes, begin: int, end: int) -> Layout | None:
    whole, _, fraction = text[begin:end].partition(b".")
    if len(fraction) > 9 or len(whole) == 19:
        return None
    spans = {"whole": Span(begin, begin + len(whole))}
    if fraction:
        spans["fraction"] = Span(end - len(fraction), end)
    free = {place for span in spans.values() for place in range(*span)}
    literals = tuple((place, text[place]) for place in range(end) if place not in free)
    return Layout(begin, end, literals, spans, "utc", len(whole))


def read_alike(layout: Layout, data: Bytes, begins: Int64Array, ends: Int64Array) -> tuple[BoolArray, Written]:
    """
    Read every text that has this shape.

    Args:
        data: what the texts stand in, with `PADDING` bytes after them.
        begins, ends: of each text, int64.

    Returns:
        Which texts have it, and what those say: one row for each that has.
    """
    columns = _gathered(data, begins, layout.length + 3)
    fits = begins + layout.length <= ends
    fits &= _is_over(layout, columns, begins, ends)
    return _read(layout, columns, fits)


def read_rows(layout: Layout, texts: Bytes) -> tuple[BoolArray, Written]:
    """
    The same of texts that lie one after the other and are as long as the shape.

    Args:
        texts: shape (n, layout.length).
    """
    return _read(layout, np.ascontiguousarray(texts.T), np.ones(len(texts), np.bool_))


def _read(layout: Layout, columns: Bytes, fits: BoolArray) -> tuple[BoolArray, Written]:
    """
    See `read_alike`.

    Args:
        columns: the bytes of each text, one column for each.
        fits: which ones may have the shape, as far as it is known.
    """
    for place, byte in layout.literals:
        fits &= columns[place] == byte
    digits: list[int] = []
    for name, span in layout.spans.items():
        if name == "day":
            first = columns[span.begin]
            fits &= (first - np.uint8(48) <= 3) | ((first == 32) & layout.is_day_padded)
            digits += range(span.begin + 1, span.end)
        elif name not in ("name", "sign"):
            digits += range(*span)
    fits &= (columns[digits] - np.uint8(48)).max(axis=0, initial=0) <= 9
    month = np.zeros(0, np.int32)
    if "name" in layout.spans:
        month = _named_months(columns, layout.spans["name"].begin)
        fits &= month > 0
    if not fits.all():
        columns = columns[:, fits]
        month = month[fits] if len(month) else month
    if layout.epoch_digits:
        possible, written = _epoch_values(layout, columns)
    else:
        possible, written = _calendar_values(layout, columns, month)
    if not possible.all():
        written = written.taken(possible)
        fits[np.flatnonzero(fits)[~possible]] = False
    return fits, written


def _gathered(data: Bytes, begins: Int64Array, width: int) -> Bytes:
    """The first bytes of each text, one column of the result for each text."""
    every = np.ndarray((len(data) - width + 1,), f"V{width}", buffer=data, strides=(1,))
    return np.ascontiguousarray(every[begins].view(np.uint8).reshape(-1, width).T)


def _is_over(layout: Layout, columns: Bytes, begins: Int64Array, ends: Int64Array) -> BoolArray:
    """Where the text after the shape cannot belong to the stamp."""

    def following(more: int) -> npt.NDArray[np.uint8]:
        place = layout.length + more
        return np.where(begins + place < ends, columns[place], np.uint8(0))

    first = following(0)
    over = ~_IS_WORD[first]
    if "fraction" not in layout.spans and (not layout.zone or layout.epoch_digits):
        over &= ~(((first == 46) | (first == 44)) & (following(1) - np.uint8(48) <= 9))
    if layout.zone == "number" and "minutes" not in layout.spans:
        over &= first != 58
    if not layout.zone:
        second, third = following(1), following(2)
        over &= (first != 43) & (first != 45)
        is_zone = (second == 85) | (second == 71) | (second == 90)
        is_zone |= ((second == 43) | (second == 45)) & (third - np.uint8(48) <= 9)
        over &= ~((first == 32) & is_zone)
    return over


def _named_months(columns: Bytes, place: int) -> npt.NDArray[np.int32]:
    """From 1; 0: no month."""
    wide = columns[place : place + 3].astype(np.int32)
    keys = (wide[0] << 16) | (wide[1] << 8) | wide[2]
    at = np.minimum(np.searchsorted(_SORTED_KEYS, keys), len(_SORTED_KEYS) - 1)
    return np.where(_SORTED_KEYS[at] == keys, _KEYED_MONTHS[at], 0).astype(np.int32)


def _number(columns: Bytes, span: Span) -> npt.NDArray[np.int32]:
    """At most nine digits as a number; a space is a zero."""
    value: npt.NDArray[np.int32] = (columns[span.begin] & 15).astype(np.int32)
    for place in range(span.begin + 1, span.end):
        value *= 10
        value += columns[place] & 15
    return value


def _number_once(columns: Bytes, span: Span) -> npt.NDArray[np.int32]:
    """The same; where all rows have one number, of one row, for all."""
    digits = columns[span.begin : span.end]
    return _number(columns[:, :1] if bool((digits == digits[:, :1]).all()) else columns, span)


def _calendar_values(layout: Layout, columns: Bytes, month: npt.NDArray[np.int32]) -> tuple[BoolArray, Written]:
    """Which of these are dates and times that there are, and what they say."""
    spans, count = layout.spans, columns.shape[1]
    # Neighbouring lines are of one day, and then its date is worked out once: of one row, which stands for all.
    if "name" not in spans:
        month = _number_once(columns, spans["month"])
    year = _number_once(columns, spans["year"]) if "year" in spans else np.full(1, YEARLESS_YEAR, np.int32)
    day = _number_once(columns, spans["day"])
    hour, minute = _number_once(columns, spans["hour"]), _number_once(columns, spans["minute"])
    second = _number(columns, spans["second"])
    is_leap_year = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    # Second 60 is left to the exact way.
    possible = (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59) & (year >= 1) & (day >= 1)
    month = np.where((month >= 1) & (month <= 12), month, 1).astype(np.int32)
    possible &= day <= _DAYS_IN_MONTH[month] + ((month == 2) & is_leap_year)
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - _DAYS_TO_1970
    days = days + _DAYS_BEFORE_MONTH[month] + day - 1 + ((month > 2) & is_leap_year)
    seconds = days.astype(np.int64) * 86_400 + (hour * 3600 + minute * 60 + second)
    offset_s = _same(np.int32(NO_OFFSET if not layout.zone else 0), count)
    if layout.zone == "number":
        hours = _number_once(columns, spans["hours"])
        minutes = _number_once(columns, spans["minutes"]) if "minutes" in spans else np.zeros(1, np.int32)
        sign = columns[spans["sign"].begin]
        possible &= (hours <= OFFSET_HOURS_MAX) & (minutes <= 59) & ((sign == 43) | (sign == 45))
        offset_s = np.where(sign == 43, 1, -1).astype(np.int32) * (hours * 3600 + minutes * 60)
    nanos, digits = _fraction(layout, columns)
    return possible, _written(layout, seconds, nanos, digits, offset_s, is_yearless="year" not in spans)


def _epoch_values(layout: Layout, columns: Bytes) -> tuple[BoolArray, Written]:
    count = columns.shape[1]
    begin, end = layout.spans["whole"]
    whole = np.zeros(count, np.int64)
    for place in range(begin, end, 8):
        part = Span(place, min(place + 8, end))
        whole = whole * 10 ** (part.end - part.begin) + _number(columns, part)
    nanos, digits = _fraction(layout, columns)
    if layout.epoch_digits > 10:
        digits = layout.epoch_digits - 10
        whole, rest = np.divmod(whole, 10**digits)
        nanos = rest * 10 ** (9 - digits)
    possible = (whole >= EPOCH_S_MIN) & (whole < EPOCH_S_MAX)
    return possible, _written(layout, whole, nanos, digits, _same(np.int32(0), count), is_yearless=False)


def _written(
    layout: Layout,
    seconds: Int64Array,
    nanos: Int64Array,
    digits: int,
    offset_s: npt.NDArray[np.int32],
    *,
    is_yearless: bool,
) -> Written:
    """Good stamps of one shape: what follows from it is one value for all."""
    count = len(seconds)
    return Written(
        _same(np.uint8(GOOD), count),
        seconds,
        nanos,
        _same(np.uint8(digits), count),
        offset_s,
        _same(np.False_, count),
        _same(np.bool_(is_yearless), count),
        _same(np.int32(layout.begin), count),
        _same(np.int32(layout.length), count),
    )


def _same(value: Any, count: int) -> npt.NDArray[Any]:
    return np.broadcast_to(value, count)


def _fraction(layout: Layout, columns: Bytes) -> tuple[Int64Array, int]:
    span = layout.spans.get("fraction")
    if span is None:
        return np.zeros(columns.shape[1], np.int64), 0
    digits = span.end - span.begin
    return _number(columns, span).astype(np.int64) * 10 ** (9 - digits), digits
