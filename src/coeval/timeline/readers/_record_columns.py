"""Events that a reader finds one by one, gathered into columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.errors import WrongTable
from coeval.timeline.readers._reader import NO_READING, EventBatch, Part
from coeval.timeline.readers._table_events import batches_by_resolution, clocks_of, grains_by_code_ns
from coeval.timeline.readers._values import Int64Array, array_of, as_numpy
from coeval.timeline.stamps._leap import unsmeared

EVENTS_IN_BATCH = 1 << 15

_DECIMAL = frozenset((0, *(10**digits for digits in range(10))))


class RecordColumns:
    """
    Gathers events.

    Args:
        schema: of the payload.
        part: whose events they are; what was said of its clock and resolution counts before what they say.
        wanted: as in `Reader.batches`.
        is_cut: stamps may be cut to less than a nanosecond, which is seen of those of each clock; else they are exact.
    """

    def __init__(self, schema: pa.Schema, part: Part, wanted: Collection[str] | None, *, is_cut: bool = True) -> None:
        self._schema = schema
        self._settings = part.settings
        self._source = part.source
        self._kept = [index for index, name in enumerate(schema.names) if wanted is None or name in wanted]
        self._is_cut = is_cut
        field = part.settings.clock_field
        if field and field not in schema.names:
            raise WrongTable(
                f"{part.source} has no column {field!r} that could name its clocks; it has {', '.join(schema.names)}."
            )
        self._field = schema.names.index(field) if field and not part.settings.clock else None
        self.slack_ns = 0
        """Floats stand for numbers up to so far from them, on both sides."""
        self._clear()

    def _clear(self) -> None:
        self._lines: list[int] = []
        self._raw: list[int] = []
        self._end: list[int] = []
        self._clock: list[str | None] = []
        self._rows: list[tuple[Any, ...]] = []
        self._spread: list[int] = []

    def __len__(self) -> int:
        return len(self._raw)

    def add(
        self,
        line: int,
        raw_ns: int,
        end_ns: int | None,
        clock: str | None,
        row: tuple[Any, ...],
        spread_ns: int = 0,
    ) -> None:
        """
        One more event.

        Args:
            line: from 0 at the part's start.
            clock: None: one of the source's own, named after it.
            row: its payload, a value for each column.
            spread_ns: the stamp means [raw_ns, raw_ns + spread_ns), whatever it is cut to.
        """
        self._lines.append(line)
        self._raw.append(raw_ns)
        self._end.append(NO_READING if end_ns is None else end_ns)
        if self._field is not None:
            said = row[self._field]
            clock = clock if said in (None, "") else str(said)
        self._clock.append(clock)
        self._rows.append(row)
        self._spread.append(spread_ns)

    def full(self) -> Iterator[EventBatch]:
        """What was gathered, if that is much."""
        return self.rest() if len(self) >= EVENTS_IN_BATCH else iter(())

    def rest(self) -> Iterator[EventBatch]:
        """What was gathered, one batch for each resolution."""
        if not self._raw:
            return
        raw, end = np.array(self._raw, dtype=np.int64), np.array(self._end, dtype=np.int64)
        clocks = None
        codes = np.zeros(len(raw), dtype=np.int64)
        if not self._settings.clock and any(clock is not None for clock in self._clock):
            clocks = clocks_of(array_of([clock or self._source for clock in self._clock], pa.string()))
            codes = as_numpy(clocks.indices).astype(np.int64)
        columns = [array_of([row[index] for row in self._rows], self._schema.field(index).type) for index in self._kept]
        payload = pa.RecordBatch.from_arrays(
            columns, schema=pa.schema([self._schema.field(index) for index in self._kept])
        )
        if not columns:
            payload = pa.RecordBatch.from_pydict({"": pa.nulls(len(raw))}).select([])
        resolution = np.maximum(self._resolution(codes, raw, end), _few(self._spread))
        raw = raw - self.slack_ns
        if self._settings.smear == "24h-noon":
            raw, resolution = unsmeared(raw, resolution)
        lines = np.array(self._lines, dtype=np.int64)
        self._clear()
        yield from batches_by_resolution(
            EventBatch(lines, raw, 0, payload, clocks, end if (end != NO_READING).any() else None),
            resolution,
            np.ones(len(raw), dtype=np.bool_),
        )

    def _resolution(self, codes: Int64Array, raw: Int64Array, end: Int64Array) -> Int64Array:
        if self._settings.resolution_ns is not None:
            return np.full(len(raw), self._settings.resolution_ns, dtype=np.int64)
        if not self._is_cut:
            return np.zeros(len(raw), dtype=np.int64)
        ended = end != NO_READING
        grains = grains_by_code_ns(np.concatenate((codes, codes[ended])), np.concatenate((raw, end[ended])))
        return np.maximum(grains[: len(raw)], 2 * self.slack_ns + 1)


def _few(spread_ns: list[int]) -> Int64Array:
    """
    Widths, since each makes a batch of its own: decimal ones as they are, others as the next power of two.
    """
    return np.array(
        [width if width in _DECIMAL else 1 << (width - 1).bit_length() for width in spread_ns], dtype=np.int64
    )
