"""
The forms that stamps are written in, and what one text of a form means: exact, one at a time.

| form | as in |
|---|---|
| iso | `2026-11-05T12:34:56.123456+01:00`, `2026-11-05 12:34:56,123`, `20261105T123456Z` |
| slash | `2026/11/05 12:34:56.123456` |
| clf | `05/Nov/2026:12:34:56 +0100` |
| syslog | `Nov  5 12:34:56`, `Nov  5 2026 12:34:56` |
| day | `05 Nov 2026 12:34:56,123` |
| asctime | `Thu Nov  5 12:34:56.123456 2026` |
| epoch | `1793882096.123`: seconds, ms, us or ns since 1970 by how many digits it has |

A fraction after a point or a comma has any number of digits; what is beyond ns is cut. Zones are written Z, UTC, GMT,
+01, +0100 or +01:00, at once or after a space; names such as CET mean different things to different people and are not
read.

Sources: ISO 8601-1, RFC 3339 (iso), RFC 3164 section 4.1.2 (syslog), the Common Log Format of httpd (clf).
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from typing import NamedTuple

from coeval.timeline._zone_names import OFFSET_HOURS_MAX
from coeval.timeline.stamps._written import GOOD, IMPOSSIBLE, NO_OFFSET, NO_STAMP, YEARLESS_YEAR

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# Regular expressions that Python and RE2 read alike. Spaces are written \x20, so that (?x) does no harm.
_MONTH = r"(?:[Jj]an|[Ff]eb|[Mm]ar|[Aa]pr|[Mm]ay|[Jj]un|[Jj]ul|[Aa]ug|[Ss]ep|[Oo]ct|[Nn]ov|[Dd]ec)"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_FRACTION = r"(?:[.,][0-9]+)?"
# After a space a number is a zone only with its minutes: "12:34:56 +10 points" has none. Stamps end where words end.
_ZONE = r"(?:\x20?(?:Z|UTC|GMT)\b|\x20?[+-][0-9]{2}:?[0-9]{2}\b|[+-][0-9]{2}\b|\b)"

PATTERNS: dict[str, str] = {
    "iso": (
        rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T\x20_]{_CLOCK}{_FRACTION}{_ZONE}"
        rf"|[0-9]{{8}}T[0-9]{{6}}{_FRACTION}{_ZONE}"
    ),
    "slash": rf"[0-9]{{4}}/[0-9]{{2}}/[0-9]{{2}}[T\x20]{_CLOCK}{_FRACTION}{_ZONE}",
    "clf": rf"[0-9]{{2}}/{_MONTH}/[0-9]{{4}}:{_CLOCK}{_FRACTION}{_ZONE}",
    "syslog": rf"{_MONTH}\x20[\x200-9][0-9](?:\x20[0-9]{{4}})?\x20{_CLOCK}{_FRACTION}\b",
    "day": rf"[0-9]{{2}}\x20{_MONTH}\x20[0-9]{{4}}\x20{_CLOCK}{_FRACTION}{_ZONE}",
    "asctime": rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\x20{_MONTH}\x20[\x200-9][0-9]\x20{_CLOCK}{_FRACTION}\x20[0-9]{{4}}\b",
    "epoch": r"[0-9]{10}(?:\.[0-9]+)?\b|[0-9]{13}\b|[0-9]{16}\b|[0-9]{19}\b",
}
"""What finds a stamp of each form in a text, for Python's `re` and for RE2; without groups."""

_FIELDS = {
    "iso": (
        r"(?P<year>[0-9]{4})-?(?P<month>[0-9]{2})-?(?P<day>[0-9]{2})[T _]"
        r"(?P<hour>[0-9]{2}):?(?P<minute>[0-9]{2}):?(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?(?P<zone>.*)"
    ),
    "slash": (
        r"(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})[T ]"
        r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?(?P<zone>.*)"
    ),
    "clf": (
        r"(?P<day>[0-9]{2})/(?P<name>[A-Za-z]{3})/(?P<year>[0-9]{4}):"
        r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?(?P<zone>.*)"
    ),
    "syslog": (
        r"(?P<name>[A-Za-z]{3}) (?P<day>[ 0-9][0-9])(?: (?P<year>[0-9]{4}))? "
        r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?(?P<zone>)"
    ),
    "day": (
        r"(?P<day>[0-9]{2}) (?P<name>[A-Za-z]{3}) (?P<year>[0-9]{4}) "
        r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?(?P<zone>.*)"
    ),
    "asctime": (
        r"[A-Za-z]{3} (?P<name>[A-Za-z]{3}) (?P<day>[ 0-9][0-9]) "
        r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?"
        r" (?P<year>[0-9]{4})(?P<zone>)"
    ),
}
_ZONE_WRITTEN = re.compile(r" ?(?:(?P<utc>Z|UTC|GMT)|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)")


# Compiled when they are first used: together they take as long as all the rest of a merge of small files.
@cache
def _whole(form: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{PATTERNS[form]})\Z", re.ASCII)


@cache
def _fields(form: str) -> re.Pattern[str]:
    return re.compile(_FIELDS[form])


_EPOCH_DAY = date(1970, 1, 1).toordinal()
# Counts since 1970 below the first look like the time since a machine was started; the second is 2100.
EPOCH_S_MIN, EPOCH_S_MAX = 10**9, 4_102_444_800
_UNIT_NS_BY_DIGITS = {10: 10**9, 13: 10**6, 16: 10**3, 19: 1}


class Reading(NamedTuple):
    """One stamp; the columns of `Written`, but for where it stands."""

    state: int
    seconds: int = 0
    nanos: int = 0
    digits: int = 0
    offset_s: int = NO_OFFSET
    is_leap: bool = False
    is_yearless: bool = False


def read_stamp(text: str, forms: tuple[str, ...]) -> Reading:
    """Read a text that is a stamp and nothing else. The first form that fits is taken."""
    for form in forms:
        if _whole(form).match(text):
            return _epoch(text) if form == "epoch" else _calendar(text, form)
    return Reading(NO_STAMP)


def fields_of(text: str, form: str) -> re.Match[str] | None:
    """Where in a stamp of a calendar form which part stands."""
    return _fields(form).fullmatch(text) if _whole(form).match(text) else None


def _calendar(text: str, form: str) -> Reading:
    found = _fields(form).fullmatch(text)
    if found is None:
        return Reading(NO_STAMP)
    part = found.groupdict()
    month = MONTHS.index(part["name"].lower()) + 1 if "name" in part else int(part["month"])
    year, day = int(part["year"] or YEARLESS_YEAR), int(part["day"])
    hour, minute, second = int(part["hour"]), int(part["minute"]), int(part["second"])
    offset_s = _offset(part["zone"])
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return Reading(IMPOSSIBLE)
    if hour > 23 or minute > 59 or second > 60 or offset_s is None:
        return Reading(IMPOSSIBLE)
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    if second == 60:
        # Inserted at the end of a UTC day only; where no zone is written, at the end of some quarter of an hour.
        period_s = 900 if offset_s == NO_OFFSET else 86_400
        if (seconds - (0 if offset_s == NO_OFFSET else offset_s)) % period_s:
            return Reading(IMPOSSIBLE)
        return Reading(GOOD, seconds, 0, 0, offset_s, True, not part["year"])
    digits = (part["fraction"] or "")[:9]
    nanos = int(digits.ljust(9, "0"))
    return Reading(GOOD, seconds, nanos, len(digits), offset_s, False, not part["year"])


def _offset(text: str) -> int | None:
    """Seconds; None: there is no such zone."""
    if not text:
        return NO_OFFSET
    found = _ZONE_WRITTEN.fullmatch(text)
    if found is None:
        return None
    if found["utc"]:
        return 0
    hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
    if hours > OFFSET_HOURS_MAX or minutes > 59:
        return None
    return (1 if found["sign"] == "+" else -1) * (hours * 3600 + minutes * 60)


def _epoch(text: str) -> Reading:
    whole, _, fraction = text.partition(".")
    fraction = fraction[:9]
    unit_ns = _UNIT_NS_BY_DIGITS[len(whole)]
    seconds, nanos = divmod(int(whole) * unit_ns, 10**9)
    if not EPOCH_S_MIN <= seconds < EPOCH_S_MAX:
        return Reading(IMPOSSIBLE)
    if unit_ns == 10**9:
        return Reading(GOOD, seconds, int(fraction.ljust(9, "0")), len(fraction), 0)
    return Reading(GOOD, seconds, nanos, {10**6: 3, 10**3: 6, 1: 9}[unit_ns], 0)
