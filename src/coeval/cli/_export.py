"""`coeval export`: a timeline as a file for other programs."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Literal

import typer

from coeval.cli._output import fail, parse_zone, read_timeline
from coeval.timeline import RunTimeline, Timeline
from coeval.timeline.writers import write_csv, write_jsonl, write_otlp, write_parquet, write_perfetto, write_text

Format = Literal["perfetto", "parquet", "jsonl", "csv", "otlp", "text"]

# What a file is called where nobody says it: in the current folder, after the run's own.
_SUFFIXES: dict[Format, str] = {
    "perfetto": ".perfetto.json",
    "parquet": ".parquet",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "otlp": ".otlp.jsonl",
    "text": ".txt",
}


def export(
    source: Annotated[
        Path, typer.Argument(metavar="TIMELINE", help="A run folder, or what merge wrote.", show_default=False)
    ],
    to: Annotated[
        Format,
        typer.Option("--to", metavar="FORMAT", help="perfetto, parquet, jsonl, csv, otlp, text.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="Write here. [TIMELINE's name and a suffix]")
    ] = None,
    tz: Annotated[
        str | None, typer.Option("--tz", metavar="ZONE", help="Zone of the times in text, as Europe/Berlin. [UTC]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    """
    Write a timeline for other programs; times are corrected ones.

    \b
      coeval export run --to perfetto      # open it in ui.perfetto.dev
      coeval export run --to parquet -o run.parquet
      coeval export all.parquet --to text --tz Europe/Berlin

    \b
    perfetto  of a run: a track for each process, a slice for each try, arrows
              from hand-over to start and from finish to seen; else a process
              for each clock, a track for each source, arrows between spans
    parquet   a row for each event, with its bounds and raw readings
    jsonl     the same as lines of JSON
    csv       the same, without column time
    otlp      lines of OTLP JSON: spans, and log records
    text      lines for people
    """
    if out == Path("-"):
        fail("export writes a file, and - is none; coeval timeline shows it, and coeval query prints all of it")
    target = out or Path(f"{_name(source)}{_SUFFIXES[to]}")
    if target.exists() and not target.is_file():
        fail(f"{target} is no regular file; expected a file to write to, or a name that is free")
    if target.exists() and not force:
        fail(f"{target} is there already; name another file with -o, or overwrite it with --force")
    if tz is not None and to != "text":
        fail(f"--tz is for --to text; {to} has integers that no zone changes")
    zone = parse_zone(tz)
    timeline = read_timeline(source)
    # Written beside it and renamed: nobody ever finds half a file under the name.
    partial = target.with_name(f"{target.name}.partial")
    try:
        told = _write(timeline, to, partial, zone)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        fail(f"{target} cannot be written: {error.strerror}")
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    for problem in timeline.problems if isinstance(timeline, RunTimeline) else ():
        typer.echo(f"problem: {problem}", err=True)
    typer.echo(f"{told} in {target} ({target.stat().st_size:,} bytes), on {timeline.reference_label}", err=True)


def _name(source: Path) -> str:
    return source.resolve().name if source.is_dir() else source.name.partition(".")[0]


def _write(timeline: Timeline, to: Format, path: Path, zone: tzinfo) -> str:
    if to == "parquet":
        return f"{write_parquet(timeline, path):,} events"
    if to == "csv":
        with open(path, "wb") as table:
            return f"{write_csv(timeline, table):,} events"
    with open(path, "w", encoding="utf-8") as file:
        if to == "jsonl":
            return f"{write_jsonl(timeline, file):,} events"
        if to == "text":
            return f"{write_text(timeline, file, zone):,} events"
        if to == "otlp":
            spans, logs, left_out = write_otlp(timeline, file)
            return f"{spans:,} spans and {logs:,} log records{_left_out(left_out)}"
        written = write_perfetto(timeline, file)
        return f"{written.slices:,} slices{_left_out(written.left_out)}"


def _left_out(count: int) -> str:
    return f", {count:,} left out because nothing is known of their time" if count else ""
