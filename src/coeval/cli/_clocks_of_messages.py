"""`coeval clocks` on tables of messages: reads them, relates the clocks, and writes the report or the placed stamps."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO

import click

from coeval.alignment import RATE_BOUND_PPM_DEFAULT
from coeval.cli._clocks_report import report_json, report_lines, set_aside_notes
from coeval.cli._output import fail, refuse_overwriting, style_of_output, write_json_lines, write_lines
from coeval.timeline._related_clocks import RelatedClocks, Stamping, relate_clocks
from coeval.timeline._target import Target
from coeval.timeline.readers import SetAside, SetAsideRow
from coeval.timeline.writers._placed_stamps import STAMPS_FORMATS, StampsFormat, write_stamps

DONE, DONE_IN_PART = 0, 1

_UNITS_NS = {"": 1, "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)")


@dataclass(frozen=True, slots=True)
class MessageOptions:
    """What was asked for; see `coeval clocks --help`."""

    sources: Sequence[Path]
    anchors: Path | None
    reference: str | None
    rate_bound_ppm: float | None
    resolutions: Sequence[str]
    at: Path | None
    out: Path | None
    set_aside: Path | None
    plot: Path | None
    as_json: bool
    force: bool


def clocks_of_messages(options: MessageOptions) -> int:
    """Do it, and return the exit code: 1 where rows were set aside or a file could not be read to its end."""
    if options.at is None and options.out is not None and options.out.suffix == ".parquet":
        fail(f"{options.out} is for stamps; give them with --at, or name a file for the report as text or JSON")
    kind = _stamps_format(options)
    resolutions_ns = parse_resolutions(options.resolutions)
    with _keeping(options.set_aside, force=options.force) as keep:
        try:
            clocks = relate_clocks(
                list(options.sources),
                anchors=options.anchors,
                reference=options.reference,
                rate_bound_ppm=RATE_BOUND_PPM_DEFAULT if options.rate_bound_ppm is None else options.rate_bound_ppm,
                resolutions_ns=resolutions_ns,
                on_set_aside=keep,
            )
        except OSError as error:
            fail(f"{error.filename} cannot be read: {error.strerror}" if error.filename else error)
        except ValueError as error:
            _refuse_timelines(options.sources)
            fail(error)
        if options.plot is not None:
            from coeval.cli._clocks_plot import plot_to
            from coeval.timeline._clock_curves import curves_of_messages

            plot_to(options.plot, curves_of_messages(clocks))
        if options.at is not None:
            return _place(clocks, options, options.at, kind, keep)
    _report(clocks, options)
    return DONE_IN_PART if len(clocks.set_aside) or clocks.problems else DONE


def parse_resolutions(texts: Sequence[str]) -> dict[str, int]:
    """`CLOCK=1ms` as ns by clock; a number alone is ns."""
    found: dict[str, int] = {}
    for text in texts:
        clock, _, duration = text.rpartition("=")
        match = _DURATION.fullmatch(duration.strip())
        if not clock or match is None or match[2] not in _UNITS_NS:
            fail(f"--resolution {text!r} is none; expected CLOCK=1ms, with ns, us, ms, s or min, or CLOCK=0 for exact")
        ns = Fraction(match[1]) * _UNITS_NS[match[2]]
        found[clock] = -(-ns.numerator // ns.denominator)
    return found


def _refuse_timelines(sources: Sequence[Path]) -> None:
    """Say of a merged timeline what it is, and not which columns of messages it has not."""
    from coeval.errors import WrongTable
    from coeval.timeline import open_timeline

    for source in sources:
        try:
            open_timeline(source)
        except (WrongTable, OSError):
            continue
        fail(
            f"{source} is a timeline, whose clocks are related already: `coeval timeline` and `coeval query` show it. "
            "Expected messages between clocks: a table with columns sender, sent_ns, receiver, received_ns"
        )


def _report(clocks: RelatedClocks, options: MessageOptions) -> None:
    columns = style_of_output().columns
    if options.out is None:
        if options.as_json:
            write_json_lines([report_json(clocks)])
        else:
            write_lines(report_lines(clocks, min(columns, 100)))
        return
    with _written(options.out, force=options.force) as file:
        if options.as_json or options.out.suffix in (".json", ".jsonl"):
            file.write(json.dumps(report_json(clocks), separators=(",", ":")).encode() + b"\n")
        else:
            file.writelines(f"{line}\n".encode() for line in report_lines(clocks, 80))


def _place(
    clocks: RelatedClocks,
    options: MessageOptions,
    stamps: Path,
    kind: StampsFormat,
    keep: Callable[[SetAsideRow], None] | None,
) -> int:
    aside = SetAside(keep)
    try:
        stamping = Stamping(clocks, stamps, aside)
    except OSError as error:
        fail(f"{stamps} cannot be read: {error.strerror or error}")
    except ValueError as error:
        fail(error)
    metadata = {"coeval.reference": str(clocks.reference), "coeval.grade": "declared"}
    where: contextlib.AbstractContextManager[IO[bytes]] = (
        contextlib.nullcontext(sys.stdout.buffer) if options.out is None else _written(options.out, force=options.force)
    )
    with where as file:
        try:
            write_stamps(stamping, stamping.schema, kind, file, is_text=stamping.is_text, metadata=metadata)
        except ValueError as error:
            fail(error)
        file.flush()
    _say_placed(clocks, stamping, aside)
    in_part = len(clocks.set_aside) or clocks.problems or len(aside) or stamping.source.problems
    return DONE_IN_PART if in_part else DONE


def _say_placed(clocks: RelatedClocks, stamping: Stamping, aside: SetAside) -> None:
    alignment = clocks.alignment
    on = "UTC" if alignment.on_utc else f"what {alignment.reference_clock} shows"
    chosen = "" if clocks.reference_given else f" (reference clock {alignment.reference_clock}: most messages)"
    lines = [f"{stamping.placed:,} of {stamping.count:,} stamps placed on {on}{chosen}"]
    lines += [
        f"not placed: {count:,} of clock {clock}, which is in no message"
        for clock, count in stamping.unknown_clocks.items()
    ]
    lines += [f"not placed: {count:,} stamps: {reason}" for reason, count in aside.reasons.most_common()]
    lines += [f"{title}: {text}" for title, text in set_aside_notes(clocks)]
    lines += [f"finding: {finding.text}" for finding in alignment.findings]
    lines += [f"problem: {problem}" for problem in (*clocks.problems, *stamping.source.problems)]
    for line in lines:
        click.echo(line, err=True)


def _stamps_format(options: MessageOptions) -> StampsFormat:
    if options.out is None or options.at is None:
        return "jsonl" if options.as_json else "csv"
    name = options.out.name
    kind = next((kind for kind in STAMPS_FORMATS if name.endswith(f".{kind}")), None)
    if kind is None:
        fail(f"{name} does not say what to write; expected a name that ends in .csv, .csv.gz, .parquet or .jsonl")
    return kind


@contextlib.contextmanager
def _written(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """A file that is there under its name once it is whole."""
    refuse_overwriting(path, force=force)
    try:
        with Target(path) as file:
            yield file
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")


@contextlib.contextmanager
def _keeping(path: Path | None, *, force: bool) -> Iterator[Callable[[SetAsideRow], None] | None]:
    """What takes rows that are set aside: a line of JSON for each, or nobody."""
    if path is None:
        yield None
        return
    with _written(path, force=force) as file:

        def keep(row: SetAsideRow) -> None:
            file.write(json.dumps(_row_json(row)).encode() + b"\n")

        yield keep


def _row_json(row: SetAsideRow) -> Mapping[str, object]:
    return {"file": row.source, row.unit: row.number, "reason": row.reason, "values": dict(row.values)}
