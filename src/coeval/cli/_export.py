"""`coeval export`: a run's timeline as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from coeval.cli._output import fail, read_run
from coeval.timeline import Timeline
from coeval.timeline.writers import write_jsonl, write_parquet, write_perfetto

Format = Literal["perfetto", "parquet", "jsonl"]

# What a file is called where nobody says it: in the current folder, after the run's own.
_SUFFIXES: dict[Format, str] = {"perfetto": ".perfetto.json", "parquet": ".parquet", "jsonl": ".jsonl"}


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    to: Annotated[
        Format, typer.Option("--to", metavar="FORMAT", help="perfetto, parquet or jsonl.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="Write here. [RUN's name and the format's suffix]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    """
    Write the timeline of a run for other programs; times are corrected ones.

    \b
      coeval export run --to perfetto      # open it in ui.perfetto.dev
      coeval export run --to parquet -o run.parquet
      coeval export run --to jsonl -o run.jsonl

    \b
    perfetto  a track for each process, a slice for each try, arrows from
              hand-over to start and from finish to seen
    parquet   a row for each event, with its bounds and raw readings
    jsonl     the same as lines of JSON
    """
    target = out or Path(f"{run.resolve().name}{_SUFFIXES[to]}")
    if target.exists() and not target.is_file():
        fail(f"{target} is no regular file; expected a file to write to, or a name that is free")
    if target.exists() and not force:
        fail(f"{target} is there already; name another file with -o, or overwrite it with --force")
    timeline = read_run(run)
    # Written beside it and renamed: nobody ever finds half a file under the name.
    partial = target.with_name(f"{target.name}.partial")
    try:
        told = _write(timeline, to, partial)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        fail(f"{target} cannot be written: {error.strerror}")
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    for problem in timeline.problems:
        typer.echo(f"problem: {problem}", err=True)
    typer.echo(f"{told} in {target} ({target.stat().st_size:,} bytes), on {timeline.reference_label}", err=True)


def _write(timeline: Timeline, to: Format, path: Path) -> str:
    if to == "parquet":
        return f"{write_parquet(timeline, path):,} events"
    with open(path, "w", encoding="utf-8") as file:
        if to == "jsonl":
            return f"{write_jsonl(timeline, file):,} events"
        written = write_perfetto(timeline, file)
        left_out = f", {written.left_out:,} left out because nothing is known of their time" if written.left_out else ""
        return f"{written.slices:,} slices{left_out}"
