"""
Chunks of events in an Arrow file: written one after the other, read in any order.

Beside the payload a chunk has columns of ours. What holds for a whole chunk stands in its metadata. Columns may differ
from chunk to chunk, as with JSON lines; chunks of one kind then lie together in a file of their own.

Texts that come again and again are written once, and each row has a code, where whoever asks wants that.

Of a log that stays a log the text is wanted, with a line end behind it. Where it stands so in the log itself, only its
place is put down, and whoever wants the text reads that part of the log again.
"""

from __future__ import annotations

import contextlib
import json
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline._shared_files import begin_file, file_to_read
from coeval.timeline.merge._columns import texts_repeat
from coeval.timeline.merge._log_texts import LogTexts, OpenLog
from coeval.timeline.readers._reader import EventBatch
from coeval.timeline.readers._text import WHOLE_TEXT
from coeval.timeline.readers._values import CodeArray, as_numpy

# No payload has columns of such names: these would be cut at the NUL elsewhere.
_LINE, _RAW, _END, _FOLD, _CLOCK, _PLACE = "\0line", "\0raw", "\0end", "\0fold", "\0clock", "\0place"
# What a column's name begins with where codes stand in for its texts.
_CODE = "\0code:"
_OWN = (_LINE, _RAW, _END, _FOLD, _CLOCK, _PLACE)

# Texts that repeat have codes while no more than so many differ.
_TEXTS_MAX = 1 << 14
_NO_TEXTS = pa.array([], pa.string())

# Not compressed: on two cores that took a third of what parsing a log takes, and these files live for minutes.
_OPTIONS = pa.ipc.IpcWriteOptions(use_threads=False)


class ChunkWriter:
    """
    Writes chunks into files, which are read once all of them are whole.

    Args:
        path: where to write, a path or a URL, which begins the names of all of them.
        has_codes: texts that repeat are read again as dictionaries.

    Attributes:
        schemas: of the payloads, each once, without dictionaries.
    """

    def __init__(self, path: str, *, has_codes: bool = False) -> None:
        self._codes = _Codes() if has_codes else None
        self._path = path
        self._writers: dict[pa.Schema, Any] = {}
        self._files: list[Any] = []
        self._chunks: list[dict[str, Any]] = []
        self._counts: list[int] = []
        self._clocks: dict[str, int] = {}
        self.schemas: list[pa.Schema] = []

    @property
    def repeating(self) -> frozenset[str]:
        """Columns of texts that have codes in every chunk."""
        return self._codes.names if self._codes is not None else frozenset()

    def __enter__(self) -> ChunkWriter:
        return self

    def write(self, batch: EventBatch) -> None:
        """One more."""
        payload = _plain(batch.payload)
        arrays, names = [pa.array(batch.raw_ns)], [_RAW]
        schema, first_line, begin = payload.schema, -1, 0
        places = lines = None
        if has_places(batch):
            assert batch.edges is not None
            payload, begin = payload.select([]), int(batch.edges[0])
            places = (batch.edges - begin).astype(np.int32)
        if len(batch) and bool((np.diff(batch.lines) == 1).all()):
            first_line = int(batch.lines[0])
        else:
            lines = batch.lines
        end = int(places[-1]) if places is not None else 0
        starts = None if places is None else places[:-1]
        for name, values in ((_LINE, lines), (_END, batch.end_raw_ns), (_FOLD, batch.fold_ns), (_PLACE, starts)):
            if values is not None:
                arrays.append(pa.array(values))
                names.append(name)
        if batch.clocks is not None:
            told = [self._clocks.setdefault(name, len(self._clocks)) for name in batch.clocks.dictionary.to_pylist()]
            codes = np.array(told, dtype=np.int32)[as_numpy(batch.clocks.indices)]
            arrays.append(pa.array(codes))
            names.append(_CLOCK)
        for name, column in zip(payload.schema.names, payload.columns, strict=True):
            coded = self._codes.of(name, column) if self._codes is not None else None
            arrays.append(column if coded is None else coded)
            names.append(name if coded is None else _CODE + name)
        made = pa.RecordBatch.from_arrays(arrays, names)
        number = self._number_of(made.schema, schema)
        self._writers[made.schema].write_batch(made)
        self._chunks.append(
            {
                "file": number,
                "at": self._counts[number],
                "resolution_ns": batch.resolution_ns,
                "is_assumed": batch.is_assumed,
                "first_line": first_line,
                "begin": begin,
                "end": end,
            }
        )
        self._counts[number] += 1

    def _number_of(self, schema: pa.Schema, payload: pa.Schema) -> int:
        if schema not in self._writers:
            self._files.append(begin_file(f"{self._path}.{len(self._files)}"))
            self._writers[schema] = pa.ipc.new_file(self._files[-1], schema, options=_OPTIONS)
            self._counts.append(0)
            if payload not in self.schemas:
                self.schemas.append(payload)
        return list(self._writers).index(schema)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for file in self._files:
                file.close()
            return
        for writer, file in zip(self._writers.values(), self._files, strict=True):
            writer.close()
            file.close()
        told = {"chunks": self._chunks, "clocks": list(self._clocks)}
        told["texts"] = self._codes.texts if self._codes is not None else {}
        with begin_file(self._path) as file:
            file.write(json.dumps(told).encode())


def has_places(batch: EventBatch) -> bool:
    """Whether of a chunk only the places of its texts are written."""
    return batch.edges is not None and batch.payload.schema.names == [WHOLE_TEXT]


class _Codes:
    """
    Codes of texts, the same in all chunks.

    Attributes:
        texts: of each column that has some, by code.
    """

    def __init__(self) -> None:
        self._known: dict[str, pa.StringArray] = {}
        self._given_up: set[str] = set()

    @property
    def texts(self) -> dict[str, list[str]]:
        return {name: known.to_pylist() for name, known in self._known.items()}

    @property
    def names(self) -> frozenset[str]:
        """Columns that have codes in every chunk."""
        return frozenset(self._known) - self._given_up

    def of(self, name: str, column: pa.Array) -> pa.Array | None:
        """The codes of a column, null where it is; None: it is better left as it is, from now on."""
        if name in self._given_up or not len(column):
            return None
        # Of one name there may be other values in the next chunk, as with JSON lines.
        if not pa.types.is_string(column.type) or (name not in self._known and not texts_repeat(column)):
            self._given_up.add(name)
            return None
        known = self._known.setdefault(name, _NO_TEXTS)
        # After the first chunks all texts are known as a rule, and to look them up is all there is to do.
        codes = pc.index_in(column, value_set=known)
        if codes.null_count == column.null_count:
            return codes
        new = column.filter(pc.and_(pc.is_null(codes), pc.is_valid(column))).unique()
        try:
            new.validate(full=True)
        except pa.ArrowInvalid:  # what is not UTF-8 would be lost
            new = None
        if new is None or len(known) + len(new) > _TEXTS_MAX:
            self._given_up.add(name)
            return None
        self._known[name] = known = pa.concat_arrays([known, new])
        return pc.index_in(column, value_set=known)


class ChunkFile:
    """
    What a `ChunkWriter` wrote; `chunk(number)` gives one of them, with `LogTexts` where it has only places of texts.

    Args:
        log: the file that texts are read from, where only their places were put down.
    """

    def __init__(self, path: str, log: str) -> None:
        self._open = contextlib.ExitStack()
        with file_to_read(path) as file:
            told = json.loads(file.read())
        self._chunks = told["chunks"]
        self._clocks = pa.array(told["clocks"], pa.string())
        self._texts_of = {_CODE + name: pa.array(texts, pa.string()) for name, texts in told["texts"].items()}
        self._path = path
        self._readers: dict[int, Any] = {}
        self._log_path = log
        self._log: OpenLog | None = None

    def __enter__(self) -> ChunkFile:
        return self

    def __len__(self) -> int:
        return len(self._chunks)

    def chunk(self, number: int) -> EventBatch:
        """One chunk."""
        told = self._chunks[number]
        made = self._reader(told["file"]).get_batch(told["at"])
        names = made.schema.names
        own = {name: made.column(name) for name in _OWN if name in names}
        clocks = None
        if _CLOCK in own:
            clocks = pa.DictionaryArray.from_arrays(own[_CLOCK], self._clocks)
        payload = self._with_texts(made.select([name for name in names if name not in own]))
        if _PLACE in own:
            payload = self._texts(as_numpy(own[_PLACE]), told["begin"], told["end"])
        first = told["first_line"]
        return EventBatch(
            as_numpy(own[_LINE]) if _LINE in own else np.arange(first, first + made.num_rows, dtype=np.int64),
            as_numpy(own[_RAW]),
            told["resolution_ns"],
            payload,
            clocks,
            as_numpy(own[_END]) if _END in own else None,
            as_numpy(own[_FOLD]) if _FOLD in own else None,
            told["is_assumed"],
        )

    def _with_texts(self, payload: pa.RecordBatch) -> pa.RecordBatch:
        """With dictionaries, where codes were written."""
        names = payload.schema.names
        if not any(name in self._texts_of for name in names):
            return payload
        columns = [
            pa.DictionaryArray.from_arrays(column, self._texts_of[name]) if name in self._texts_of else column
            for name, column in zip(names, payload.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, [name.removeprefix(_CODE) for name in names])

    def _texts(self, starts: CodeArray, begin: int, end: int) -> LogTexts:
        """Texts of the log, each from its place to the next, counted from `begin` as `end` is."""
        if self._log is None:
            self._log = OpenLog(self._log_path)
        return LogTexts(self._log, np.append(starts, np.int32(end)).astype(np.int64) + begin)

    def _reader(self, number: int) -> Any:
        if number not in self._readers:
            file = self._open.enter_context(file_to_read(f"{self._path}.{number}"))
            self._readers[number] = pa.ipc.open_file(file)
        return self._readers[number]

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._readers.clear()
        self._open.close()
        self._log = None


def _plain(payload: pa.RecordBatch) -> pa.RecordBatch:
    """Without dictionaries, which a file may not change from batch to batch."""
    columns, fields = list(payload.columns), list(payload.schema)
    for number, field in enumerate(fields):
        if pa.types.is_dictionary(field.type):
            columns[number] = pc.cast(columns[number], field.type.value_type)
            fields[number] = field.with_type(field.type.value_type)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
