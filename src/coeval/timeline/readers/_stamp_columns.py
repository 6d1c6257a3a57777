"""
Which columns of a table are stamps, and the readings that they hold.

A column is found by its name, else by being the only one of a time type. Numbers become nanoseconds by the unit whose
years they fall in; none is rounded: what a number was cut to, or what a float of seconds leaves out, is its resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.errors import WrongTable
from coeval.timeline._grains import DECIMAL_GRAINS_NS, TICK_STAMPS_MIN
from coeval.timeline.readers._reader import SourceSettings, Unit
from coeval.timeline.readers._values import BoolArray, Fault, Int64Array, as_numpy, integers, texts
from coeval.timeline.stamps._epoch import UNITS, in_band, unit_of
from coeval.timeline.stamps._leap import unsmeared
from coeval.timeline.stamps._stamps import StampSense, no_zone
from coeval.timeline.stamps._texts import Shapes
from coeval.timeline.stamps._written import GOOD, NO_OFFSET, NO_STAMP, Written, nothing_written

# The begins of events as the formats and loggers of this world call them, the surer first; compared without case, "_",
# "-", "." and "@", and without a unit behind.
_TIMES = (
    "time",
    "timestamp",
    "ts",
    "datetime",
    "asctime",
    "eventtime",
    "logtime",
    "starttime",
    "start",
    "begin",
    "begintime",
    "started",
    "startedat",
    "createdat",
    "created",
    "occurredat",
    "date",
    "at",
    "t",
)
# An end is one only beside the begin that belongs to it.
_ENDS = {
    "starttime": ("endtime", "stoptime"),
    "start": ("end", "stop"),
    "begin": ("end",),
    "begintime": ("endtime",),
    "started": ("finished", "ended"),
    "startedat": ("finishedat", "endedat"),
}
_ALL_ENDS = frozenset(name for names in _ENDS.values() for name in names)
_UNIT_ENDINGS: dict[str, Unit] = {"unixnano": "ns", "nanos": "ns", "millis": "ms", "ns": "ns", "us": "us", "ms": "ms"}

_DIGITS: dict[str, int] = {"s": 9, "ms": 6, "us": 3, "ns": 0}

# What texts of a column may look like; numbers are told apart before.
_FORMS = ("iso", "clf", "syslog", "day", "asctime")

_READING_NS_MAX = 2**62

SAMPLE_ROWS = 4096
_TRIED = 64
_NUMBER = r"^[+-]?[0-9]{6,19}(\.[0-9]*)?$"


class Grain(NamedTuple):
    """
    What the stamps of a column are cut to, seen of its first ones, so that it is the same for every part.

    Attributes:
        ns: each of them is a multiple of this; 0: not known.
        is_sure: they are too many for that to be chance.
    """

    ns: int = 0
    is_sure: bool = False


NO_GRAIN = Grain()


@dataclass(frozen=True, slots=True)
class StampColumns:
    """
    Where the stamps of a table are.

    Attributes:
        time, end: the columns of the begin and the end; end "": there is none.
        clock: the column that names each row's clock; "": none does.
        unit, end_unit: of numbers; "": they are none.
        is_unit_said: somebody named the unit, so that a number outside of 1990 to 2100 is no mistake.
        grain, end_grain: what the first stamps are cut to.
    """

    time: str
    end: str = ""
    clock: str = ""
    unit: Unit | Literal[""] = ""
    end_unit: Unit | Literal[""] = ""
    is_unit_said: bool = False
    grain: Grain = NO_GRAIN
    end_grain: Grain = NO_GRAIN


@dataclass(eq=False, slots=True)
class Readings:
    """
    One reading per row; of rows that are in a fault, it means nothing.

    Attributes:
        raw_ns: int64 ns since 1970 by the clock that wrote them.
        resolution_ns: of each: a stamp means [stamp, stamp + resolution); one number: of all.
        fold_ns, is_assumed: as in `EventBatch`.
        slack_ns: so much less than what is written is `raw_ns`, since that may have been rounded.
    """

    raw_ns: Int64Array
    resolution_ns: int | Int64Array
    faults: list[Fault] = field(default_factory=list)
    fold_ns: Int64Array | None = None
    is_assumed: bool = False
    slack_ns: int | Int64Array = 0


class Sample(NamedTuple):
    """A table's columns and its first rows."""

    source: str
    columns: pa.RecordBatch


def stamp_columns(sample: Sample, settings: SourceSettings) -> StampColumns:
    """
    Find the columns of stamps.

    Raises:
        WrongTable: there is none, or several that are equally likely; it cannot hold times; its unit is not certain; or
            what was said does not fit.
    """
    schema = sample.columns.schema
    time = _named(settings.time, "time", sample) if settings.time else _found_time(sample)
    end = _named(settings.end, "end", sample) if settings.end else _found_end(time, schema)
    clock = _named(settings.clock_field, "clock_field", sample) if settings.clock_field else ""
    found = StampColumns(
        time,
        end,
        "" if settings.clock else clock,
        _unit_of(time, sample, settings),
        _unit_of(end, sample, settings) if end else "",
        bool(settings.unit),
    )
    return replace(
        found,
        grain=_grain_of(time, found.unit, sample, settings),
        end_grain=_grain_of(end, found.end_unit, sample, settings) if end else NO_GRAIN,
    )


def may_have_stamps(names: Sequence[str]) -> bool:
    """Whether some column is called as times are."""
    return any(_plain(name) in _TIMES for name in names)


def names_tried(schema: pa.Schema, settings: SourceSettings) -> list[str]:
    """The columns whose values `stamp_columns` looks at."""
    return [
        entry.name
        for entry in schema
        if entry.name in (settings.time, settings.end)
        or pa.types.is_timestamp(entry.type)
        or (_may_be_time(entry.type) and (_rank(entry.name) is not None or _is_end(entry.name)))
    ]


def likely_times(names: Sequence[str]) -> list[str]:
    """Those that are called as times are, the likeliest first."""
    ranked = [(rank, name) for name in names if (rank := _rank(name)) is not None]
    return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]


def _grain_of(name: str, unit: Unit | Literal[""], sample: Sample, settings: SourceSettings) -> Grain:
    column = sample.columns.column(name)
    if not unit and not pa.types.is_timestamp(column.type):
        return NO_GRAIN  # a text says itself how many digits it has
    # Where the zone is not said that is refused elsewhere, and a zone moves by whole seconds or more.
    careless = replace(settings, zone=settings.zone or "UTC", resolution_ns=None, smear="")
    made = StampReader(name, sample.source, unit, NO_GRAIN, True, careless).read(column)
    good = np.ones(len(made.raw_ns), dtype=np.bool_)
    for fault in made.faults:
        good[fault.rows] = False
    stamps = (made.raw_ns + made.slack_ns)[good]
    grain_of = decimal_grain_ns if pa.types.is_integer(column.type) or not unit else decimal_power_ns
    return Grain(grain_of(stamps), len(np.unique(stamps)) >= TICK_STAMPS_MIN)


class StampReader:
    """
    Turns the stamps of one column into readings, batch by batch in the order of the table.

    Args:
        name, source: whose they are, for errors.
        unit: of numbers; "": they are none.
        grain, is_unit_said: see `StampColumns`.
        settings: what was said of the source.
    """

    def __init__(
        self,
        name: str,
        source: str,
        unit: Unit | Literal[""],
        grain: Grain,
        is_unit_said: bool,
        settings: SourceSettings,
    ) -> None:
        self._name = name
        self._source = source
        self._unit = unit
        self._grain = grain
        self._is_unit_said = is_unit_said
        self._settings = settings
        self._shapes = Shapes(_FORMS)
        self._sense = StampSense(settings, f"column {name} of {source}")

    def read(self, column: pa.Array) -> Readings:
        """
        Args:
            column: integers, float64, decimals, text, dates or timestamps.

        Raises:
            WrongTable: its stamps have no zone and nobody said one, or its type holds no times.
        """
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        made = self._of_any(column)
        if column.null_count:
            made.faults.append(Fault("is missing", np.flatnonzero(_mask(pc.is_null(column)))))
        if self._settings.resolution_ns is not None:
            made.resolution_ns = self._settings.resolution_ns
        return made

    def _of_any(self, column: pa.Array) -> Readings:
        kind = column.type
        types = pa.types
        if types.is_null(kind):
            return Readings(np.zeros(len(column), dtype=np.int64), 0)
        if types.is_date(kind):
            made = self._of_timestamps(column.cast(pa.timestamp("s" if types.is_date32(kind) else "ms")))
            made.resolution_ns = 86_400 * 10**9
            return made
        if types.is_timestamp(kind):
            return self._of_timestamps(column)
        if _is_text(kind) and not self._unit:
            return self._of_text(column)
        if not self._unit:
            reason = "is a number, and the others are times as text"
            numbers = np.flatnonzero(_mask(pc.is_valid(column)))
            return Readings(np.zeros(len(column), dtype=np.int64), 0, [Fault(reason, numbers)])
        if types.is_integer(kind):
            made = _of_integers(column, self._unit, self._grain)
        elif types.is_decimal(kind):
            made = _of_decimals(column, self._unit, self._grain)
        elif types.is_float64(kind):
            made = _of_doubles(column, self._unit, self._grain)
        elif _is_text(kind):
            made = _of_number_text(column, self._unit, self._grain)
        else:
            raise WrongTable(_no_times(self._name, kind, self._source))
        if not self._is_unit_said and self._unit:
            outside = ~in_band(made.raw_ns // UNITS[self._unit], self._unit)
            if outside.any():
                # Said last, so that one that is no number at all is not this.
                reason = f"is no time of 2001 to 2100 in {self._unit}, which the others are in"
                made.faults.append(Fault(reason, np.flatnonzero(outside & ~_mask(pc.is_null(column)))))
        return self._unsmeared(made)

    def _of_text(self, column: pa.Array) -> Readings:
        return self._of_written(self._shapes.read_texts(column), column)

    def _of_timestamps(self, column: pa.Array) -> Readings:
        factor = UNITS[column.type.unit]
        counts = as_numpy(pc.fill_null(column.cast(pa.int64()), 0))
        if column.type.tz is None:
            return self._of_local(counts, factor, column)
        raw, faults = _scaled(counts, factor, [])
        return self._unsmeared(Readings(raw, _cut_to(raw, factor, self._grain), faults))

    def _of_local(self, counts: Int64Array, factor: int, column: pa.Array) -> Readings:
        per_second = 10**9 // factor
        cut = _cut_to(_scaled(counts, factor, [])[0], factor, self._grain)
        written = nothing_written(len(counts))
        known = _mask(pc.is_valid(column))
        written = written._replace(
            state=np.where(known, GOOD, NO_STAMP).astype(np.uint8),
            seconds=counts // per_second,
            nanos=counts % per_second * factor,
            digits=9 - np.round(np.log10(np.broadcast_to(cut, counts.shape))).astype(np.uint8),
            offset_s=np.full(len(counts), NO_OFFSET, dtype=np.int32),
        )
        return self._of_written(written, column)

    def _of_written(self, written: Written, column: pa.Array) -> Readings:
        is_none = written.state == NO_STAMP
        count = len(written.seconds)
        zoneless = np.zeros(count, dtype=np.bool_)
        if not self._settings.zone and not self._settings.assume_utc and _is_text(column.type):
            # Where most stamps have none, the source was refused; a single one is a matter of its row.
            zoneless = _are_zoneless(written)
            is_none = is_none | zoneless
        rows = None if not is_none.any() else np.flatnonzero(~is_none)
        stamps = self._sense.read(
            written if rows is None else written.taken(rows),
            lambda row: str(texts(column[row : row + 1] if rows is None else column[rows[row] : rows[row] + 1])[0]),
        )
        faults = stamps.faults
        raw, resolution, fold = stamps.raw_ns, stamps.resolution_ns, stamps.fold_ns
        if rows is not None:
            raw, resolution, fold = (_spread(values, rows, count) for values in (raw, resolution, fold))
            faults = [Fault(fault.reason, rows[fault.rows]) for fault in faults]
            if zoneless.any():
                faults.append(Fault("has no zone, and others have", np.flatnonzero(zoneless)))
            odd = np.flatnonzero(is_none & ~zoneless & ~_mask(pc.is_null(column)))
            if len(odd):
                faults.append(Fault("is no time in a form that is known", odd))
        return Readings(raw, resolution, faults, fold if fold.any() else None, bool(stamps.is_assumed.any()))

    def _unsmeared(self, made: Readings) -> Readings:
        if self._settings.smear == "24h-noon":
            resolution = np.broadcast_to(np.asarray(made.resolution_ns, dtype=np.int64), made.raw_ns.shape)
            made.raw_ns, made.resolution_ns = unsmeared(made.raw_ns, resolution)
        return made


def decimal_grain_ns(stamps_ns: Int64Array) -> int:
    """
    The greatest of 1 s, 1 ms and 1 us that all of them are multiples of, else 1; 0 for none at all.

    One that is there by chance, as among few stamps, only widens bounds.
    """
    if not len(stamps_ns):
        return 0
    for grain in DECIMAL_GRAINS_NS:
        if not (stamps_ns[:64] % grain).any() and not (stamps_ns % grain).any():
            return grain
    return 1


def decimal_power_ns(stamps_ns: Int64Array) -> int:
    """The greatest power of ten up to 1 s that all of them are multiples of; 0 for none at all."""
    if not len(stamps_ns):
        return 0
    grain = 10**9
    while grain > 1 and (stamps_ns % grain).any():
        grain //= 10
    return grain


# Which column ---------------------------------------------------------------------------------------------------------


def _plain(name: str) -> str:
    plain = name.lower().translate(str.maketrans("", "", "_-.@ "))
    for ending in (*_UNIT_ENDINGS, "utc"):
        if plain.removesuffix(ending) in _TIMES and plain != ending:
            return plain.removesuffix(ending)
    return plain


def _rank(name: str) -> int | None:
    plain = _plain(name)
    return _TIMES.index(plain) if plain in _TIMES else None


def _named(name: str, what: str, sample: Sample) -> str:
    names = sample.columns.schema.names
    if name in names:
        return name
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    raise WrongTable(
        f"{sample.source} has no column {name!r}, which was said to be its {what}; it has {', '.join(names)}"
        f"{f'. Is {near[0]} meant?' if near else '.'}"
    )


def _found_time(sample: Sample) -> str:
    schema = sample.columns.schema
    likely = [name for name in likely_times(schema.names) if _may_be_time(schema.field(name).type)]
    if likely:
        # Such a name may also be that of a duration, or of a day beside its time.
        chosen: str = next((name for name in likely if _holds_times(sample.columns.column(name))), likely[0])
        return chosen
    typed = [entry.name for entry in schema if pa.types.is_timestamp(entry.type)]
    if len(typed) == 1:
        return str(typed[0])
    several = f"several columns of times ({', '.join(typed)}) and none" if typed else "no column"
    raise WrongTable(
        f"{sample.source} has {several} that is named as times are (time, timestamp, ts, start, …); its columns are "
        f"{', '.join(schema.names) or 'none'}. Say which it is with time=NAME."
    )


def _is_end(name: str) -> bool:
    plain = name.lower().translate(str.maketrans("", "", "_-.@ "))
    return any(plain in (ending, *(ending + unit for unit in _UNIT_ENDINGS)) for ending in _ALL_ENDS)


def _found_end(time: str, schema: pa.Schema) -> str:
    wanted = _ENDS.get(_plain(time), ())
    for ending in wanted:
        for name in schema.names:
            plain = name.lower().translate(str.maketrans("", "", "_-.@ "))
            if plain == ending or any(plain == ending + unit for unit in _UNIT_ENDINGS):
                return str(name)
    return ""


def _may_be_time(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    return bool(
        types.is_null(kind)  # nothing is there yet
        or types.is_timestamp(kind)
        or types.is_date(kind)
        or types.is_integer(kind)
        or types.is_float64(kind)
        or types.is_decimal(kind)
        or _is_text(kind)
    )


def _holds_times(column: pa.Array) -> bool:
    """Whether most of a sample's values are times."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return True
    if pa.types.is_null(kind):
        return False
    if _is_text(kind) and not _holds_numbers(column):
        some = column.drop_null()[:_TRIED]
        return 2 * int((Shapes(_FORMS).read_texts(some).state == GOOD).sum()) > len(some)
    numbers = _numbers(column)
    return any(2 * int(in_band(numbers, unit).sum()) > len(numbers) for unit in UNITS)


def _check_times(name: str, column: pa.Array, source: str, settings: SourceSettings) -> None:
    """Refuse texts of which none is a time, or most have no zone and nobody said one."""
    written = Shapes(_FORMS).read_texts(column[:SAMPLE_ROWS])
    if (written.state == NO_STAMP).all():
        raise WrongTable(_odd_text(name, column, source))
    zoneless = _are_zoneless(written)
    if not settings.zone and not settings.assume_utc and 2 * zoneless.sum() > (written.state == GOOD).sum():
        first = int(np.flatnonzero(zoneless)[0])
        raise no_zone(f"column {name} of {source}", str(texts(column[first : first + 1])[0].as_py()))


def _are_zoneless(written: Written) -> BoolArray:
    zoneless: BoolArray = (written.state == GOOD) & (written.offset_s == NO_OFFSET)
    return zoneless


def _odd_text(name: str, column: pa.Array, source: str) -> str:
    first = texts(column.drop_null()[:1])[0].as_py()
    return (
        f"column {name} of {source} holds {first!r}, which is no time in a form that is known, such as "
        "2026-11-05T12:34:56.123Z, nor a number of six digits or more. Say which column is the time with time=NAME."
    )


def _numbers(column: pa.Array) -> Int64Array:
    """
    What a column counts, without zeros, which stand where nothing is known: of columns it is asked what most are, and
    of rows, one by one, later.
    """
    if _is_text(column.type):
        column = pc.utf8_trim_whitespace(texts(column.filter(_is_number(column))))
    numbers = as_numpy(pc.cast(column, pa.float64(), safe=False).drop_null())[:SAMPLE_ROWS]
    known = numbers[np.isfinite(numbers) & (numbers != 0) & (np.abs(numbers) < 2.0**63)]
    counts: Int64Array = np.floor(known).astype(np.int64)
    return counts


def _no_times(name: str, kind: pa.DataType, source: str) -> str:
    why = "expected are timestamps, text, or integers since 1970"
    if pa.types.is_time(kind):
        why = "a time of day without its date is no time: join it with the date, or say which column is the time"
    elif pa.types.is_floating(kind):
        why = "such a float counts seconds since 1970 in steps of minutes: give float64, or better int64 nanoseconds"
    elif pa.types.is_duration(kind):
        why = "a duration is no time: add it to its origin, or say which column is the time"
    return f"column {name} of {source} is {kind}; {why}."


# The unit -------------------------------------------------------------------------------------------------------------


def _unit_of(name: str, sample: Sample, settings: SourceSettings) -> Unit | Literal[""]:
    column = sample.columns.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if not _may_be_time(kind):
        raise WrongTable(_no_times(name, kind, sample.source))
    if pa.types.is_null(kind):
        # Without a single row nothing is there to go by, and nothing to be wrong.
        return settings.unit or "s"
    if _is_text(kind) and not _holds_numbers(column):
        if len(column) > column.null_count:
            _check_times(name, column.drop_null(), sample.source, settings)
        return ""
    if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return ""
    counts = _numbers(column)
    if not len(counts):
        return settings.unit or _ending_unit(name) or "s"
    if not settings.unit:
        # What most are in, unless some are in another: single ones in none are matters of their rows.
        inside = {unit: int(in_band(counts, unit).sum()) for unit in UNITS}
        fitting = [unit for unit, count in inside.items() if count]
        if len(fitting) == 1 and 2 * inside[fitting[0]] > len(counts):
            return fitting[0]
    return unit_of(counts, settings.unit or _ending_unit(name), f"column {name} of {sample.source}")


def _ending_unit(name: str) -> Unit | Literal[""]:
    plain = name.lower().replace("_", "").replace("-", "")
    for ending, unit in _UNIT_ENDINGS.items():
        if plain.endswith(ending) and plain.removesuffix(ending) in (*_TIMES, *_ALL_ENDS):
            return unit
    return ""


# Readings -------------------------------------------------------------------------------------------------------------


def _of_integers(column: pa.Array, unit: Unit, grain: Grain) -> Readings:
    values, faults = integers(column)
    raw, faults = _scaled(values, UNITS[unit], [fault for fault in faults if fault.reason != "is missing"])
    return Readings(raw, _cut_to(raw, UNITS[unit], grain), faults)


def _cut_to(raw: Int64Array, unit_ns: int, grain: Grain) -> int | Int64Array:
    """What whole numbers are cut to: their unit, or the grain of those that are multiples of it."""
    if grain.ns <= unit_ns:
        return unit_ns
    resolution: Int64Array = np.where(raw % grain.ns == 0, grain.ns, unit_ns)
    return resolution


def _of_decimals(column: pa.Array, unit: Unit, grain: Grain) -> Readings:
    """Digits as they were written, cut to nanoseconds."""
    cut = pc.cast(column, options=pc.CastOptions(pa.decimal128(38, _DIGITS[unit]), allow_decimal_truncate=True))
    # The number without its point, of 128 bits; of nanoseconds it needs 64.
    words = np.frombuffer(cut.buffers()[1], dtype=np.int64)[2 * cut.offset : 2 * (cut.offset + len(cut))]
    low, high = words[0::2], words[1::2]
    known = _mask(pc.is_valid(column))
    beyond = known & (high != (low >> 63))
    raw, faults = _scaled(np.where(known & ~beyond, low, 0), 1, [])
    if beyond.any():
        faults.append(Fault("is beyond int64", np.flatnonzero(beyond)))
    # Doubles are printed with seventeen digits at most, and stamps of this millennium have nineteen down to their ns.
    return _rounded(raw, unit, grain, raw % 100 != 0, faults)


def _of_doubles(column: pa.Array, unit: Unit, grain: Grain) -> Readings:
    values = as_numpy(pc.fill_null(column, 0.0))
    finite = np.isfinite(values)
    faults = [] if finite.all() else [Fault("is no number", np.flatnonzero(~finite))]
    factor = UNITS[unit]
    beyond = finite & (np.abs(values) >= _READING_NS_MAX / factor)
    if beyond.any():
        faults.append(Fault("is more than 146 years from its clock's origin", np.flatnonzero(beyond)))
    values = np.where(finite & ~beyond, values, 0.0)
    whole = np.floor(values)
    # Decimals of microseconds that a double stands for are found again by rounding; what is beyond is its last bits.
    step = 1000 if factor > 1000 else 1
    fraction = np.rint((values - whole) * (factor // step)).astype(np.int64) * step
    near = whole.astype(np.int64) * factor + fraction
    is_near = np.abs((values - whole) * factor - fraction) <= np.spacing(np.abs(values)) * factor / 2
    exact = whole.astype(np.int64) * factor + np.floor((values - whole) * factor).astype(np.int64)
    raw = np.where(is_near, near, exact)
    return _rounded(raw, unit, grain, np.zeros(len(raw), dtype=np.bool_), faults)


def _rounded(raw: Int64Array, unit: Unit, grain: Grain, is_exact: BoolArray, faults: list[Fault]) -> Readings:
    """
    Numbers that may have been rounded to doubles when they were written, and then the truth may be on both sides.

    Those that are multiples of a grain that is sure were not; they were cut.
    """
    width = np.where(raw % grain.ns == 0, grain.ns, 1) if grain.ns > 1 else np.ones(len(raw), dtype=np.int64)
    slack = np.ceil(np.spacing(np.abs(raw) / UNITS[unit]) * UNITS[unit]).astype(np.int64)
    slack = np.where(is_exact | ((width > 1) & grain.is_sure), 0, slack)
    return Readings(raw - slack, slack + np.maximum(width, slack + 1), faults, slack_ns=slack)


def _of_number_text(column: pa.Array, unit: Unit, grain: Grain) -> Readings:
    trimmed = pc.utf8_trim_whitespace(texts(column))
    known = pc.fill_null(pc.match_substring_regex(trimmed, r"^[+-]?[0-9]{1,19}(\.[0-9]{1,18})?$"), False)
    kept = pc.if_else(known, trimmed, None)
    # 18 decimals hold the digits of a double; there may be fewer, and never more.
    made = _of_decimals(pc.cast(kept, pa.decimal128(38, 18)), unit, grain)
    whole = ~_mask(pc.match_substring(trimmed, "."))
    if whole.any():
        raw = made.raw_ns + made.slack_ns
        made.raw_ns = np.where(whole, raw, made.raw_ns)
        made.resolution_ns = np.where(whole, _cut_to(raw, UNITS[unit], grain), made.resolution_ns)
        made.slack_ns = np.where(whole, 0, made.slack_ns)
    odd = ~_mask(known) & _mask(pc.is_valid(column))
    if odd.any():
        made.faults.append(Fault("is no number", np.flatnonzero(odd)))
    return made


def _spread(values: Int64Array, rows: Int64Array, count: int) -> Int64Array:
    spread = np.zeros(count, dtype=np.int64)
    spread[rows] = values
    return spread


def _scaled(values: Int64Array, factor: int, faults: list[Fault]) -> tuple[Int64Array, list[Fault]]:
    limit = _READING_NS_MAX // factor
    beyond = (values > limit) | (values < -limit)
    if not beyond.any():
        return (values * factor if factor != 1 else values), faults
    fault = Fault("is more than 146 years from its clock's origin", np.flatnonzero(beyond))
    return np.where(beyond, 0, values) * factor, [*faults, fault]


def _holds_numbers(column: pa.Array) -> bool:
    """Whether at least half of some texts are numbers."""
    known = column.drop_null()
    return len(known) > 0 and 2 * int(_mask(_is_number(known)).sum()) >= len(known)


def _is_number(column: pa.Array) -> pa.Array:
    return pc.match_substring_regex(pc.utf8_trim_whitespace(texts(column)), _NUMBER)


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
    )


def _mask(condition: pa.Array) -> BoolArray:
    mask: BoolArray = np.array(as_numpy(pc.fill_null(condition, False)))
    return mask
