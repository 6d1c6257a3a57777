"""
ShiViz logs: events with vector clocks, `host {"host": 3, "other": 1}` and a line of text, in either order or on one
line.

A stamp before the host, where there is one, is a reading of the host's clock. Most such logs have none; then the
reading is how many events the host has had, its own entry of the vector clock: its order is right, and it is no time.

Source: the default expressions of ShiViz, and what GoVector writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.timeline.readers._blocks import blocks, shown, text_lines
from coeval.timeline.readers._input import Head, head_of
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._record_columns import RecordColumns
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._stamp_columns import Sample, StampReader, stamp_columns

LOGICAL = "logical"
"""Ends the id of a clock that counts events: `web/logical`."""

SCHEMA = pa.schema(
    [("host", pa.string()), ("event", pa.string()), ("vector_clock", pa.string()), ("execution", pa.string())]
)

_CLOCK = re.compile(
    r"(?:(?P<stamp>\S+(?: \d{2}:\d{2}:\S+)?)\s+)?(?P<host>[^\s{]+)\s+(?P<clock>\{[^}]*\})\s*(?P<text>.*)"
)
_EXECUTION = re.compile(r"=== ?(?P<name>.*?) ?===")


class ShivizReader:
    """Events of which each host counts its own and those it has heard of."""

    name = "shiviz"

    def match(self, head: Head) -> float:
        try:
            lines = [line for line in head.data.decode().splitlines()[:20] if line.strip()]
        except UnicodeDecodeError:
            return 0.0
        found = sum(_read(line) is not None for line in lines)
        return 0.9 if found and 2 * found >= len(lines) - 1 else 0.0

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        return [Part(source, path, self.name, settings)]

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        log = _Log(part, tally, wanted, is_text_first=_is_text_first(head_of(part.path)))
        for block in blocks(part, tally):
            lines, numbers, not_text = text_lines(block)
            found = [(int(number), line.as_py().rstrip("\r\n")) for number, line in zip(numbers, lines, strict=True)]
            for number, line in not_text:
                tally.read += 1
                tally.aside.add(SetAsideRow(part.source, "line", number + 1, "is not UTF-8", shown(line)))
            log.learn_stamps([text for _, text in found])
            for number, text in found:
                log.line(number, text)
            yield from log.full()
        log.end()
        yield from log.rest()

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


class _Log:
    """Puts lines together that are one event."""

    def __init__(self, part: Part, tally: Tally, wanted: Collection[str] | None, *, is_text_first: bool) -> None:
        # Counts are exact, and stamps say themselves what they are cut to.
        self._counted = RecordColumns(SCHEMA, part, wanted, is_cut=False)
        self._stamped = RecordColumns(SCHEMA, part, wanted, is_cut=False)
        self._part = part
        self._tally = tally
        self._is_text_first = is_text_first
        self._open_text: tuple[int, str] | None = None
        self._open_clock: tuple[int, dict[str, Any], str] | None = None
        self._execution: str | None = None
        self._stamps: StampReader | None = None
        self._known: dict[str, tuple[int, int] | None] = {}

    def full(self) -> Iterator[EventBatch]:
        """The events so far, if they are many."""
        yield from self._counted.full()
        yield from self._stamped.full()

    def rest(self) -> Iterator[EventBatch]:
        """The events that were not given yet."""
        yield from self._counted.rest()
        yield from self._stamped.rest()

    def learn_stamps(self, texts: list[str]) -> None:
        """Read the stamps of some lines, all at once; a line that is open still has its own."""
        if self._open_clock is None:
            self._known.clear()
        read = filter(None, map(_read, texts))
        stamps = list(dict.fromkeys(found["stamp"] for found in read if found["stamp"]))
        if not stamps:
            return
        column = pa.array(stamps)
        settings = self._part.settings
        if self._stamps is None:
            sample = Sample(self._part.source, pa.RecordBatch.from_pydict({"time": column}))
            found = stamp_columns(sample, SourceSettings(unit=settings.unit))
            self._stamps = StampReader(
                "time", self._part.source, found.unit, found.grain, bool(settings.unit), settings
            )
        made = self._stamps.read(column)
        resolution = np.broadcast_to(np.asarray(made.resolution_ns), made.raw_ns.shape)
        self._known.update(zip(stamps, zip(made.raw_ns.tolist(), resolution.tolist(), strict=True), strict=True))
        for fault in made.faults:
            self._known.update((stamps[row], None) for row in fault.rows.tolist())

    def line(self, number: int, text: str) -> None:
        execution = _EXECUTION.fullmatch(text.strip())
        if execution:
            self.end()
            self._execution = execution["name"]
            return
        read = _read(text)
        if read is not None and read["text"]:
            self.end()
            self._event(number, read, read["text"], text)
        elif read is not None and self._is_text_first:
            at, said = self._open_text or (number, "")
            self._open_text = None
            self._event(at, read, said, text)
        elif read is not None:
            self.end()
            self._open_clock = (number, read, text)
        elif self._is_text_first:
            self.end()
            self._open_text = (number, text)
        elif self._open_clock is not None:
            at, read, line = self._open_clock
            self._open_clock = None
            self._event(at, read, text, line)
        else:
            self._set_aside(number, "has no vector clock", text)

    def end(self) -> None:
        """What is open now stays alone."""
        if self._open_clock is not None:
            at, read, line = self._open_clock
            self._open_clock = None
            self._event(at, read, "", line)
        if self._open_text is not None:
            at, said = self._open_text
            self._open_text = None
            self._set_aside(at, "has no vector clock", said)

    def _event(self, number: int, read: dict[str, Any], event: str, line: str) -> None:
        host, counts = read["host"], read["counts"]
        own = counts.get(host)
        if own is None:
            self._set_aside(number, f"its vector clock says nothing of its own host {host}", line)
            return
        raw_ns, width_ns, clock, columns = own, 0, f"{host}/{LOGICAL}", self._counted
        if read["stamp"]:
            stamp = self._known[read["stamp"]]
            if stamp is None:
                self._set_aside(number, f"its stamp {read['stamp']!r} is no time", line)
                return
            (raw_ns, width_ns), clock, columns = stamp, host, self._stamped
        if self._execution is not None:
            clock = f"{self._execution}: {clock}"
        self._tally.read += 1
        row = (host, event or None, json.dumps(counts), self._execution)
        columns.add(number, raw_ns, None, clock, row, width_ns)

    def _set_aside(self, number: int, reason: str, text: str) -> None:
        self._tally.read += 1
        self._tally.aside.add(SetAsideRow(self._part.source, "line", number + 1, reason, shown(text.encode())))


def _read(line: str) -> dict[str, Any] | None:
    """A line with a vector clock; None: it has none."""
    found = _CLOCK.fullmatch(line.strip())
    if found is None:
        return None
    try:
        counts = json.loads(found["clock"])
    except ValueError:
        return None
    if not counts or not all(type(count) is int and 0 <= count < 2**62 for count in counts.values()):
        return None
    return {"host": found["host"], "counts": counts, "stamp": found["stamp"] or "", "text": found["text"]}


def _is_text_first(head: Head) -> bool:
    """By the first line that is none that separates executions."""
    for line in head.data.decode(errors="replace").splitlines():
        if line.strip() and not _EXECUTION.fullmatch(line.strip()):
            return _read(line) is None
    return False
