"""`coeval merge`: logs, traces and tables from many machines as one timeline."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor as FuturesExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from coeval.alignment import RATE_BOUND_PPM_DEFAULT
from coeval.cli._data_output import DataOutput, OutputClosed, OutputFailed, OutputRefused, check_place
from coeval.cli._freed_memory import keep_freed_memory
from coeval.cli._interrupts import Interrupted, Interrupts
from coeval.cli._merge_report import merge_json, merge_lines
from coeval.cli._numpy_threads import import_numpy_without_threads
from coeval.cli._output import NOT_POSSIBLE, parse_zone, plain, write_json_lines
from coeval.cli._pandas import do_without_pandas
from coeval.cli._parameters import Argument, Option
from coeval.cli._progress import Counts, ProgressLine, duration_text, rate_text
from coeval.cli._quick_end import allow_quick_end
from coeval.clocks import SYSTEM_CLOCK
from coeval.errors import CoevalError

if TYPE_CHECKING:
    from coeval.timeline.merge._merge import MergeReport, Step
    from coeval.timeline.merge._output import Format
    from coeval.timeline.sources import PairRule

DONE, DONE_IN_PART = 0, 1
CLOSED_OUTPUT_EXIT_CODE = 141
STDOUT = "-"

# A worker that dies takes its attempt with it; scanning and merging a stretch can be done again.
RETRIES = 2

_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)

To = Literal["parquet", "jsonl", "csv", "text", "log"]
Unplaced = Literal["last", "aside"]


def merge_command(
    sources: Annotated[list[str], Argument(metavar="SOURCE...")],
    out: Annotated[
        str,
        Option(
            "-o", "--out", metavar="OUT", help="A file or a URL to write; - for standard output.", show_default=False
        ),
    ],
    to: Annotated[
        To | None, Option("--to", metavar="FORMAT", help="parquet, jsonl, csv, text, log. [by OUT's name]")
    ] = None,
    source: Annotated[
        list[str] | None,
        Option(metavar="NAME:KEY=VALUE", help="What is said of a source, as 'web*.log:tz=Asia/Tokyo'."),
    ] = None,
    reader: Annotated[str, Option(metavar="NAME", help="The format of all sources. [found out]")] = "",
    source_tz: Annotated[str, Option("--source-tz", metavar="ZONE", help="Zone of stamps that carry none.")] = "",
    assume_utc: Annotated[bool, Option("--assume-utc", help="Stamps without a zone are UTC; mark them.")] = False,
    pair: Annotated[
        list[str] | None,
        Option(metavar="FIELD", help="Lines with the same value of this are one request; see --order."),
    ] = None,
    order: Annotated[str, Option(metavar="A,B,...", help="The clocks that requests pass, in this order.")] = "",
    sent: Annotated[str, Option(metavar="FIELD=VALUE", help="Or else: which lines send,")] = "",
    received: Annotated[str, Option(metavar="FIELD=VALUE", help="and which receive.")] = "",
    clock: Annotated[
        list[str] | None, Option(metavar="web=+3s±0.1s", help="A known offset from UTC; @db: from clock db.")
    ] = None,
    trust_clocks: Annotated[
        str | None, Option(metavar="BOUND", help="Each clock shows UTC within this, as 50ms.")
    ] = None,
    messages: Annotated[
        list[Path] | None, Option(metavar="FILE", help="Messages between clocks; see coeval clocks.")
    ] = None,
    anchors: Annotated[Path | None, Option(metavar="FILE", help="Readings tied to UTC; likewise.")] = None,
    reference: Annotated[
        str | None, Option(metavar="CLOCK", help="What times count on without UTC. [the busiest]")
    ] = None,
    rate_bound: Annotated[
        float, Option(metavar="PPM", help="How far a clock's rate may be off.")
    ] = RATE_BOUND_PPM_DEFAULT,
    unplaced: Annotated[
        Unplaced | None,
        Option(metavar="last|aside", help="What becomes of events that nothing relates. [an error]"),
    ] = None,
    set_aside: Annotated[
        str | None, Option(metavar="FILE", help="Keep what cannot be read here. [OUT.set-aside.jsonl]")
    ] = None,
    engine: Annotated[
        str | None, Option(metavar="URL", help="Where to work: local:4, dask://HOST:PORT. [this process]")
    ] = None,
    spill: Annotated[
        str | None, Option(metavar="DIR|URL", help="A place for what does not fit into memory. [OUT's folder]")
    ] = None,
    memory: Annotated[str, Option(metavar="SIZE", help="Memory for rows, about.")] = "1G",
    project: Annotated[Path | None, Option(metavar="FILE", help="What was said of the sources. [coeval.toml]")] = None,
    save_settings: Annotated[
        bool, Option("--save-settings", help="Keep --source, --pair and --clock in coeval.toml.")
    ] = False,
    tz: Annotated[str | None, Option("--tz", metavar="ZONE", help="Zone of the times in --to text. [UTC]")] = None,
    live: Annotated[bool, Option("--live", help="Follow SOURCEs as they grow; JSON lines in order.")] = False,
    live_for: Annotated[
        str | None, Option("--for", metavar="TIME", help="End --live after so long, as 60s. [Ctrl-C]")
    ] = None,
    idle: Annotated[
        str | None, Option("--idle", metavar="TIME", help="End --live when nothing came for so long.")
    ] = None,
    idle_timeout: Annotated[
        str | None, Option(metavar="TIME", help="Wait no longer for a source that is silent so long.")
    ] = None,
    future: Annotated[
        str, Option(metavar="TIME", help="So far ahead a stamp of --live needs another to confirm it.")
    ] = "3600s",
    force: Annotated[bool, Option("--force", help="Overwrite OUT.")] = False,
    as_json: Annotated[bool, Option("--json", help="The summary as JSON, on standard output.")] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="No progress, no summary.")] = False,
) -> None:
    """
    Merge logs, traces and tables into one timeline.

    \b
      coeval merge web.log db.log --pair id --order web,db -o all.parquet
      coeval merge eight/*.log --trust-clocks 50ms -o - --to text | less
      coeval merge a.parquet b.parquet --messages calls.csv -o all.parquet

    A SOURCE is a file, also compressed, a folder, a name with wildcards, a
    URL, - for standard input, or a run folder. Its format is found out.

    Every event keeps its raw stamp, and gets the earliest and the latest time
    it can have been at, and an estimate in between that the order goes by. No
    known before is contradicted. Records that cannot be read are set aside
    with their reasons, and counted.

    \b
    parquet  a row for each event   text  lines for people, with their times
    jsonl, csv  the same            log   lines as they were, in order

    Exit code: 0 all merged, 1 something was set aside, 2 it cannot be done as
    asked and nothing was written, 130 or 143 interrupted, likewise.
    """
    interrupts = Interrupts()
    del interrupts  # it stays in charge: a signal is raised where this command is, and everything is taken away
    stream = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # open until the process ends
    shown = _Shown()
    progress = ProgressLine(stream, SYSTEM_CLOCK, quiet=quiet or (out == STDOUT and os.isatty(1)), text_of=shown.text)

    def on_progress(step: Step, done: int, total: int) -> None:
        shown.step = step
        progress.show(Counts(done, 0, total))

    try:
        import_numpy_without_threads()
        do_without_pandas()
        keep_freed_memory()
        from coeval.timeline._url_target import place_of
        from coeval.timeline.merge._request import requested

        zone = parse_zone(tz)
        kind = _format(out, to)
        if tz is not None and kind != "text" and not live:
            raise ValueError(
                f"--tz {tz} is how --to text shows times, and {kind} has them as they are; expected --source-tz {tz} "
                "if it is the zone of the sources' stamps"
            )
        if as_json and out == STDOUT:
            raise ValueError("--json and -o - both want standard output; name a file with -o")
        if live and spill and "://" in spill:
            raise ValueError(
                f"--live works on this machine: expected --spill DIR, a folder, and no URL such as {spill}"
            )
        if out == STDOUT and kind == "parquet" and os.isatty(1):
            raise ValueError("parquet is no text for a terminal; name a file with -o, or put another program behind it")
        place = None if out == STDOUT else place_of(out)
        aside_place = None if set_aside is None else place_of(set_aside)
        if set_aside == STDOUT:
            raise ValueError("--set-aside - is no file, and standard output is for the timeline; name a file")
        for written in (place, aside_place):
            if written is not None:
                check_place(written, force=force)
        if spill and "://" not in spill and not Path(spill).is_dir():
            raise ValueError(f"--spill {spill} is no folder; expected one that is there, on a disk with room")
        pairs = _pairs(pair or [], order, sent, received)
        asked = requested(
            sources,
            source=[*(source or []), *([f"*:reader={reader}"] if reader else [])],
            pair=pairs,
            clock=clock or [],
            trust_clocks=trust_clocks,
            anchors=anchors,
            messages=messages or [],
            reference=reference,
            rate_bound_ppm=rate_bound,
            source_tz=source_tz,
            assume_utc=assume_utc,
            unplaced=unplaced or "",
            set_aside=set_aside,
            spill=spill,
            memory=parse_size(memory),
            project=project,
        )
        if live:
            if refused := _not_live(engine, save_settings, tz, to, kind):
                raise ValueError(f"--live writes JSON lines, in this process; expected no {refused}")
            if isinstance(place, str) or isinstance(aside_place, str):
                raise ValueError("--live writes as events come: expected a file of this machine, or -o -, and no URL")
            from coeval.cli._merge_live import Ends, merge_live

            raise click.exceptions.Exit(
                merge_live(
                    asked,
                    place,
                    Ends(live_for, idle, idle_timeout, future),
                    aside_place,
                    as_json=as_json,
                    quiet=quiet,
                )
            )
        if live_for or idle or idle_timeout:
            raise ValueError("--for, --idle and --idle-timeout say how --live goes; give that too")
        report = _merged(asked, place, kind, zone, engine, on_progress)
        if save_settings:
            _save(project, [*sources, *(source or [])], clock or [], pairs)
    except Interrupted as interrupted:
        progress.clear()
        progress.write("interrupted: nothing was written\n")
        raise click.exceptions.Exit(interrupted.exit_code) from None
    except (OutputClosed, BrokenPipeError):
        raise click.exceptions.Exit(CLOSED_OUTPUT_EXIT_CODE) from None
    except (OutputFailed, OutputRefused, CoevalError, ValueError, OSError) as error:
        progress.clear()
        progress.write(f"coeval merge: {_told(error)}\n")
        raise click.exceptions.Exit(NOT_POSSIBLE) from None
    progress.clear()
    if as_json:
        write_json_lines([{**merge_json(report), "notes": list(asked.notes)}])
    elif not quiet:
        lines = merge_lines(report, place, progress.elapsed_ns())
        progress.write("".join(f"{line}\n" for line in (*asked.notes, *lines)))
    in_part = report.set_aside or any(each.problems for each in report.sources)
    if engine is None:
        allow_quick_end()
    raise click.exceptions.Exit(DONE_IN_PART if in_part else DONE)


def _not_live(engine: str | None, save_settings: bool, tz: str | None, to: To | None, kind: Format) -> str:
    """The first of these options that has no part in a live merge; "": none."""
    said = {
        f"--engine {engine}": engine is not None,
        "--save-settings": save_settings,
        f"--tz {tz}": tz is not None,
        f"--to {to}": to not in (None, "jsonl"),
        f"OUT for {kind}": to is None and kind not in ("jsonl", "text"),
    }
    return next((option for option, is_said in said.items() if is_said), "")


def _save(project: Path | None, said: Sequence[str], clock: Sequence[str], pairs: Sequence[PairRule]) -> None:
    """Keep what was said in the project file, once a merge has shown that it is right."""
    from coeval.timeline.sources import PROJECT_FILE, parse_source, save_settings

    settings = [parse_source(text) for text in said if not Path(text).exists()]
    save_settings(project or Path(PROJECT_FILE), [each for each in settings if each[1]], clock, pairs)


def parse_size(text: str) -> int:
    """`512M`, `1.5GiB` or a number of bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"--memory {text!r} is no size; expected a number and a unit, such as 512M or 2G")
    return int(float(match[1]) * _SIZES[match[2].lower()])


class _Shown:
    """What the line of progress says."""

    def __init__(self) -> None:
        self.step: Step = "scan"

    def text(self, counts: Counts, elapsed_ns: int) -> str:
        parts = [f"{self.step} {counts.done:,}/{counts.total or 0:,} {'rows' if self.step == 'merge' else 'parts'}"]
        if counts.total:
            parts.append(f"{counts.done * 100 // counts.total} %")
        rate = counts.done / elapsed_ns * 1e9 if elapsed_ns > 0 else 0.0
        if self.step == "merge" and rate:
            parts.append(rate_text(rate))
            if counts.total and counts.total > counts.done:
                parts.append(f"{duration_text((counts.total - counts.done) / rate)} left")
        return "  ".join(parts)


def _merged(
    asked: Any, out: Path | str | None, kind: Format, zone: Any, engine: str | None, on_progress: Any
) -> MergeReport:
    from coeval.timeline.merge._merge import merge_sources

    with _executor(engine) as executor:
        target: Any = out
        output = None
        if out is None:
            output = DataOutput.to_standard_output()
            target = _Stream(output)
        report = merge_sources(
            asked.sources,
            target,
            asked.settings,
            asked.evidence,
            kind=kind,
            executor=executor,
            on_progress=on_progress,
            zone=zone,
        )
        if output is not None:
            output.close()
        return report


class _Stream:
    """Standard output as a file that is written."""

    closed = False

    def __init__(self, output: DataOutput) -> None:
        self._output = output

    def write(self, data: Any) -> int:
        """Write all of it."""
        whole = bytes(data)
        self._output.write([whole])
        return len(whole)

    def flush(self) -> None:
        """What is written is written."""


@contextlib.contextmanager
def _executor(engine: str | None) -> Iterator[FuturesExecutor | None]:
    if engine is None:
        yield None
        return
    from coeval.executor import Executor, Retry

    with Executor(engine, retries=Retry(RETRIES, on_death=True)) as executor:
        yield executor


def _format(out: str, to: To | None) -> Format:
    from coeval.timeline.merge._output import format_of

    if to is not None:
        return to
    if out != STDOUT:
        return format_of(out)
    return "text" if os.isatty(1) else "jsonl"


def _pairs(pairs: list[str], order: str, sent: str, received: str) -> list[Any]:
    from coeval.timeline.sources._rules import parse_pair

    if (order or sent or received) and not pairs:
        raise ValueError("--order, --sent and --received say how the lines of a --pair go; give that too")
    return [parse_pair(each, order=order, sent=sent, received=received) for each in pairs]


def _told(error: Exception) -> str:
    """What is wrong, in whole sentences; tables keep their lines."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return "\n".join(plain(line) for line in text.splitlines())
