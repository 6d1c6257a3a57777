"""
A timeline as lines of text: the summary, a line per call, a line per event, and the small table for notebooks.

Here is what a terminal, a pipe and `show()` have in common; colours and options are the command line's.
"""

from __future__ import annotations

import html
import json
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

from coeval.alignment import UNKNOWN_ESTIMATE
from coeval.clocks import Instant
from coeval.timeline._event import CallAttempt, TimelineCall, TimelineEvent
from coeval.timeline._time_text import (
    UNKNOWN,
    format_bound_ns,
    format_duration_ns,
    format_instant,
    format_interval_ns,
    half_width_ns,
    plain,
)

if TYPE_CHECKING:
    from coeval.timeline._run_timeline import RunTimeline
    from coeval.timeline._timeline import Timeline

COLUMNS = 80

# A name takes no more than this of a line before it is cut.
_NAMES_MAX = 4
_PROBLEMS_MAX = 10

# So much of a line is kept for what happened, however long the names of hosts are.
_WHAT_COLUMNS = 20

_HTML_ROWS_MAX = 10


@dataclass(frozen=True, slots=True)
class Style:
    """
    How lines look.

    Attributes:
        zone: what times are shown in; instants themselves are not touched.
        columns: no line is longer, as far as what it has to say fits.
        failed: wraps the mark of a failure, such as in red.
    """

    zone: tzinfo = UTC
    columns: int = COLUMNS
    failed: tuple[str, str] = ("", "")


# The summary ----------------------------------------------------------------------------------------------------------


def summary_text(timeline: RunTimeline, style: Style = Style()) -> str:
    """What ran, how it went, how long, where, how sure the times are, and what is wrong."""
    lines: list[str] = []
    for title, text in _summary_parts(timeline, style):
        lines += _wrapped(f"{title:<10}", text, style.columns)
    problems = timeline.problems
    for problem in problems[:_PROBLEMS_MAX]:
        lines += _wrapped(f"{'problem':<10}", problem, style.columns)
    if len(problems) > _PROBLEMS_MAX:
        lines += _wrapped(" " * 10, f"and {len(problems) - _PROBLEMS_MAX} more: Timeline.problems", style.columns)
    return "\n".join(lines)


def _summary_parts(timeline: RunTimeline, style: Style) -> Iterator[tuple[str, str]]:
    run = timeline.recording.run
    if run is not None:
        yield "run", f"{run['run'][:8]}  {shlex.join(run['command'])}"
    calls = timeline.calls
    parts = [f"{len(calls):,}: {calls.count('finished'):,} finished, {calls.count('failed'):,} failed"]
    if unfinished := calls.count("unfinished"):
        parts.append(f"{unfinished:,} unfinished")
    if cancelled := sum(end.cancelled for end in timeline.recording.ends):
        parts.append(f"{cancelled:,} cancelled before they ran")
    if calls.retried_count:
        parts.append(f"{calls.retried_count:,} tried more than once")
    yield "calls", ", ".join(parts)
    functions = calls.functions()
    if functions:
        yield "functions", _some(f"{name or 'not recorded'} {count:,}" for name, count in functions.items())
    yield "time", _span(timeline, style)
    yield "workers", _workers(timeline)
    yield "reference", _reference(timeline)


def _span(timeline: RunTimeline, style: Style) -> str:
    begins = timeline.events.begins
    placed = begins.estimate[begins.estimate != UNKNOWN_ESTIMATE]
    if not len(placed):
        return "nothing could be placed" if len(begins) else "nothing was recorded"
    first, last = int(placed[0]), int(placed[-1])
    return (
        f"{format_instant(first, style.zone, 3)} to {format_instant(last, style.zone, 3)}, "
        f"{format_duration_ns(last - first)}"
    )


def _workers(timeline: RunTimeline) -> str:
    hosts: dict[str, int] = {}
    for row in timeline.recording.processes:
        if row.role != "driver":
            hosts[row.host] = hosts.get(row.host, 0) + 1
    engines = ", ".join(dict.fromkeys(row.engine for row in timeline.recording.executors))
    on = _some(f"{host} {count}" for host, count in hosts.items())
    count = sum(hosts.values())
    return f"{count}{f' on {on}' if hosts else ''}{f'; engine {engines}' if engines else ''}"


def _reference(timeline: RunTimeline) -> str:
    events = timeline.events
    begins, shared = events.begins, events.is_shared
    own = begins.taken(np.flatnonzero(~shared)).widths_ns()
    unplaced = int((~begins.known).sum())
    parts = [timeline.reference_label]
    if len(own):
        widest = (int(own.max()) + 1) // 2
        parts.append("every time is exact on it" if widest == 0 else f"every time within {format_bound_ns(widest)}")
    if unplaced:
        parts.append(f"but {unplaced:,} of {len(begins):,} events have no bound on some side")
    if bool(shared.any()):
        parts.append("short calls that travelled together are timed by their batch")
    text = ", ".join(parts)
    remedy = next((entry.remedy for entry in timeline.clocks if entry.is_reference), "")
    return f"{text}. Not tied to UTC: {remedy}" if remedy and timeline.reference_label != "UTC" else text


def _some(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:_NAMES_MAX])
    return shown if len(names) <= _NAMES_MAX else f"{shown} and {len(names) - _NAMES_MAX} more"


def _wrapped(title: str, text: str, columns: int) -> list[str]:
    return textwrap.wrap(
        plain(text),
        max(columns, 20),
        initial_indent=title,
        subsequent_indent=" " * len(title),
        break_on_hyphens=False,
        break_long_words=False,
    ) or [title.rstrip()]


def more_text(count: int, what: str, how: str) -> str:
    """What is not shown, and how to see it."""
    return f"… and {count:,} more {what}{'' if count == 1 else 's'}: {how}"


# Lines ----------------------------------------------------------------------------------------------------------------


def call_lines(timeline: RunTimeline, style: Style = Style(), limit: int | None = None) -> Iterator[str]:
    """A heading, and a line per call: when, how sure, where, how long, what; a second line for why it failed."""
    calls = timeline.calls[: len(timeline.calls) if limit is None else limit]
    if not calls:
        return
    places = [_place(call.last.host, call.last.pid) for call in calls]
    columns = _Columns.of([call.begin for call in calls], places, [_took(call) for call in calls], style)
    day = columns.day(calls[0].begin, style)
    yield columns.heading(calls[0].begin, style)
    for call, place in zip(calls, places, strict=True):
        if (other := columns.day(call.begin, style)) != day:
            yield (day := other)
        yield columns.line(call.begin, place or "nowhere", _what(call), _took(call), style)
        if note := _note(call):
            before, after = style.failed if call.status == "failed" else ("", "")
            indent = columns.note_indent()
            room = max(style.columns - len(indent) - len(call.status) - 1, _WHAT_COLUMNS)
            yield f"{indent}{before}{call.status}{after} {cut(note, room)}"


def event_lines(timeline: RunTimeline, style: Style = Style(), limit: int | None = None) -> Iterator[str]:
    """A heading, and a line per event: when, how sure, where, how long, what."""
    events = timeline.events[: len(timeline.events) if limit is None else limit]
    if not events:
        return
    places = [_place(event.host, event.pid) for event in events]
    columns = _Columns.of([event.begin for event in events], places, [_lasted(event) for event in events], style)
    day = columns.day(events[0].begin, style)
    yield columns.heading(events[0].begin, style)
    for event, place in zip(events, places, strict=True):
        if (other := columns.day(event.begin, style)) != day:
            yield (day := other)
        yield columns.line(event.begin, place, event_text(event), _lasted(event), style)


def event_text(event: TimelineEvent) -> str:
    """What happened, without when and where."""
    call = f" #{event.call}" if event.call >= 0 else ""
    label = f" {event.label}" if event.label else ""
    fields = event.fields
    if event.kind == "failure":
        return f"failure{call}{label} {fields['type'] or fields['kind']}: {fields['message']}"
    if event.kind == "log":
        return f"log{call} {event.name}: {fields.get('message', '')}"
    if event.kind == "output":
        return f"{event.name}{call}: {fields.get('text', '')}"
    if event.kind in ("mark", "span"):
        given = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
        return f"{event.kind}{call} {event.name} {given}".rstrip()
    if event.call < 0:
        return event.kind
    return f"{event.kind}{call} {event.name.rpartition(':')[2]}{label}"


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths that all lines of one listing share; a column that would be empty has width 0 and is left out."""

    digits: int
    time_width: int
    bound_width: int
    where_width: int
    took_width: int
    where_cut: str

    @classmethod
    def of(
        cls, instants: Sequence[Instant | None], places: Sequence[str], tooks: Sequence[str], style: Style
    ) -> _Columns:
        bounds = [format_bound_ns(_half_width(instant)) for instant in instants]
        # Where every time is exact a column of zeros says nothing; the summary says it.
        bound_width = max(map(len, bounds)) if any(bound != "±0" for bound in bounds) else 0
        took_width = max(*map(len, tooks), len("took")) if any(tooks) else 0
        hosts = {place.partition(":")[0] for place in places if place}
        cut_off = f"{next(iter(hosts))}:" if len(hosts) == 1 else ""
        where_width = max(len(place.removeprefix(cut_off)) for place in places)
        digits = digits_needed(instants)
        time_width = _time_width(digits, style)
        gaps = 2 + (bound_width > 0) + (took_width > 0)
        room = style.columns - time_width - bound_width - took_width - gaps - _WHAT_COLUMNS
        return cls(digits, time_width, bound_width, min(max(where_width, 5), max(room, 5)), took_width, cut_off)

    def heading(self, first: Instant | None, style: Style) -> str:
        where = self.where_cut or "where"
        return cut(self._head(self.day(first, style), "bound", where, "took") + "what", style.columns)

    def line(self, instant: Instant | None, where: str, what: str, took: str, style: Style) -> str:
        estimate = None if instant is None else instant.estimate_ns
        time = format_instant(estimate, style.zone, self.digits, date=False)
        bound = format_bound_ns(_half_width(instant))
        head = self._head(time, bound, where.removeprefix(self.where_cut), took)
        return head + cut(plain(what), max(style.columns - len(head), _WHAT_COLUMNS))

    def note_indent(self) -> str:
        """Up to where it happened, under which a second line stands."""
        return " " * (self.time_width + 1 + (self.bound_width + 1 if self.bound_width else 0))

    def day(self, instant: Instant | None, style: Style) -> str:
        """The date, and in UTC the word."""
        if instant is None or instant.estimate_ns is None:
            return UNKNOWN
        date = format_instant(instant.estimate_ns, style.zone, 0).partition(" ")[0]
        return f"{date} UTC" if style.zone is UTC else date

    def _head(self, time: str, bound: str, where: str, took: str) -> str:
        parts = [f"{time:<{self.time_width}}"]
        if self.bound_width:
            parts.append(f"{bound:>{self.bound_width}}")
        parts.append(f"{cut_front(where, self.where_width):<{self.where_width}}")
        if self.took_width:
            parts.append(f"{took:>{self.took_width}}")
        return " ".join(parts) + " "


def _time_width(digits: int, style: Style) -> int:
    """At least as wide as a date with its zone, which stands above."""
    return max(8 + (digits + 1 if digits else 0) + (0 if style.zone is UTC else 6), 14)


def digits_needed(instants: Iterable[Instant | None]) -> int:
    """
    Digits of a second that tell neighbours apart, in groups of three, and not more than their bounds bear.
    """
    found = [instant for instant in instants if instant is not None and instant.estimate_ns is not None]
    steps = [abs((b.estimate_ns or 0) - (a.estimate_ns or 0)) for a, b in pairwise(found)]
    least = min((step for step in steps if step), default=10**9)
    bound = min((half for instant in found if (half := _half_width(instant)) is not None), default=0)
    grain = max(least, bound)
    return 3 if grain >= 1_000_000 else 6 if grain >= 1_000 else 9


def cut(text: str, columns: int) -> str:
    """At most so many characters."""
    return text if len(text) <= columns else f"{text[: columns - 1]}…"


def cut_front(text: str, columns: int) -> str:
    """At most so many characters, the last ones: of a place, the process says more than the host's first letters."""
    return text if len(text) <= columns else f"…{text[len(text) - columns + 1 :]}"


def _half_width(instant: Instant | None) -> int | None:
    return None if instant is None else half_width_ns(instant.earliest_ns, instant.estimate_ns, instant.latest_ns)


def _place(host: str, pid: int) -> str:
    return f"{host}:{pid}" if host else ""


def _what(call: TimelineCall) -> str:
    function = call.function.rpartition(":")[2] or "call"
    label = f" {call.label}" if call.label else ""
    tries = f" (try {call.last.number})" if call.last.number > 1 else ""
    return f"{function} #{call.number}{label}{tries}"


def _took(call: TimelineCall) -> str:
    running = call.running
    if running is None:
        return ""
    if running.is_exact:
        return format_duration_ns(running.greatest_ns)
    return f"≤{format_duration_ns(running.greatest_ns)}"


def _lasted(event: TimelineEvent) -> str:
    return "" if event.end_stamp is None else format_duration_ns(event.end_stamp - event.begin_stamp)


def _note(call: TimelineCall) -> str:
    """Why a call did not finish."""
    if call.status == "finished":
        return ""
    failure = call.last.failure
    if failure is None:
        return "" if call.status == "failed" else _unfinished(call.last)
    text = f"{failure.type_name}: {failure.message}" if failure.type_name else failure.message
    return plain(f"{failure.kind}  {text}")


def _unfinished(attempt: CallAttempt) -> str:
    return "nothing came home" if attempt.outcome == "unfinished" else f"last {attempt.outcome}"


# For notebooks --------------------------------------------------------------------------------------------------------


def html_events(timeline: Timeline) -> str:
    """What a timeline is and its first events, without those columns that are empty in all of them."""
    rows = [event.row for event in islice(timeline.rows(), _HTML_ROWS_MAX)]
    names = [name for name in timeline.schema.names if any(row[name] is not None for row in rows)]
    heads = "".join(f"<th>{html.escape(plain(name))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(plain(str(row[name])))}</td>" for name in names) + "</tr>" for row in rows
    )
    more = len(timeline) - len(rows)
    rest = f"<p>{html.escape(more_text(more, 'event', 'Timeline.sql'))}</p>" if more > 0 else ""
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return f"<pre>{html.escape(repr(timeline))}</pre>{table}{rest}"


def html_table(timeline: RunTimeline) -> str:
    """The summary and the first calls; everything that comes from outside is escaped."""
    rows = []
    for call in timeline.calls[:_HTML_ROWS_MAX]:
        begin = call.begin
        queued = call.queued
        cells = (
            format_instant(None if begin is None else begin.estimate_ns, UTC, 6),
            format_bound_ns(_half_width(begin)),
            _place(call.last.host, call.last.pid),
            _what(call),
            UNKNOWN if queued is None else format_interval_ns(*queued),
            _took(call),
            call.status,
        )
        rows.append("<tr>" + "".join(f"<td>{html.escape(plain(cell))}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{name}</th>" for name in ("began", "bound", "where", "call", "queued", "took", "status"))
    more = len(timeline.calls) - len(rows)
    rest = f"<p>{html.escape(more_text(more, 'call', 'Timeline.calls'))}</p>" if more > 0 else ""
    return (
        f"<pre>{html.escape(summary_text(timeline))}</pre>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{rest}"
    )
