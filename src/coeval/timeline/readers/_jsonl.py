"""
JSON lines: an object in each line, as loggers, exporters and `jq -c` write them; and journald's, which are such lines.

Columns get their types from the beginning of the file, the same for every part. Nested values are JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.timeline.readers._blocks import Block, BlockView, byte_parts, shown, text_lines, views
from coeval.timeline.readers._input import Head, head_of, version_of
from coeval.timeline.readers._json_lines import JsonLines
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._stamp_columns import SAMPLE_ROWS, Sample, StampColumns, may_have_stamps, stamp_columns
from coeval.timeline.readers._table_events import Rows, TableEvents

_HEAD_BYTES = 1 << 20
_LINES_LOOKED_AT = 20


class JsonLinesReader:
    """An object in each line; the stamp is one of its values."""

    name = "jsonl"

    def match(self, head: Head) -> float:
        objects = first_objects(head)
        if not objects:
            return 0.0
        return 0.7 if may_have_stamps(list(objects[0])) else 0.4

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        self._looked_at(source, path, settings)
        return byte_parts(source, path, self.name, settings, size)

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        stamps, types = self._looked_at(part.source, part.path, part.settings)
        events = TableEvents(stamps, part, tally, wanted)
        only = None if wanted is None else {*filter(None, (stamps.time, stamps.end, stamps.clock)), *wanted}
        with closing(JsonLines(types, {stamps.time, stamps.end}, only)) as objects:
            for block in views(part, tally):
                yield from self._of_block(block, objects, events, part, tally)

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()

    def _of_block(
        self, block: BlockView, objects: JsonLines, events: TableEvents, part: Part, tally: Tally
    ) -> Iterator[EventBatch]:
        lines, numbers, not_text = text_lines(block)
        for number, line in not_text:
            tally.read += 1
            tally.aside.add(SetAsideRow(part.source, "line", number + 1, "is not UTF-8", shown(line)))
        if not len(lines):
            return
        read = objects.read(lines)
        for row, reason in read.odd:
            tally.read += 1
            line = lines[row].as_py().encode()
            tally.aside.add(SetAsideRow(part.source, "line", int(numbers[row]) + 1, reason, shown(line)))

        def said(row: int) -> dict[str, str | None]:
            return shown(lines[int(read.rows[row])].as_py().encode())

        yield from events.of(Rows(read.columns, numbers[read.rows], "line", said))

    def _looked_at(self, source: str, path: str, settings: SourceSettings) -> tuple[StampColumns, dict[str, Any]]:
        """Where the stamps are and which types the columns have, by the beginning of the file."""
        return _looked_at(self, source, path, settings, version_of(path))

    def stamps(self, sample: Sample, settings: SourceSettings) -> StampColumns:
        """Find them."""
        return stamp_columns(sample, settings)


@lru_cache(maxsize=64)
def _looked_at(
    reader: JsonLinesReader, source: str, path: str, settings: SourceSettings, version: object
) -> tuple[StampColumns, dict[str, Any]]:
    """See the method. Every part of a file asks for it, and it takes as long as some megabytes of lines."""
    head = head_of(path, _HEAD_BYTES)
    data = head.data if head.is_whole else head.data[: head.data.rfind(b"\n") + 1] or head.data
    with closing(JsonLines()) as objects:
        lines = text_lines(Block(data.removeprefix(b"\xef\xbb\xbf"), 0))[0]
        columns = objects.read(lines).columns if len(lines) else pa.RecordBatch.from_pylist([], pa.schema([]))
        if not columns.num_columns:
            # Nothing to go by; lines are set aside one by one, if there are any.
            return StampColumns(settings.time or "time", unit=settings.unit or "s"), {}
        return reader.stamps(Sample(source, columns.slice(0, SAMPLE_ROWS)), settings), objects.types


class JournaldReader(JsonLinesReader):
    """
    What `journalctl -o json` writes: stamped in us by the host's real-time clock, which `_HOSTNAME` names.
    """

    name = "journald"

    def match(self, head: Head) -> float:
        objects = first_objects(head)
        return 0.95 if objects and "__REALTIME_TIMESTAMP" in objects[0] else 0.0

    def stamps(self, sample: Sample, settings: SourceSettings) -> StampColumns:
        """Journald's own, unless somebody said another."""
        known = replace(
            settings,
            time=settings.time or "__REALTIME_TIMESTAMP",
            unit=settings.unit or ("us" if not settings.time else ""),
        )
        stamps = stamp_columns(sample, known)
        if not settings.clock and not settings.clock_field and "_HOSTNAME" in sample.columns.schema.names:
            stamps = replace(stamps, clock="_HOSTNAME")
        return replace(stamps, is_unit_said=bool(settings.unit))


def first_objects(head: Head) -> list[dict[str, Any]]:
    """The objects of the first lines; none if the first line is no object, or most are not."""
    text = head.data.removeprefix(b"\xef\xbb\xbf")
    whole = text if head.is_whole else text[: text.rfind(b"\n") + 1]
    lines = [line for line in whole.split(b"\n", _LINES_LOOKED_AT)[:_LINES_LOOKED_AT] if line.strip()]
    objects: list[dict[str, Any]] = []
    for line in lines:
        if not line.lstrip().startswith(b"{"):
            continue
        try:
            made = json.loads(line)
        except ValueError:
            continue
        if isinstance(made, dict):
            objects.append(made)
    return objects if 2 * len(objects) > len(lines) else []
