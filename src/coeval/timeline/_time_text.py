"""
Times as people read them. Inside everything is integer ns; what stands here is only for the screen.

Instants are cut, not rounded, like a clock's display. Durations are rounded to three digits. Bounds are rounded up, so
that what is shown is never narrower than what is known. What is not known is "unknown", never 0. Text of others is
shown without what would move a cursor.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000))
_MINUTE_NS, _HOUR_NS, _DAY_NS = 60 * 10**9, 3600 * 10**9, 86_400 * 10**9

UNKNOWN = "unknown"


def format_instant(ns: int | None, zone: tzinfo = UTC, digits: int = 9, *, date: bool = True) -> str:
    """
    A time as ISO 8601 says it, with its offset from UTC: `2026-11-22 19:14:21.123Z`, `20:14:21.123+01:00`.

    Args:
        ns: since 1970-01-01 UTC, any int64; None: unknown.
        digits: of the fraction of a second, 0 to 9; the rest is cut.
        date: with the date; without, UTC is not marked either, for columns under a heading that does.

    Raises:
        ValueError: `digits` is out of range.
    """
    if not 0 <= digits <= 9:
        raise ValueError(f"digits is {digits}; expected 0 to 9: clocks count nanoseconds")
    if ns is None:
        return UNKNOWN
    seconds, fraction = divmod(ns, 10**9)
    local = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    text = local.strftime("%H:%M:%S")
    if date:
        # Not %Y, which does not fill up to four digits everywhere.
        text = f"{local.year:04}-{local.month:02}-{local.day:02} {text}"
    if digits:
        text += f".{fraction:09}"[: digits + 1]
    if zone is UTC:
        return f"{text}Z" if date else text
    return text + format_utc_offset(local.utcoffset() or timedelta())


def format_utc_offset(offset: timedelta) -> str:
    """`+01:00`; seconds only where there are some, as with local mean times."""
    seconds = offset.days * 86_400 + offset.seconds
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}"
    return f"{text}:{seconds % 60:02}" if seconds % 60 else text


def format_duration_ns(ns: int | None) -> str:
    """
    A duration to three digits, below a minute: `0 s`, `417 ns`, `-1.25 ms`, `12.3 s`; above: `3 min 07 s`,
    `2 h 03 min`, `4 d 05 h`, cut to the smaller unit.
    """
    if ns is None:
        return UNKNOWN
    if ns < 0:
        return f"-{format_duration_ns(-ns)}"
    if ns >= _MINUTE_NS:
        return _long(ns)
    return _short(ns, round_up=False, digits=3)


def format_bound_ns(ns: int | None) -> str:
    """
    How far the truth may be from the estimate, rounded up to two digits: `±0`, `±12 µs`, `±1.3 ms`.

    Raises:
        ValueError: it is negative.
    """
    if ns is None:
        return UNKNOWN
    if ns < 0:
        raise ValueError(f"a bound of {ns} ns is none: it must not be negative")
    if ns == 0:
        return "±0"
    if ns > 99 * 10**9:
        return f"±{-(-ns // 10**9):,} s"
    return f"±{_short(ns, round_up=True, digits=2)}"


def format_interval_ns(least_ns: int | None, greatest_ns: int | None) -> str:
    """
    A duration that is known as an interval: `1.25 ms`, `1.2 ms .. 3.4 ms`, `at most 3.4 ms`, `unknown`.

    Below zero on one side only, it says what that means: `-1 ms .. 3 ms, order unknown`.
    """
    if least_ns is None and greatest_ns is None:
        return UNKNOWN
    if least_ns is None:
        return f"at most {format_duration_ns(greatest_ns)}"
    if greatest_ns is None:
        return f"at least {format_duration_ns(least_ns)}"
    if least_ns == greatest_ns:
        return format_duration_ns(least_ns)
    text = f"{format_duration_ns(least_ns)} .. {format_duration_ns(greatest_ns)}"
    return f"{text}, order unknown" if least_ns < 0 < greatest_ns else text


def format_offset_ns(ns: int | None, bound_ns: int | None) -> str:
    """
    How far a clock is ahead (negative: behind), with as many digits as its bound bears: `+2.00001 s ±70 µs`.
    """
    if ns is None:
        return UNKNOWN
    sign = "+" if ns > 0 else "-" if ns < 0 else ""
    size = abs(ns)
    unit, unit_ns = next(((unit, unit_ns) for unit, unit_ns in reversed(_UNITS) if size >= unit_ns), _UNITS[0])
    grain = 1
    while grain * 10 <= min(bound_ns or 1, unit_ns):
        grain *= 10
    count = (2 * size + grain) // (2 * grain)
    whole, rest = divmod(count, unit_ns // grain)
    decimals = len(str(unit_ns // grain)) - 1
    number = f"{whole:,}.{rest:0{decimals}}" if decimals else f"{whole:,}"
    return f"{sign}{number} {unit} {format_bound_ns(bound_ns) if bound_ns is not None else '±unknown'}"


def half_width_ns(earliest_ns: int | None, estimate_ns: int | None, latest_ns: int | None) -> int | None:
    """How far the truth may be from the estimate on either side; None: unknown."""
    if earliest_ns is None or estimate_ns is None or latest_ns is None:
        return None
    return max(latest_ns - estimate_ns, estimate_ns - earliest_ns)


def _long(ns: int) -> str:
    if ns >= _DAY_NS:
        return f"{ns // _DAY_NS:,} d {ns // _HOUR_NS % 24:02} h"
    if ns >= _HOUR_NS:
        return f"{ns // _HOUR_NS} h {ns // _MINUTE_NS % 60:02} min"
    return f"{ns // _MINUTE_NS} min {ns // 10**9 % 60:02} s"


def _short(ns: int, *, round_up: bool, digits: int) -> str:
    """Below 100 s, in the unit that leaves one to three digits before the point; exact in integers."""
    if ns == 0:
        return "0 s"
    for unit, size in _UNITS:
        for decimals in range(digits - 1, -1, -1):
            grain = size // 10**decimals
            if not grain:
                continue
            count = -(-ns // grain) if round_up else (2 * ns + grain) // (2 * grain)
            if count < 10 ** (digits if decimals else 3):
                break
        else:
            continue
        whole, rest = divmod(count, 10**decimals)
        return f"{whole}.{rest:0{decimals}} {unit}" if decimals else f"{whole} {unit}"
    raise AssertionError(f"{ns} ns does not fit")


def plain(text: str) -> str:
    """On one line, and nothing in it that moves a terminal's cursor or colours it."""
    return "".join(part if part.isprintable() else " " if part.isspace() else "?" for part in text)
