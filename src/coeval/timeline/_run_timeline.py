"""
The timeline of a run: what happened in it, in one order, each time with a bound.

    Recording -> Attempts (columns) -> Evidence (messages, clocks, alignment) -> events, calls, clock table

Each step is done when it is first asked for, and kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from coeval.clocks import ClockId, Stamp
from coeval.errors import ClocksNotRelated
from coeval.recording import Recording
from coeval.timeline._attempts import Attempts, attempts_of
from coeval.timeline._calls import TimelineCalls
from coeval.timeline._clock_table import ClockEntry, clock_table, driver_host
from coeval.timeline._event import TimelineEvent
from coeval.timeline._events import TimelineEvents
from coeval.timeline._evidence import Evidence, evidence_of
from coeval.timeline._layout import TableClaims
from coeval.timeline._timeline import Timeline

if TYPE_CHECKING:
    import pyarrow as pa

Edge: TypeAlias = Literal["begin", "end"]


def open_run(path: str | os.PathLike[str]) -> RunTimeline:
    """
    Read a run folder, also one that is still written.

    Raises:
        NotARun, NewerFormat, RecordingError: see `Recording.open`.

    Warns:
        RecordingWarning: once, if a part is missing or damaged; `problems` says what.
    """
    return RunTimeline.of(Recording.open(path))


class RunTimeline(Timeline):
    """
    Everything that happened in a run: its events, and the calls that they belong to.

    Times are instants on one reference, in the declared grade: true whenever the clocks' declared rate bounds are.

    Attributes:
        recording: what this was made from.
    """

    def __init__(self, recording: Recording) -> None:
        # Its table is made when somebody asks for it, so there is none to hand up yet.
        self.recording = recording
        self._name = "the run"
        self._path = None
        self._within = None

    @classmethod
    def of(cls, recording: Recording) -> RunTimeline:
        """The timeline of a recording."""
        return cls(recording)

    @cached_property
    def _attempts(self) -> Attempts:
        return attempts_of(self.recording)

    @cached_property
    def _evidence(self) -> Evidence:
        return evidence_of(self.recording, self._attempts)

    @property
    def claims(self) -> TableClaims:
        """What the times rest on."""
        alignment = self._evidence.alignment
        return TableClaims(alignment.reference, self.reference_label, "declared", alignment.set_back)

    @property
    def schema(self) -> pa.Schema:
        """The columns of its table."""
        from coeval.timeline._event_table import event_schema

        return event_schema(self.claims)

    @cached_property
    def _data(self) -> pa.Table:
        from coeval.timeline._event_table import event_table

        return event_table(self.events, self.schema)

    @property
    def reference(self) -> ClockId:
        """What instants count on: UTC, or the driver's clock."""
        return self._evidence.alignment.reference

    @property
    def reference_label(self) -> str:
        """The same for people: "UTC", or "time of host X"."""
        if self._evidence.alignment.on_utc:
            return "UTC"
        return f"time of host {driver_host(self.recording, self._evidence)}"

    @cached_property
    def events(self) -> TimelineEvents:
        """Everything that happened, in timeline order."""
        return TimelineEvents(self.recording, self._attempts, self._evidence)

    @cached_property
    def calls(self) -> TimelineCalls:
        """Every call with its tries, in the order they began."""
        return TimelineCalls(self.recording, self._attempts, self._evidence)

    @cached_property
    def clocks(self) -> tuple[ClockEntry, ...]:
        """Each clock: offset, rate, steps, and the bound on each; the reference first."""
        return clock_table(self.recording, self._evidence, self.events)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """What is missing, contradictory or not known, one sentence each."""
        lost = self.calls.unnamed_count
        unnamed = [f"{lost} outcomes belong to hand-overs that are not in the recording; their calls are not listed."]
        return (
            *self.recording.problems,
            *self._evidence.problems,
            *self.calls.inconsistencies(),
            *(unnamed if lost else ()),
        )

    def before(
        self, first: TimelineEvent, second: TimelineEvent, *, of_first: Edge = "begin", of_second: Edge = "begin"
    ) -> bool | None:
        """
        Did the first happen before the second?

        By the readings of one clock, by a message between the two, or by instants that do not overlap. Equal readings
        are a tie, and a tie is not before.

        Args:
            of_first, of_second: which edge of each event counts; an event without an end has only its begin.

        Returns:
            True: certainly before. False: certainly not before. None: not known.
        """
        same = _order_in_piece(first, second)
        if same is not None:
            return same
        first_least, first_greatest = _edge(first, of_first)
        second_least, second_greatest = _edge(second, of_second)
        alignment = self._evidence.alignment
        try:
            if alignment.before(first_greatest, second_least):
                return True
            return False if alignment.before(first_least, second_greatest) is False else None
        except ClocksNotRelated:
            return None

    def summary(self) -> str:
        """What ran, how it went, how long, where, and how sure the times are; lines of at most 80 columns."""
        from coeval.timeline._listing import summary_text

        return summary_text(self)

    def show(self, limit: int = 40) -> None:
        """Print the summary and the first calls."""
        from coeval.timeline._listing import call_lines, more_text

        print(self.summary())
        for line in call_lines(self, limit=limit):
            print(line)
        if (more := len(self.calls) - limit) > 0:
            print(more_text(more, "call", "show(limit=...)"))

    def __iter__(self) -> Iterator[TimelineEvent]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        return f"<coeval.RunTimeline on {self.reference_label}: {len(self.calls)} calls, {len(self.events)} events>"

    def _repr_html_(self) -> str:
        from coeval.timeline._listing import html_table

        return html_table(self)


def _edge(event: TimelineEvent, edge: Edge) -> tuple[Stamp, Stamp]:
    """The stamps that the truth lies between: one stamp twice, unless calls share it."""
    if event.piece is not None:
        return event.piece
    stamp = event.end_stamp if edge == "end" and event.end_stamp is not None else event.begin_stamp
    return stamp, stamp


def _order_in_piece(first: TimelineEvent, second: TimelineEvent) -> bool | None:
    """Calls that share their stamps ran one after the other, in the order of their items."""
    if first.piece is None or first.piece != second.piece:
        return None
    a = (first.executor, first.batch, first.item, first.kind == "finished")
    b = (second.executor, second.batch, second.item, second.kind == "finished")
    return a < b if a[:2] == b[:2] else None
