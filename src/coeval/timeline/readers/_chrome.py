"""
Trace Event JSON: what Chrome, viztracer, PyTorch, Ray and many others write, and Perfetto shows.

    {"traceEvents": [{"ph": "X", "ts": 12.5, "dur": 3, "pid": 1, "tid": 1, "name": "f", "args": {}}, …], …}

Events are decoded one after the other, so that a trace of any size takes little memory, and one that is cut off is read
as far as it goes. Times are microseconds: since 1970 where the trace names its base, else since a start of its own, and
then it takes evidence to place them.

Source: the Trace Event Format of Chromium.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal, InvalidOperation
from typing import IO, Any

import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import WrongTable
from coeval.timeline.readers._blocks import shown
from coeval.timeline.readers._input import DAMAGED, Head, open_input
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._record_columns import RecordColumns
from coeval.timeline.readers._set_aside import SetAsideRow

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("name", pa.string()),
        ("category", pa.string()),
        ("pid", pa.string()),
        ("tid", pa.string()),
        ("process", pa.string()),
        ("thread", pa.string()),
        ("id", pa.string()),
        ("args", pa.string()),
    ]
)

_PIECE_BYTES = 1 << 20
# So much is looked at before a record counts as broken; one that is longer is.
_RECORD_MAX = 32 << 20

_EVENTS = re.compile(r'"traceEvents"\s*:\s*\[')
_BASE = re.compile(rb'"(?:baseTimeNanoseconds|base_time)"\s*:\s*"?(-?[0-9]+)')
_NAMES = re.compile(rb'"ph"\s*:\s*"M"')
_SPACE = re.compile(r"[\s,\x00]*")
_NEXT = re.compile(r"[}\]]\s*,?\s*(?=\{)|\n\s*,?\s*(?=\{)")
_SURROGATE = re.compile("[\udc80-\udcff]")
_OVERLAP_BYTES = 1 << 12

_KINDS = {"i": "instant", "I": "instant", "R": "instant", "n": "instant", "C": "counter"}
# What a flow starts in precedes its steps and its end: evidence between traces that share its id.
_KINDS |= {"s": "flow start", "t": "flow step", "f": "flow end"}
_KINDS |= {"P": "sample", "N": "object", "D": "object", "O": "object", "v": "memory", "V": "memory"}
_READING_NS_MAX = 2**62


class ChromeReader:
    """Spans, instants, flows and counters of a trace."""

    name = "chrome"

    def match(self, head: Head) -> float:
        text = head.data.removeprefix(b"\xef\xbb\xbf").lstrip()
        if text.startswith(b"{") and re.search(rb'"traceEvents"\s*:\s*\[', text):
            return 0.95
        is_array = text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"")
        return 0.9 if is_array and b'"ph"' in text and (b'"ts"' in text or b'"M"' in text) else 0.0

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        _looked_through(path, source)
        return [Part(source, path, self.name, settings)]

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        base_ns, names = _looked_through(part.path, part.source)
        trace = _Trace(part, tally, wanted, base_ns, names)
        with closing(open_input(part.path)) as file:
            for record in _Records(file, part, tally):
                trace.record(tally.lines, record)
                tally.lines += 1
                yield from trace.columns.full()
        trace.end()
        yield from trace.columns.rest()

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


def trace_base_ns(path: str) -> int:
    """
    What is added to the times of a trace to make them readings: ns since 1970 where it names its base, else 0.

    Raises:
        WrongTable: several bases are named.
        OSError: it cannot be read.
    """
    return _looked_through(path, path)[0]


class _Trace:
    """Records as events: begins and ends are matched by process and thread, or by id."""

    def __init__(
        self,
        part: Part,
        tally: Tally,
        wanted: Collection[str] | None,
        base_ns: int,
        names: Mapping[tuple[str, str, str], str],
    ) -> None:
        self.columns = RecordColumns(SCHEMA, part, wanted)
        self._part = part
        self._tally = tally
        self._base_ns = base_ns
        self._names = names
        self._open: dict[tuple[str, ...], list[tuple[int, int, dict[str, Any]]]] = {}

    def record(self, line: int, record: object) -> None:
        if not isinstance(record, dict):
            self._set_aside(line, "is no JSON object", record)
            return
        phase = record.get("ph")
        if phase == "M":
            return  # names and the like, which are no events
        at = self._reading(record.get("ts"))
        if at is None or not isinstance(phase, str):
            self._set_aside(line, "its ts is no time" if isinstance(phase, str) else "has no phase (ph)", record)
            return
        length = _ns(record.get("dur")) if phase == "X" else None
        if length is not None and abs(at + length) > _READING_NS_MAX:
            self._set_aside(line, "its dur is no time", record)
            return
        self._tally.read += 1
        if phase == "X":
            self._add(line, "span", at, None if length is None else at + length, record)
        elif phase in ("B", "b", "S"):
            self._open.setdefault(self._key(record), []).append((line, at, record))
        elif phase in ("E", "e", "F"):
            begun = self._open.get(self._key(record))
            if begun:
                first_line, begin, first = begun.pop()
                self._tally.read -= 1  # two records, one event
                self._add(first_line, "span", begin, at, _joined(first, record))
            else:
                self._tally.read -= 1
                self._set_aside(line, "ends a span that did not begin", record)
        else:
            self._add(line, _KINDS.get(phase, f"phase {phase}"), at, None, record)

    def end(self) -> None:
        """Spans that are open now have no end."""
        count = 0
        for begun in self._open.values():
            for line, at, record in begun:
                self._add(line, "span", at, None, record)
                count += 1
        if count:
            self._tally.problems.append(f"{self._part.source}: {count} spans begin and do not end.")

    def _add(self, line: int, kind: str, begin: int, end: int | None, record: dict[str, Any]) -> None:
        pid, tid = _text(record.get("pid")), _text(record.get("tid"))
        args = record.get("args")
        row = (
            kind,
            _text(record.get("name")),
            _text(record.get("cat")),
            pid,
            tid,
            self._names.get(("process_name", pid or "", "")),
            self._names.get(("thread_name", pid or "", tid or "")),
            _text(record.get("id", record.get("id2"))),
            json.dumps(args) if args not in (None, {}) else None,
        )
        self.columns.add(line, begin, end, None, row)

    def _reading(self, value: object) -> int | None:
        ns = _ns(value)
        if ns is None or abs(self._base_ns + ns) > _READING_NS_MAX:
            return None
        if isinstance(value, float):
            # Half a step of a double is what it may have been rounded by; a millionth of a ns is nothing.
            step_ns = math.ulp(value) * 1000
            if step_ns > 0.5:
                self.columns.slack_ns = max(self.columns.slack_ns, math.ceil(step_ns))
        return self._base_ns + ns

    def _key(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        if record["ph"] in ("B", "E"):
            return ("", str(record.get("pid")), str(record.get("tid")))
        scope = record.get("id2", record.get("id"))
        return (str(record.get("cat")), str(scope), str(record.get("name")) if record["ph"] in ("S", "F") else "")

    def _set_aside(self, line: int, reason: str, record: object) -> None:
        self._tally.read += 1
        text = shown(json.dumps(record).encode())
        self._tally.aside.add(SetAsideRow(self._part.source, "record", line + 1, reason, text))


class _Records:
    """The elements of a trace's array, whatever stands between them."""

    def __init__(self, file: IO[bytes], part: Part, tally: Tally) -> None:
        self._file = file
        self._part = part
        self._tally = tally
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._is_at_end = self._is_damaged = False
        self._decode = json.JSONDecoder().raw_decode

    def __iter__(self) -> Iterator[object]:
        is_array = self._to_first()
        while True:
            self._fill(_PIECE_BYTES)
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at >= len(self._text):
                if self._is_at_end:
                    if not is_array and not self._is_damaged:  # the form that is an array need not end
                        self._tally.problems.append(f"{self._part.source} is cut off: its events do not end.")
                    return
                continue
            if self._text[self._at] == "]":
                return
            start = self._at
            found = self._element()
            if found is None:
                yield from self._skip(start)
                continue
            record, self._at = found
            piece = self._text[start : self._at]
            if not piece.isascii() and _SURROGATE.search(piece):
                self._set_aside("is not UTF-8", piece)
                continue
            yield record

    def _to_first(self) -> bool:
        """Go to the first element; whether the whole is an array."""
        while True:
            self._fill(len(self._text) - self._at + _PIECE_BYTES)
            begin = self._text.lstrip("\ufeff \t\r\n")
            if begin.startswith("["):
                self._at = self._text.index("[") + 1
                return True
            found = _EVENTS.search(self._text)
            if found:
                self._at = found.end()
                return False
            if self._is_at_end and not begin:
                return True
            if self._is_at_end or len(self._text) > _RECORD_MAX:
                raise WrongTable(f"{self._part.source} has no traceEvents; expected a trace in Chrome's JSON.")

    def _element(self) -> tuple[object, int] | None:
        for size in (0, _RECORD_MAX):
            if size:
                if self._is_at_end:
                    return None
                self._fill(size)
            try:
                record, end = self._decode(self._text, self._at)
            except (ValueError, RecursionError):
                continue
            return record, end
        return None

    def _skip(self, start: int) -> Iterator[object]:
        """Past what cannot be read, to where the next element seems to begin."""
        following = _NEXT.search(self._text, start)
        stop = following.end() if following else len(self._text)
        self._at = stop
        if self._is_damaged and following is None:
            return iter(())  # half a record, of which the damage is said
        reason = "is cut off" if self._is_at_end and following is None else "is no JSON"
        self._set_aside(reason, self._text[start:stop].rstrip(", \r\n"))
        return iter(())

    def _set_aside(self, reason: str, text: str) -> None:
        self._tally.read += 1
        self._tally.lines += 1
        shown_text = shown(text.encode("utf-8", "surrogateescape"))
        self._tally.aside.add(SetAsideRow(self._part.source, "record", self._tally.lines, reason, shown_text))

    def _fill(self, size: int) -> None:
        """Have so much text ahead, or all there is."""
        if self._is_at_end or len(self._text) - self._at >= size:
            return
        pieces = [self._text[self._at :]]
        self._at = 0
        length = len(pieces[0])
        while length < size and not self._is_at_end:
            try:
                data = self._file.read(_PIECE_BYTES)
            except DAMAGED as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                self._is_damaged = True
                self._tally.problems.append(
                    f"{self._part.source} is damaged, and was read only as far as that: {error}"
                )
                data = b""
            self._is_at_end = not data
            pieces.append(self._decoder.decode(data, not data))
            length += len(pieces[-1])
        self._text = "".join(pieces)


def _looked_through(path: str, source: str) -> tuple[int, dict[tuple[str, str, str], str]]:
    """
    What holds for all events and may stand anywhere: the base of their times, 0 if none is named, and names.

    Raises:
        WrongTable: several bases are named.
    """
    bases: set[int] = set()
    names: dict[tuple[str, str, str], str] = {}
    decode = json.JSONDecoder().raw_decode
    rest = b""
    with closing(open_input(path)) as file:
        while True:
            try:
                more = file.read(_PIECE_BYTES)
            except DAMAGED as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                more = b""
            data = rest + more
            stop = len(data) if not more else max(len(data) - _OVERLAP_BYTES, 0)
            bases.update(int(found[1]) for found in _BASE.finditer(data) if found.end() <= stop or not more)
            for found in _NAMES.finditer(data):
                _learn_name(data, found.start(), decode, names)
            if not more:
                break
            # What may go on in the next piece is looked at again; a name or base twice is once.
            rest = data[-2 * _OVERLAP_BYTES :]
    if len(bases) > 1:
        raise WrongTable(f"{source} names several base times ({', '.join(map(str, sorted(bases)))}): split it up.")
    return next(iter(bases), 0), names


def _learn_name(data: bytes, at: int, decode: Any, names: dict[tuple[str, str, str], str]) -> None:
    start = at
    for _ in range(4):  # the record, or what is nested in it before its phase
        start = data.rfind(b"{", max(at - _OVERLAP_BYTES, 0), start)
        if start < 0:
            return
        try:
            record, _ = decode(data[start : at + _OVERLAP_BYTES].decode(errors="replace"))
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("ph") == "M":
            args = record.get("args")
            kind = record.get("name")
            if kind in ("process_name", "thread_name") and isinstance(args, dict) and args.get("name") is not None:
                tid = "" if kind == "process_name" else str(record.get("tid"))
                names[str(kind), str(record.get("pid")), tid] = str(args["name"])
            return


def _joined(begin: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """A span of two records: what the end adds to the arguments counts, too."""
    args, more = begin.get("args"), end.get("args")
    if isinstance(args, dict) and isinstance(more, dict):
        return {**begin, "args": {**args, **more}}
    return begin if more is None or args is not None else {**begin, "args": more}


def _ns(value: object) -> int | None:
    """Microseconds as nanoseconds; None: no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value * 1000
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        whole = math.floor(value)
        return whole * 1000 + round((value - whole) * 1000)
    if isinstance(value, str):
        try:
            return int(Decimal(value) * 1000)
        except (InvalidOperation, ValueError, OverflowError):
            return None
    return None


def _text(value: object) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value)
