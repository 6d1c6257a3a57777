"""Times as people give them to choose events by: in any zone, as an interval where a local time was there twice."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, NamedTuple

from coeval.timeline._zone_names import zone_of

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"(:\d\d)[.,](\d{1,9})(?!\d)")


class TimeFilter(NamedTuple):
    """
    Events in [since, until), int64 ns; None: no limit.

    Attributes:
        certain: those that were in it for certain; else all that can have been.
    """

    since_ns: int | None
    until_ns: int | None
    certain: bool

    def narrowed(self, other: TimeFilter) -> TimeFilter:
        """Both at once; certain if either is."""
        since = [ns for ns in (self.since_ns, other.since_ns) if ns is not None]
        until = [ns for ns in (self.until_ns, other.until_ns) if ns is not None]
        return TimeFilter(max(since, default=None), min(until, default=None), self.certain or other.certain)

    @property
    def _sides(self) -> tuple[str, str]:
        """The columns that are compared with since and until."""
        return ("earliest_ns", "latest_ns") if self.certain else ("latest_ns", "earliest_ns")

    @property
    def expression(self) -> ds.Expression | None:
        """For Arrow; what is unknown can have been at any time, and was at none for certain."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        low, high = self._sides
        found: ds.Expression | None = None
        for name, limit, is_since in ((low, self.since_ns, True), (high, self.until_ns, False)):
            if limit is None:
                continue
            value = pa.scalar(limit, pa.int64())
            one = ds.field(name) >= value if is_since else ds.field(name) < value
            if not self.certain:
                one = one | ds.field(name).is_null()
            found = one if found is None else found & one
        return found

    @property
    def sql(self) -> str:
        """The same as a condition in SQL; "" for none."""
        low, high = self._sides
        unknown = "false" if self.certain else "true"
        parts = []
        if self.since_ns is not None:
            parts.append(f"coalesce({low} >= {self.since_ns}, {unknown})")
        if self.until_ns is not None:
            parts.append(f"coalesce({high} < {self.until_ns}, {unknown})")
        return " and ".join(parts)


def time_filter(
    since: str | datetime | int | None, until: str | datetime | int | None, zone: str | None, *, certain: bool
) -> TimeFilter:
    """
    See `Timeline.between`.

    Raises:
        ValueError: a time cannot be read, carries no zone and none is given, or never was in that zone.
    """
    where = _zone(zone) if zone is not None else None
    begin = None if since is None else min(_readings(since, where, "since"))
    end = None if until is None else max(_readings(until, where, "until"))
    if begin is not None and end is not None and begin > end:
        raise ValueError(f"since {since} is after until {until}: give the earlier one first")
    return TimeFilter(begin, end, certain)


def _zone(name: str) -> tzinfo:
    zone = zone_of(name)
    if zone is None:
        raise ValueError(f"zone {name!r} is not known; expected a name such as Europe/Berlin, or +02:00")
    return zone


def _readings(when: str | datetime | int, zone: tzinfo | None, what: str) -> list[int]:
    """The one or two times that are meant, ns since 1970."""
    if isinstance(when, int):
        return [when]
    rest_ns = 0
    if isinstance(when, str):
        # datetime keeps microseconds only.
        text, fraction = when.strip(), _FRACTION.search(when.strip())
        if fraction:
            rest_ns = int(fraction[2].ljust(9, "0"))
            text = text[: fraction.end(1)] + text[fraction.end() :]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{what} is {when!r}; expected ISO 8601, as in 2026-11-05T12:00:00Z") from None
    else:
        moment = when
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(
                f"{what} is {when}, without a zone: end it with Z or +01:00, or name a zone for it with tz"
            )
        local = moment
        found = [moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
        if all(one.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != local for one in found):
            raise ValueError(f"{what} is {when}, which never was in {zone}: the clocks were set forward over it")
    else:
        found = [moment]
    return [(one - _EPOCH) // timedelta(microseconds=1) * 1000 + rest_ns for one in found]
