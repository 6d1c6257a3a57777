"""
Reading a recording: every row of a run, by kind and in recorded order, and one sentence for each thing that is wrong.

Nothing that a file holds is run or unpickled. A damaged part costs itself only, and is counted: rows read = rows kept +
rows set aside.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_type_hints

from coeval._version import __version__
from coeval.errors import NewerFormat, RecordingWarning
from coeval.recording._event import JsonScalar
from coeval.recording._rows import (
    FORMAT,
    KINDS,
    AnchorRow,
    ClockRow,
    EndRow,
    EventRow,
    ExchangeRow,
    ExecutorRow,
    FailureRow,
    FunctionRow,
    GapRow,
    HostRow,
    ItemRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.recording._run_folder import SPOOL_SUFFIX, RunDescription, read_description
from coeval.recording._spool import Damage, decode_spool

R = TypeVar("R", bound=Row)


class Recording:
    """
    The rows of one run. Iterating gives them in recorded order.

    Attributes:
        run: what the run folder says of itself; None for what an executor keeps in memory.
        problems: what is missing, damaged or unusual, one sentence each; empty for a run that is whole.
        rows_read: rows that were found; `rows_read == len(recording) + rows_set_aside`.
        rows_set_aside: of those, the ones that are damaged or of a kind this coeval does not know.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        *,
        run: RunDescription | None = None,
        problems: Iterable[str] = (),
        rows_set_aside: int = 0,
    ) -> None:
        self._rows = tuple(rows)
        self._by_kind: defaultdict[type[Any], list[Row]] = defaultdict(list)
        for row in self._rows:
            self._by_kind[type(row)].append(row)
        self.run = run
        self.problems = (*problems, *map(_gap_problem, self.gaps))
        self.rows_set_aside = rows_set_aside
        self.rows_read = len(self._rows) + rows_set_aside

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Recording:
        """
        Read a run folder, also one that is still written, or whose driver was killed.

        Raises:
            NotARun: the folder is none of ours, or its `run.json` is not whole.
            NewerFormat: a later coeval wrote it.
            RecordingError: `run.json` cannot be read.

        Warns:
            RecordingWarning: once, if anything is missing or was set aside; `problems` says what.
        """
        folder = Path(path)
        run = read_description(folder)
        with _no_garbage_collection():
            recording = cls._read(folder, run)
        if recording.problems:
            warnings.warn(_warning(folder, recording), RecordingWarning, stacklevel=2)
        recording.problems += tuple(_open_ends(recording))
        return recording

    @classmethod
    def _read(cls, folder: Path, run: RunDescription) -> Recording:
        rows: list[Row] = []
        problems: list[str] = []
        sorter = _Sorter()
        for file in _spool_files(folder):
            try:
                data = file.read_bytes()
            except OSError as error:
                problems.append(f"{file.name} cannot be read: {error.strerror} (errno {error.errno}). It was left out.")
                continue
            contents = decode_spool(data)
            if contents.format > FORMAT:
                raise NewerFormat(
                    f"{file} was written in format {contents.format}; this coeval {__version__} reads formats up to "
                    f"{FORMAT}. Upgrade coeval to open it."
                )
            if contents.format == 0:
                problems.append(_foreign_problem(file.name, data))
                continue
            problems += [_damage_problem(file.name, damage) for damage in contents.damages]
            sorter.rows_set_aside += sum(damage.row_count or 0 for damage in contents.damages)
            rows += _renumbered(sorter.typed(contents.rows), after=rows)
        problems += sorter.problems()
        return cls(rows, run=run, problems=problems, rows_set_aside=sorter.rows_set_aside)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        kept = f"{_rows(len(self))}, {self.rows_set_aside} set aside, problems: {len(self.problems)}"
        return f"<coeval.recording.Recording {self.run['run'] if self.run else 'in memory'}: {kept}>"

    def _of(self, kind: type[R]) -> Sequence[R]:
        return cast("Sequence[R]", self._by_kind.get(kind, ()))

    @property
    def processes(self) -> Sequence[ProcessRow]:
        """Drivers and workers. `process` is unique in the recording."""
        return self._of(ProcessRow)

    @property
    def hosts(self) -> Sequence[HostRow]:
        """What hosts said of their wall clocks."""
        return self._of(HostRow)

    @property
    def exchanges(self) -> Sequence[ExchangeRow]:
        """Messages between clocks that carried no call."""
        return self._of(ExchangeRow)

    @property
    def clocks(self) -> Sequence[ClockRow]:
        """Snapshots of processes' clocks."""
        return self._of(ClockRow)

    @property
    def anchors(self) -> Sequence[AnchorRow]:
        """What time servers, and hosts themselves, said of UTC."""
        return self._of(AnchorRow)

    @property
    def executors(self) -> Sequence[ExecutorRow]:
        """Executors. `executor` is unique in the recording."""
        return self._of(ExecutorRow)

    @property
    def functions(self) -> Sequence[FunctionRow]:
        """Functions that were called."""
        return self._of(FunctionRow)

    @property
    def sent(self) -> Sequence[SentRow]:
        """Batches that were handed to an engine."""
        return self._of(SentRow)

    @property
    def outcomes(self) -> Sequence[OutcomeRow]:
        """What became of them."""
        return self._of(OutcomeRow)

    @property
    def items(self) -> Sequence[ItemRow]:
        """Items that ran long, with their own start and end."""
        return self._of(ItemRow)

    @property
    def failures(self) -> Sequence[FailureRow]:
        """Why items failed."""
        return self._of(FailureRow)

    @property
    def events(self) -> Sequence[EventRow]:
        """Marks, spans and log records."""
        return self._of(EventRow)

    @property
    def gaps(self) -> Sequence[GapRow]:
        """Rows that are known to be missing."""
        return self._of(GapRow)

    @property
    def ends(self) -> Sequence[EndRow]:
        """Executors that were closed."""
        return self._of(EndRow)


# From JSON to rows ----------------------------------------------------------------------------------------------------

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


def _are_int64(values: Iterable[Any]) -> bool:
    return all(type(value) is int and _INT64_MIN <= value <= _INT64_MAX for value in values)


class _FieldCheck(NamedTuple):
    """How JSON shows a field: as one of some types, and, where these do not say all, fulfilling a condition."""

    types: tuple[type, ...]
    holds: Callable[[Any], bool] | None = None


# By the type of the field in `_rows`; one that is not here fails at import. The range of plain integers is looked at
# for all of a row at once.
_FIELD_CHECKS: Mapping[Any, _FieldCheck] = {
    int: _FieldCheck((int,)),
    str: _FieldCheck((str,)),
    bool: _FieldCheck((bool,)),
    int | None: _FieldCheck((int, type(None)), lambda value: value is None or _are_int64([value])),
    Sequence[int]: _FieldCheck((list,), _are_int64),
    Sequence[str]: _FieldCheck((list,), lambda values: all(type(value) is str for value in values)),
    Mapping[str, JsonScalar]: _FieldCheck(
        (dict,), lambda fields: all(value is None or isinstance(value, (str, int, float)) for value in fields.values())
    ),
}


class _Shape(NamedTuple):
    """What a kind's rows look like in JSON; prepared, as a run may have millions."""

    row_type: type[Row]
    field_count: int
    field_count_min: int
    defaults: tuple[Any, ...]
    type_rows: frozenset[tuple[type, ...]]
    integers: Callable[[Any], tuple[int, ...]] | None
    conditions: tuple[tuple[int, Callable[[Any], bool]], ...]
    sequences: tuple[int, ...]

    @classmethod
    def of(cls, row_type: type[Row]) -> _Shape:
        hints = get_type_hints(row_type)
        kinds = [hints[name] for name in row_type._fields]
        checks = [_FIELD_CHECKS[kind] for kind in kinds]
        integers = [place for place, kind in enumerate(kinds) if kind is int]
        return cls(
            row_type,
            field_count=len(kinds),
            field_count_min=len(kinds) - len(row_type._field_defaults),
            # As JSON would give them.
            defaults=tuple([*one] if type(one) is tuple else one for one in row_type._field_defaults.values()),
            type_rows=frozenset(product(*(check.types for check in checks))),
            # The first twice: of one place, itemgetter would give no tuple.
            integers=itemgetter(integers[0], *integers) if integers else None,
            conditions=tuple((place, check.holds) for place, check in enumerate(checks) if check.holds is not None),
            sequences=tuple(place for place, check in enumerate(checks) if check.types == (list,)),
        )

    def fits(self, values: Sequence[Any]) -> bool:
        if tuple(map(type, values)) not in self.type_rows:
            return False
        if self.integers is not None:
            integers = self.integers(values)
            if min(integers) < _INT64_MIN or max(integers) > _INT64_MAX:
                return False
        return all(holds(values[place]) for place, holds in self.conditions)


_SHAPES = {name: _Shape.of(row_type) for name, row_type in KINDS.items()}


class _Sorter:
    """Makes rows of what JSON gave, and counts what cannot be one."""

    def __init__(self) -> None:
        self.rows_set_aside = 0
        self._unknown: Counter[str] = Counter()
        self._misshapen: Counter[str] = Counter()
        self._longer: Counter[str] = Counter()

    def typed(self, raw_rows: Iterable[Any]) -> list[Row]:
        rows: list[Row] = []
        for raw in raw_rows:
            row = self._typed(raw)
            if row is None:
                self.rows_set_aside += 1
            else:
                rows.append(row)
        return rows

    def _typed(self, raw: Any) -> Row | None:
        if type(raw) is not list or not raw or type(raw[0]) is not str:
            self._misshapen["no kind"] += 1
            return None
        name, *values = raw
        shape = _SHAPES.get(name)
        if shape is None:
            self._unknown[name] += 1
            return None
        missing = shape.field_count - len(values)
        if missing > 0 and len(values) >= shape.field_count_min:  # written before those fields were added
            values += shape.defaults[len(shape.defaults) - missing :]
        is_longer = missing < 0
        if is_longer:
            del values[shape.field_count :]
        if not shape.fits(values):
            self._misshapen[f"kind {name!r}"] += 1
            return None
        if is_longer:
            self._longer[name] += 1
        for place in shape.sequences:
            values[place] = tuple(values[place])
        return shape.row_type._make(values)

    def problems(self) -> list[str]:
        return [
            *(
                f"{_rows(count)} of kind {name!r} {_were(count)} set aside: this coeval {__version__} does not know "
                f"that kind. A later one does."
                for name, count in sorted(self._unknown.items())
            ),
            *(
                f"{_rows(count)} of {what} {_were(count)} set aside: not of the shape that format {FORMAT} gives "
                f"{'it' if count == 1 else 'them'}."
                for what, count in sorted(self._misshapen.items())
            ),
            *(
                f"{_rows(count)} of kind {name!r} {'has' if count == 1 else 'have'} more fields than this coeval "
                f"{__version__} knows; those fields were not read."
                for name, count in sorted(self._longer.items())
            ),
        ]


def _renumbered(rows: list[Row], after: Sequence[Row]) -> list[Row]:
    """
    Make process and executor numbers of one spool distinct from those of the spools before.

    Every process that writes counts its own from 0. `executor` and `process` mean the same in each kind that has them.
    """
    process_shift = 1 + max((row.process for row in after if isinstance(row, ProcessRow)), default=-1)
    executor_shift = 1 + max((row.executor for row in after if isinstance(row, ExecutorRow)), default=-1)
    if not process_shift and not executor_shift:
        return rows
    shifts = {"process": process_shift, "executor": executor_shift}
    shifted: list[Row] = []
    row: Any  # _replace differs from kind to kind
    for row in rows:
        changes = {
            name: number + shift
            for name, shift in shifts.items()
            # -1 means nobody's.
            if (number := getattr(row, name, -1)) >= 0
        }
        shifted.append(row._replace(**changes))
    return shifted


# What went wrong, for people ------------------------------------------------------------------------------------------


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A million rows make the collector look through all of them many times over, for cycles that cannot be there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _spool_files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix == SPOOL_SUFFIX and file.is_file()]
    return sorted(files, key=lambda file: (len(file.name), file.name))


def _damage_problem(name: str, damage: Damage) -> str:
    at = f"bytes {damage.begin} to {damage.end}"
    if damage.kind == "header":
        return f"{name}: its header ({at}) is damaged; its rows were read all the same."
    if damage.kind == "tail":
        return (
            f"{name} ends within frame {damage.frame}, at byte {damage.end}: its process was killed while writing, is "
            f"writing now, or the file was cut. {_rows(damage.rows_before)} before it {_were(damage.rows_before)} read."
        )
    lost = "an unknown number of rows" if damage.row_count is None else _rows(damage.row_count)
    if damage.kind == "missing":
        were = _were(damage.row_count or 0)
        return f"{name}: {lost} {were} removed before frame {damage.frame}, at byte {damage.begin}."
    return f"{name}: frame {damage.frame} ({at}) is damaged and was set aside with {lost}."


def _foreign_problem(name: str, data: bytes) -> str:
    held = f"begins with {data[:8]!r}" if data else "is empty"
    return f"{name} is not a spool of coeval's (it {held}); it was left out."


def _gap_problem(gap: GapRow) -> str:
    return f"{_rows(gap.row_count)} {_were(gap.row_count)} not kept: {gap.reason}."


def _open_ends(recording: Recording) -> Iterator[str]:
    ended = {end.executor for end in recording.ends}
    for row in recording.executors:
        if row.executor not in ended:
            yield (
                f"executor {row.executor} ({row.engine}) has no end: it is still running, or its process was killed. "
                f"What happened in its last moment may be missing."
            )


def _warning(folder: Path, recording: Recording) -> str:
    count = len(recording.problems)
    if count == 1:
        return f"{folder}: {recording.problems[0]}"
    return (
        f"{folder} has {count} problems; {_rows(recording.rows_read)} read, {recording.rows_set_aside} set aside. The "
        f"first: {recording.problems[0]} All are in Recording.problems."
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
