"""`coeval export`: a timeline as a file for other programs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import click

from coeval.cli._output import fail, parse_zone, read_timeline, refuse_overwriting, refuse_reading_itself
from coeval.cli._parameters import Argument, Option
from coeval.errors import WrongTable
from coeval.timeline import writers
from coeval.timeline._target import Target, as_text

if TYPE_CHECKING:
    from coeval.timeline import Timeline
    from coeval.timeline.writers import ArchivedTrace

Format = Literal["perfetto", "parquet", "jsonl", "csv", "sqlite", "otlp", "text", "perfetto-archive"]

# What a file is called where nobody says it: in the current folder, after the run's own.
_SUFFIXES: dict[Format, str] = {
    "perfetto": ".perfetto.json",
    "parquet": ".parquet",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "sqlite": ".sqlite",
    "otlp": ".otlp.jsonl",
    "text": ".txt",
    "perfetto-archive": ".perfetto.tar",
}


def export(
    source: Annotated[Path, Argument(metavar="TIMELINE", help="A run folder, or what merge wrote.")],
    to: Annotated[
        Format,
        Option("--to", metavar="FORMAT", help="One of those below.", show_default=False),
    ],
    traces: Annotated[
        list[Path] | None,
        Argument(metavar="[TRACE]...", help="For perfetto-archive: what was merged."),
    ] = None,
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="OUT", help="Write here. [TIMELINE's name and a suffix]")
    ] = None,
    tz: Annotated[
        str | None, Option("--tz", metavar="ZONE", help="Zone of the times in text, as Europe/Berlin or +02:00. [UTC]")
    ] = None,
    table: Annotated[
        str | None, Option("--table", metavar="NAME", help="What sqlite's table is called. [timeline]")
    ] = None,
    force: Annotated[bool, Option("--force", help="Overwrite OUT; of sqlite, the table.")] = False,
) -> None:
    """
    Write a timeline for other programs; times are corrected ones.

    \b
      coeval export run --to perfetto      # open it in ui.perfetto.dev
      coeval export run --to parquet -o run.parquet
      coeval export all.parquet --to text --tz Europe/Berlin
      coeval export all.parquet --to sqlite -o shop.db --table merged
      coeval export all.parquet --to perfetto-archive a.json b.json

    \b
    perfetto  of a run: a track for each process, a slice for each try, arrows
              from hand-over to start and from finish to seen; else a process
              for each clock, a track for each source, arrows between spans
    parquet   a row for each event, with its bounds and raw readings
    jsonl     the same as lines of JSON
    csv       the same, without column time
    sqlite    a table, its rows in timeline order; what else is in the database
              stays as it is
    otlp      lines of OTLP JSON: spans, and log records
    text      lines for people
    perfetto-archive  the traces that were merged, as they are, and a manifest
              that moves each by its measured offset; the first stays
    """
    if out == Path("-"):
        fail("export writes a file, and - is none; coeval timeline shows it, and coeval query prints all of it")
    target = out or Path(f"{_name(source)}{_SUFFIXES[to]}")
    # A database keeps what else is in it.
    refuse_overwriting(target, force=force or to == "sqlite")
    refuse_reading_itself(target, (source, *(traces or ())))
    if to == "sqlite" and target.exists() and not target.is_file():
        fail(f"{target} is no regular file; expected a database, or a name that is free")
    if tz is not None and to != "text":
        fail(f"--tz is for --to text; {to} has integers that no zone changes")
    if table is not None and to != "sqlite":
        fail(f"--table is for --to sqlite; {to} has none")
    if bool(traces) != (to == "perfetto-archive"):
        fail("traces are named for --to perfetto-archive, and it needs them: the files that were merged")
    zone = parse_zone(tz)
    timeline = read_timeline(source)
    from coeval.timeline import RunTimeline

    if traces and isinstance(timeline, RunTimeline):
        fail(f"{source} is a run; perfetto-archive is for what coeval merge made of traces. Try --to perfetto")
    try:
        if to == "sqlite":
            told = _write_table(timeline, target, table or "timeline", replace=force)
        else:
            with Target(target) as file:
                told = _write(timeline, to, file, zone, traces or [])
    except OSError as error:
        of = error.filename if error.filename in [str(each) for each in traces or []] else f"{target} cannot be written"
        fail(f"{of}: {error.strerror}")
    except (WrongTable, ValueError) as error:
        fail(str(error))
    for problem in timeline.problems if isinstance(timeline, RunTimeline) else ():
        click.echo(f"problem: {problem}", err=True)
    click.echo(f"{told} in {target} ({target.stat().st_size:,} bytes), on {timeline.reference_label}", err=True)


def _name(source: Path) -> str:
    return source.resolve().name if source.is_dir() else source.name.partition(".")[0]


def _write_table(timeline: Timeline, path: Path, table: str, *, replace: bool) -> str:
    import pyarrow as pa

    rows = pa.RecordBatchReader.from_batches(timeline.schema, timeline.batches())
    try:
        count = writers.write_sqlite(rows, path, table, replace=replace)
    except FileExistsError as error:
        fail(f"{error} Say which with --table, or --force")
    except sqlite3.Error as error:
        fail(f"{path} cannot be written: {error}")
    return f"{count:,} events in table {table}"


def _write(timeline: Timeline, to: Format, file: IO[bytes], zone: tzinfo, traces: list[Path]) -> str:
    match to:
        case "perfetto-archive":
            return _archive_told(writers.write_perfetto_archive(timeline, traces, file))
        case "parquet":
            return f"{writers.write_parquet(timeline, file):,} events"
        case "csv":
            return f"{writers.write_csv(timeline, file):,} events"
    with as_text(file) as lines:
        match to:
            case "jsonl":
                return f"{writers.write_jsonl(timeline, lines):,} events"
            case "text":
                return f"{writers.write_text(timeline, lines, zone):,} events"
            case "otlp":
                spans, logs, left_out = writers.write_otlp(timeline, lines)
                return f"{spans:,} spans and {logs:,} log records{_left_out(left_out)}"
            case _:
                written = writers.write_perfetto(timeline, lines)
                return f"{written.slices:,} slices{_left_out(written.left_out)}"


def _archive_told(traces: Sequence[ArchivedTrace]) -> str:
    """By how much each file is moved, how far that is off at most, and how much it changes: a line for each."""
    lines = [f"{traces[0].member} (clock {traces[0].clock}) stays"]
    for trace in traces[1:]:
        off = "nobody knows how far off" if trace.error_ns_max is None else f"off by {trace.error_ns_max:,} ns at most"
        lines.append(
            f"{trace.member} (clock {trace.clock}) is moved by {trace.offset_ns:+,} ns: {off}; "
            f"the offset changes by {trace.change_ns:,} ns over the data"
        )
    return "\n".join([*lines, f"{len(traces)} traces"])


def _left_out(count: int) -> str:
    return f", {count:,} left out because nothing is known of their time" if count else ""
