"""Zones by what people call them: a place or an offset from UTC. Apart from `stamps/_zones.py`, which needs numpy."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Local times of this earth are at most so far from UTC.
OFFSET_HOURS_MAX = 15

_FIXED = re.compile(r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>[0-9]{1,2})(?::?(?P<minutes>[0-9]{2}))?", re.IGNORECASE)


def fixed_offset_s(name: str) -> int | None:
    """
    Local time minus UTC in seconds, where the name is an offset such as "+02:00", "UTC-5" or "Z"; None: it is not.

    Raises:
        ValueError: it is an offset that no place has.
    """
    if name.upper() in ("UTC", "Z", "GMT", "ETC/UTC"):
        return 0
    found = _FIXED.fullmatch(name)
    if found is None:
        return None
    hours, minutes = int(found["hours"]), int(found["minutes"] or 0)
    if hours > OFFSET_HOURS_MAX or minutes > 59:
        raise ValueError(f"{name!r} is no offset from UTC: expected at most ±{OFFSET_HOURS_MAX}:59, such as +02:00.")
    return (1 if found["sign"] == "+" else -1) * (hours * 3600 + minutes * 60)


def zone_of(name: str) -> tzinfo | None:
    """
    The zone of an IANA name such as "Europe/Berlin", or of an offset; None: there is none.

    Raises:
        ValueError: it is an offset that no place has.
    """
    offset_s = fixed_offset_s(name)
    if offset_s is not None:
        return timezone(timedelta(seconds=offset_s)) if offset_s else UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
