"""Zones that are no place but an offset from UTC, as people write them. Apart from other zones, which need numpy."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo

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


def fixed_zone(name: str) -> tzinfo | None:
    """
    The zone of that offset; None: the name is no offset.

    Raises:
        ValueError: it is an offset that no place has.
    """
    offset_s = fixed_offset_s(name)
    if offset_s is None:
        return None
    return timezone(timedelta(seconds=offset_s)) if offset_s else UTC
