"""Events placed on the timeline, in columns: what a chunk of a piece becomes before it is put into its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST
from coeval.timeline.merge._before import ClockOrder
from coeval.timeline.merge._log_texts import Payload, as_batch
from coeval.timeline.merge._maps import PlacedClock
from coeval.timeline.readers._reader import NO_READING, EventBatch
from coeval.timeline.readers._values import BoolArray, Int64Array, as_numpy

INSTANT_COLUMNS = ("key", "earliest", "latest")
END_COLUMNS = ("end_earliest", "end_estimate", "end_latest", "end_raw")
UNKNOWN_OF = {
    "earliest": UNKNOWN_EARLIEST,
    "latest": UNKNOWN_LATEST,
    "end_earliest": UNKNOWN_EARLIEST,
    "end_estimate": UNKNOWN_ESTIMATE,
    "end_latest": UNKNOWN_LATEST,
    "end_raw": NO_READING,
}


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """
    Placed events of one source.

    Attributes:
        columns: int64 by name: `key` (what the order goes by: the estimate, or the raw reading where the clock cannot
            be placed), `level` (of equal keys, what happened first), `earliest`, `latest`, `raw`, `line` (from 1),
            `clock` (codes), `resolution` (with a fold: all that the stamp may mean), and where some event has an end
            `END_COLUMNS`; sentinels where nothing is known. `level` and `resolution` are left out where they are 0 for
            all.
        source: code.
        payload: the rest; places of texts only where keys ascend.
        is_assumed: nobody said the zone.
        is_ascending: keys never fall.
    """

    columns: Mapping[str, Int64Array]
    source: int
    payload: Payload
    is_assumed: bool
    is_ascending: bool

    def __len__(self) -> int:
        return len(self.columns["key"])

    def sliced(self, start: int, stop: int) -> Rows:
        """Some neighbouring rows."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Rows(columns, self.source, self.payload.slice(start, stop - start), self.is_assumed, self.is_ascending)

    def filtered(self, mask: BoolArray) -> Rows:
        """Some rows."""
        columns = {name: values[mask] for name, values in self.columns.items()}
        payload = as_batch(self.payload).filter(pa.array(mask))
        return Rows(columns, self.source, payload, self.is_assumed, self.is_ascending)

    def split(self, key: int | None) -> tuple[Rows, Rows | None]:
        """
        The rows before a key, and those from there on.

        Args:
            key: None: all are before it.
        """
        if key is None:
            return self, None
        if self.is_ascending:
            at = int(np.searchsorted(self.columns["key"], key, side="left"))
            if at == len(self):
                return self, None
            return self.sliced(0, at), self.sliced(at, len(self))
        before = self.columns["key"] < key
        if bool(before.all()):
            return self, None
        return self.filtered(before), self.filtered(~before)


@dataclass(frozen=True, eq=False, slots=True)
class Placement:
    """
    Where readings lie.

    Attributes:
        maps: of each clock by code; None: nothing relates it to the reference.
        orders: what messages change in the order of a clock's rows, by code.
    """

    maps: Sequence[PlacedClock | None]
    orders: Mapping[int, ClockOrder]

    def is_monotone(self, clock: int) -> bool:
        """Whether no later reading has an earlier key."""
        found = self.maps[clock]
        return found is None or found.map.is_monotone

    def keys(self, clock: int, raw: Int64Array) -> Int64Array:
        """What the order goes by: estimates, or raw readings where a clock cannot be placed."""
        found = self.maps[clock]
        return raw if found is None else found.instants(raw).estimate_ns


@dataclass(frozen=True, eq=False, slots=True)
class Settled:
    """
    Rows of a part whose stamp has two readings, and evidence says which it means.

    Attributes:
        lines: of the part, from 0, ascending.
        is_later: the later one.
    """

    lines: Int64Array
    is_later: BoolArray

    def applied(self, batch: EventBatch) -> EventBatch:
        """The same events, these with the one reading that they mean."""
        assert batch.fold_ns is not None
        at = np.minimum(np.searchsorted(self.lines, batch.lines), len(self.lines) - 1)
        is_settled = self.lines[at] == batch.lines
        later = np.where(is_settled & self.is_later[at], batch.fold_ns, 0)
        fold = np.where(is_settled, 0, batch.fold_ns)
        return replace(batch, raw_ns=batch.raw_ns + later, fold_ns=fold)


def placed(
    batch: EventBatch,
    codes: Sequence[int],
    placement: Placement,
    clocks: frozenset[int],
    source: int,
    lines_before: int,
    settled: Settled | None = None,
    *,
    has_bounds: bool = True,
) -> Rows | None:
    """
    Place the events of a chunk that are of some clocks.

    Args:
        codes: the clock's code, for each name in the batch's dictionary; one code where the batch names no clocks.
        clocks: codes of those that are wanted; either all can be placed or none.
        lines_before: of the source, before this part.
        settled: rows of the part of which evidence says which of two readings they mean.
        has_bounds: otherwise only the order is wanted, and none of `earliest`, `latest`, `resolution`, `END_COLUMNS`.

    Returns:
        None: the chunk has no event of these clocks.
    """
    if settled is not None and batch.fold_ns is not None:
        batch = settled.applied(batch)
    if batch.clocks is None:
        if codes[0] not in clocks or not len(batch):
            return None
        if has_bounds:
            columns = _columns(batch.raw_ns, batch.end_raw_ns, batch.fold_ns, batch.resolution_ns, codes[0], placement)
        else:
            columns = {"raw": batch.raw_ns, "key": placement.keys(codes[0], batch.raw_ns)}
        columns["clock"] = np.broadcast_to(np.int64(codes[0]), len(batch))
        payload, line = batch.payload, batch.lines
    else:
        table = np.array(codes, dtype=np.int64)
        own = table[as_numpy(batch.clocks.indices)]
        columns = {}
        for code in np.unique(own).tolist():
            if code not in clocks:
                continue
            rows = np.flatnonzero(own == code)
            end = None if batch.end_raw_ns is None else batch.end_raw_ns[rows]
            fold = None if batch.fold_ns is None else batch.fold_ns[rows]
            raw = batch.raw_ns[rows]
            part = {"raw": raw, "key": placement.keys(code, raw)}
            if has_bounds:
                part = _columns(raw, end, fold, batch.resolution_ns, code, placement)
            for name, values in part.items():
                columns.setdefault(name, np.empty(len(own), dtype=np.int64))[rows] = values
        if not columns:
            return None
        columns["clock"] = own
        payload, line = batch.payload, batch.lines
        wanted = np.isin(own, list(clocks))
        if not bool(wanted.all()):
            columns = {name: values[wanted] for name, values in columns.items()}
            payload, line = as_batch(payload).filter(pa.array(wanted)), line[wanted]
    columns["line"] = line + (lines_before + 1)
    _put_in_order(columns, source, placement.orders)
    key = columns["key"]
    is_ascending = bool(np.all(key[1:] >= key[:-1]))
    # Of others stretches take rows here and there, each of which would read most of the chunk's texts.
    return Rows(columns, source, payload if is_ascending else as_batch(payload), batch.is_assumed, is_ascending)


def _put_in_order(columns: dict[str, Int64Array], source: int, orders: Mapping[int, ClockOrder]) -> None:
    """Keys that contradict no message, where estimates do."""
    if not orders:
        return
    clock = columns["clock"]
    for code in np.unique(clock).tolist():
        order = orders.get(code)
        if order is None:
            continue
        rows = np.flatnonzero(clock == code)
        at = slice(None) if len(rows) == len(clock) else rows
        key, level = order.applied(columns["key"][at], columns["raw"][at], source, columns["line"][at])
        whole = columns["key"].copy()
        whole[at] = key
        columns["key"] = whole
        if level is not None:
            columns.setdefault("level", np.zeros(len(clock), dtype=np.int64))[at] = level


def _columns(
    raw: Int64Array,
    end: Int64Array | None,
    fold: Int64Array | None,
    resolution_ns: int,
    clock: int,
    placement: Placement,
) -> dict[str, Int64Array]:
    """Events of one clock."""
    found = placement.maps[clock]
    columns = {"raw": raw}
    if resolution_ns or fold is not None:
        columns["resolution"] = np.full(len(raw), resolution_ns, dtype=np.int64) + (0 if fold is None else fold)
    if found is None:
        columns["key"] = raw
        columns["earliest"] = np.full(len(raw), UNKNOWN_EARLIEST, dtype=np.int64)
        columns["latest"] = np.full(len(raw), UNKNOWN_LATEST, dtype=np.int64)
    else:
        instants = found.instants(raw)
        columns["key"], columns["earliest"] = instants.estimate_ns, instants.earliest_ns
        columns["latest"] = instants.latest_ns
        if "resolution" in columns:
            columns["latest"] = found.latest_ns(raw + columns["resolution"])
    if end is not None:
        columns["end_raw"] = end
        for name in ("end_earliest", "end_estimate", "end_latest"):
            columns[name] = np.full(len(raw), UNKNOWN_OF[name], dtype=np.int64)
        ended = np.flatnonzero(end != NO_READING)
        if found is not None and len(ended):
            instants = found.instants(end[ended])
            columns["end_earliest"][ended] = instants.earliest_ns
            columns["end_estimate"][ended] = instants.estimate_ns
            latest = found.latest_ns(end[ended] + resolution_ns) if resolution_ns else instants.latest_ns
            columns["end_latest"][ended] = latest
    return columns
