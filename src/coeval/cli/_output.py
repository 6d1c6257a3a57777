"""
What commands that show a recording have in common: how they speak to a terminal, a pipe and a person who erred.

How a time becomes text is decided one layer below, where `Timeline.show()` needs it too, and is named here again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import available_timezones

import click

from coeval.cli._data_output import OutputRefused, check_output
from coeval.cli._pandas import do_without_pandas
from coeval.errors import RecordingWarning
from coeval.timeline._time_text import (
    format_bound_ns,
    format_duration_ns,
    format_instant,
    format_interval_ns,
    format_offset_ns,
    format_utc_offset,
    half_width_ns,
    plain,
)
from coeval.timeline._zone_names import zone_of

if TYPE_CHECKING:
    from coeval.timeline import RunTimeline, Timeline
    from coeval.timeline._listing import Style

__all__ = [
    "fail",
    "read_run",
    "read_timeline",
    "parse_zone",
    "style_of_output",
    "write_lines",
    "write_json_lines",
    "plain",
    "wrap_titled",
    "format_bound_ns",
    "format_duration_ns",
    "format_instant",
    "format_interval_ns",
    "format_offset_ns",
    "format_utc_offset",
    "half_width_ns",
]

# Where nothing says how wide a line may be: what fits most logs and mails.
COLUMNS_WITHOUT_TERMINAL = 120

NOT_POSSIBLE = 2
"""The exit code of a command that cannot do what was asked."""

_TITLED_COLUMNS_MIN = 40

_RED = ("\x1b[31m", "\x1b[0m")
_NAMES_MAX = 3


def fail(error: Exception | str) -> NoReturn:
    """Say on standard error what is wrong, on one line, and end the command with exit code 2."""
    text = " ".join(str(error).split())
    click.echo(f"coeval: {plain(text)}", err=True)
    raise click.exceptions.Exit(NOT_POSSIBLE)


def read_run(path: Path) -> RunTimeline:
    """Open a run folder; what is wrong with it is among the timeline's problems, and said there."""
    from coeval.errors import RecordingError
    from coeval.timeline import open_run

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecordingWarning)
            return open_run(path)
    except (RecordingError, OSError) as error:
        fail(error)


def read_timeline(path: Path) -> Timeline:
    """Open a run folder, or a timeline that is a Parquet file."""
    from coeval.errors import WrongTable
    from coeval.timeline import open_timeline

    if not path.exists():
        fail(f"{path} does not exist; expected a run folder, or a file that `coeval merge` wrote{_alike(path)}")
    if not path.is_file():
        return read_run(path)
    do_without_pandas()
    try:
        return open_timeline(path)
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror or error}")
    except WrongTable as error:
        fail(error)


def _alike(path: Path) -> str:
    """What beside it is named so much like it that it may be meant."""
    try:
        found = get_close_matches(path.name, [each.name for each in path.parent.iterdir()], n=1, cutoff=0.75)
    except OSError:
        return ""
    return f"; is {path.with_name(found[0])} meant?" if found else ""


def parse_zone(name: str | None) -> tzinfo:
    """
    A zone by its IANA name, or as an offset from UTC such as `+02:00`; None: UTC.

    Ends the command where there is no such zone, with the names that come nearest.
    """
    if name is None:
        return UTC
    try:
        zone = zone_of(name)
    except ValueError as error:
        fail(error)
    if zone is not None:
        return zone
    known = available_timezones()
    if not known:
        fail(f"zone {name!r} is not known, as this machine has no time zone data: install the tzdata package")
    near = nearest_zones(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else "expected a name such as Europe/Berlin, or +02:00"
    fail(f"zone {name!r} is not known; {hint}")


def nearest_zones(name: str, known: Iterable[str]) -> list[str]:
    """Names that somebody who wrote this one may have meant, the nearest first."""
    by_key: dict[str, str] = {}
    for zone in sorted(known, key=len, reverse=True):
        # People know the city, and write it as they like.
        by_key[zone.lower()] = by_key[zone.lower().rpartition("/")[2]] = zone
    key = name.lower().replace(" ", "_")
    found = get_close_matches(key, by_key, n=2 * _NAMES_MAX, cutoff=0.7)
    return list(dict.fromkeys(by_key[match] for match in found))[:_NAMES_MAX]


def style_of_output(zone: tzinfo = UTC, environment: Mapping[str, str] | None = None) -> Style:
    """How lines on standard output look: the terminal's width, and colour if it is one and nobody minds."""
    environment = os.environ if environment is None else environment
    is_terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size((COLUMNS_WITHOUT_TERMINAL, 24)).columns
    coloured = is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    from coeval.timeline._listing import Style

    return Style(zone, columns, _RED if coloured else ("", ""))


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output; what its encoding has no sign for is written as an escape."""
    stream = sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    for line in lines:
        stream.write(f"{line}\n")
    stream.flush()


def write_json_lines(values: Iterable[object]) -> None:
    """Write a line of JSON for each value; ASCII, so that no encoding matters."""
    write_lines(json.dumps(value, separators=(",", ":"), allow_nan=False) for value in values)


def wrap_titled(title: str, text: str, columns: int) -> list[str]:
    """Lines of `text` beside its title, which is as wide as the first column is to be."""
    return textwrap.wrap(
        plain(text),
        max(columns, _TITLED_COLUMNS_MIN),
        initial_indent=title,
        subsequent_indent=" " * len(title),
        break_on_hyphens=False,
        break_long_words=False,
    )


def refuse_overwriting(path: Path, *, force: bool) -> None:
    """End the command where something is in a file already, or it cannot be written."""
    try:
        check_output(path, force=force)
    except OutputRefused as error:
        fail(error)


def refuse_reading_itself(path: Path, read: Iterable[Path]) -> None:
    """End the command where its output is one of the files that it reads, by whichever name; --force means no such."""
    for source in read:
        if path.exists() and source.exists() and path.samefile(source):
            fail(f"{path} is to be written and is read for it; write to another file")
