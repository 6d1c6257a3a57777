"""`coeval timeline`: what happened in a run, in one order, with a bound on every time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from coeval.cli._output import fail, instant_json, parse_zone, read_run, style_of_output, write_json_lines, write_lines
from coeval.clocks import Instant, Stamp
from coeval.recording._rows import KIND_NAMES, Row
from coeval.timeline import CallAttempt, Duration, Timeline, TimelineCall, TimelineEvent
from coeval.timeline._listing import call_lines, event_lines, more_text, plain, summary_text

LINES = 40


def timeline(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    events: Annotated[
        bool, typer.Option("--events", help="Every event: the four stamps of each try, marks, spans, logs.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, metavar="N", help=f"So many lines. [{LINES}; with --json all]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="No limit.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Rows in recorded order with their readings, bit for bit; no correction.")
    ] = False,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="Show times in this zone, as Europe/Berlin. [UTC]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """
    Show what happened in a run, by corrected time: a summary, then a line per
    call.

    \b
      coeval timeline run
      coeval timeline run --events --all --tz Europe/Berlin
      coeval timeline run --json | jq .started.estimate_ns
      coeval timeline run --raw

    A time is an estimate and how far the truth can be from it (bound). No
    bound column: every time shown is exact on the reference. "≤" before a
    duration: short calls that travelled together, timed by their batch.

    \b
    --json, integers in ns; null: unknown.
      call, executor, function, label, status, tries
      attempt, batch, item, outcome, process, worker, host, pid, shared_by
      handed_over, started, finished, seen: null, or
        {earliest_ns, estimate_ns, latest_ns, raw_ns, clock}
      queued_ns, running_ns: null, or [least, greatest]
      failure: null, or {kind, type, message, arguments, final}
      reference: what the instants count on, "utc" or a clock; grade
    --json --events: kind, name, label, earliest_ns, estimate_ns, latest_ns,
      raw_ns, clock, end (null or an instant as above), executor, call,
      attempt, batch, item, process, worker, host, pid, fields, shared_by,
      reference, grade
    --json --raw: each row as in the recording, [kind, fields ...].
    """
    if everything and limit is not None:
        fail(f"--all and --limit {limit} exclude each other; give one of them")
    if raw and (events or tz is not None):
        fail("--raw shows the recording as it is; --events and --tz have no part in it")
    zone = parse_zone(tz)
    line_count = None if everything or (as_json and limit is None) else LINES if limit is None else limit
    found = read_run(run)
    if as_json:
        if raw:
            write_json_lines([KIND_NAMES[type(row)], *row] for row in islice(found.recording, line_count))
        elif events:
            write_json_lines(event_json(event) for event in islice(found.events, line_count))
        else:
            write_json_lines(call_json(call) for call in islice(found.calls, line_count))
        _say_problems(found)
        return
    style = style_of_output(zone)
    if raw:
        write_lines(raw_text(row) for row in islice(found.recording, line_count))
        shown, what = len(found.recording), "row"
        _say_problems(found)
    elif events:
        write_lines([summary_text(found, style), "", *event_lines(found, style, line_count)])
        shown, what = len(found.events), "event"
    else:
        write_lines([summary_text(found, style), "", *call_lines(found, style, line_count)])
        shown, what = len(found.calls), "call"
    if line_count is not None and shown > line_count:
        write_lines([more_text(shown - line_count, what, "--limit N or --all shows them")])


def _say_problems(found: Timeline) -> None:
    """Where the output is data, what is wrong is said beside it."""
    for problem in found.problems:
        typer.echo(f"problem: {plain(problem)}", err=True)


def raw_text(row: Row) -> str:
    """A row as it was recorded."""
    fields = (f"{name}={plain(repr(value))}" for name, value in zip(row._fields, row, strict=True))
    return f"{KIND_NAMES[type(row)]} {' '.join(fields)}"


def event_json(event: TimelineEvent) -> dict[str, Any]:
    """An event under the keys that the help names."""
    return {
        "kind": event.kind,
        "name": event.name,
        "label": event.label,
        **_moment(event.begin, event.begin_stamp),
        "end": None if event.end is None or event.end_stamp is None else _moment(event.end, event.end_stamp),
        "executor": event.executor,
        "call": event.call,
        "attempt": event.attempt,
        "batch": event.batch,
        "item": event.item,
        "process": event.process,
        "worker": event.worker,
        "host": event.host,
        "pid": event.pid,
        "fields": dict(event.fields),
        "shared_by": event.shared_by,
        "reference": event.begin.reference,
        "grade": event.begin.grade,
    }


def call_json(call: TimelineCall) -> dict[str, Any]:
    """A call with its last try under the keys that the help names."""
    last = call.last
    instant = next((instant for instant in last.instants if instant is not None), None)
    return {
        "call": call.number,
        "executor": call.executor,
        "function": call.function,
        "label": call.label,
        "status": call.status,
        "tries": len(call.attempts),
        "attempt": last.number,
        "batch": last.batch,
        "item": last.item,
        "outcome": last.outcome,
        "process": last.process,
        "worker": last.worker,
        "host": last.host,
        "pid": last.pid,
        "shared_by": last.shared_by,
        **dict(_four(last)),
        "queued_ns": _interval(last.queued),
        "running_ns": _interval(last.running),
        "failure": None
        if last.failure is None
        else {
            "kind": last.failure.kind,
            "type": last.failure.type_name,
            "message": last.failure.message,
            "arguments": last.failure.arguments,
            "final": last.failure.is_final,
        },
        "reference": None if instant is None else instant.reference,
        "grade": None if instant is None else instant.grade,
    }


def _four(attempt: CallAttempt) -> Iterator[tuple[str, dict[str, Any] | None]]:
    for name, instant, stamp in zip(attempt.stamps._fields, attempt.instants, attempt.stamps, strict=True):
        yield name, None if instant is None or stamp is None else _moment(instant, stamp)


def _moment(instant: Instant, stamp: Stamp) -> dict[str, Any]:
    return {**instant_json(instant), "raw_ns": stamp.reading_ns, "clock": stamp.clock}


def _interval(duration: Duration | None) -> list[int | None] | None:
    return None if duration is None else [duration.least_ns, duration.greatest_ns]
