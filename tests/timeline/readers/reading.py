"""Read a file through its reader, as values to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._registry import reader_named
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow

NOTHING_SAID = SourceSettings()


class Read:
    """
    Everything of one file.

    Attributes:
        batches: of all parts.
        aside: what was set aside.
        problems: what kept it from being read to its end.
        parts: how many parts there were.
    """

    def __init__(
        self,
        reader: str,
        path: Path,
        settings: SourceSettings = NOTHING_SAID,
        *,
        size: int = 1 << 40,
        wanted: list[str] | None = None,
    ) -> None:
        made = reader_named(reader)
        self.batches: list[EventBatch] = []
        self.aside: list[SetAsideRow] = []
        self.problems: list[str] = []
        parts: list[Part] = list(made.parts("source", str(path), settings, size))
        self.parts = len(parts)
        for part in parts:
            tally = Tally(SetAside(self.aside.append))
            found = list(made.batches(part, tally, wanted))
            assert tally.read == sum(map(len, found)) + len(tally.aside)
            self.batches += found
            self.problems += tally.problems

    @property
    def raw_ns(self) -> list[int]:
        return [value for batch in self.batches for value in batch.raw_ns.tolist()]

    @property
    def resolutions(self) -> set[int]:
        return {batch.resolution_ns for batch in self.batches}

    @property
    def clocks(self) -> list[str | None]:
        return [
            clock
            for batch in self.batches
            for clock in ([None] * len(batch) if batch.clocks is None else batch.clocks.to_pylist())
        ]

    def column(self, name: str) -> list[Any]:
        return [value for batch in self.batches for value in batch.payload.column(name).to_pylist()]

    @property
    def columns(self) -> pa.Schema:
        return self.batches[0].payload.schema
