"""`coeval timeline`: what happened in a run, in one order, with a bound on every time."""

from __future__ import annotations

from datetime import tzinfo
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from coeval.cli._output import (
    fail,
    parse_zone,
    read_run,
    read_timeline,
    style_of_output,
    write_json_lines,
    write_lines,
)
from coeval.cli._parameters import Argument, Option
from coeval.recording._rows import KIND_NAMES, Row
from coeval.timeline._time_text import plain

if TYPE_CHECKING:
    from coeval.timeline import RunTimeline, Timeline

LINES = 40


def timeline(
    run: Annotated[Path, Argument(metavar="RUN", help="A run folder, or what merge wrote.")],
    events: Annotated[
        bool, Option("--events", help="Every event: the four stamps of each try, marks, spans, logs.")
    ] = False,
    limit: Annotated[
        int | None, Option("--limit", least=0, metavar="N", help=f"So many lines. [{LINES}; with --json all]")
    ] = None,
    everything: Annotated[bool, Option("--all", help="No limit.")] = False,
    raw: Annotated[
        bool, Option("--raw", help="Rows in recorded order with their readings, bit for bit; no correction.")
    ] = False,
    tz: Annotated[
        str | None, Option("--tz", metavar="ZONE", help="Show times in this zone, as Europe/Berlin or +02:00. [UTC]")
    ] = None,
    as_json: Annotated[bool, Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """
    Show what happened, by corrected time.

    Of a run: a summary, then a line per call. Of what coeval merge wrote: its
    events.

    \b
      coeval timeline run
      coeval timeline all.parquet --tz Europe/Berlin
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
    from coeval.timeline._listing import call_lines, event_lines, more_text, summary_text
    from coeval.timeline.writers import call_json, event_json

    zone = parse_zone(tz)
    line_count = None if everything or (as_json and limit is None) else LINES if limit is None else limit
    if run.is_file() or not run.exists():
        _show_table(read_timeline(run), line_count, zone, as_json=as_json)
        return
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


def _show_table(found: Timeline, line_count: int | None, zone: tzinfo, *, as_json: bool) -> None:
    """A timeline that no run left: its events, a line each."""
    from coeval.timeline._listing import more_text
    from coeval.timeline.writers import event_json
    from coeval.timeline.writers._text import text_lines

    events = islice(found.rows(), line_count)
    if as_json:
        write_json_lines(event_json(event) for event in events)
        return
    write_lines([f"{len(found):,} events on {found.reference_label}", ""])
    write_lines(plain(line) for event in events for line in text_lines(event, zone))
    if line_count is not None and len(found) > line_count:
        write_lines([more_text(len(found) - line_count, "event", "--limit N or --all shows them")])


def _say_problems(found: RunTimeline) -> None:
    """Where the output is data, what is wrong is said beside it."""
    for problem in found.problems:
        click.echo(f"problem: {plain(problem)}", err=True)


def raw_text(row: Row) -> str:
    """A row as it was recorded."""
    fields = (f"{name}={plain(repr(value))}" for name, value in zip(row._fields, row, strict=True))
    return f"{KIND_NAMES[type(row)]} {' '.join(fields)}"
