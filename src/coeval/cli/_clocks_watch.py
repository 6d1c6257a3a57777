"""`coeval clocks --watch RUN`: the clock table of a run that goes on, until it ends or somebody presses Ctrl-C."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from coeval.cli._clocks_of_run import change_text, clock_json, clock_row, table_heading
from coeval.cli._output import plain, read_run, style_of_output, write_lines
from coeval.clocks import SYSTEM_CLOCK
from coeval.timeline import ClockEntry, RunTimeline

# How often a terminal is drawn anew. Reading the run is the cost, so a long one is read less often.
REFRESH_S = 1.0
READING_SHARE = 0.1

INTERRUPTED = 130


def watch_clocks(run: Path, *, as_json: bool) -> None:
    """Show the clocks of a run until all of its executors are closed."""
    try:
        if sys.stdout.isatty() and not as_json:
            _show_live(run)
        else:
            said: dict[str, str] = {}
            for found in _states(run):
                write_lines(changed_lines(found, said, as_json=as_json))
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def has_ended(found: RunTimeline) -> bool:
    """Are all executors of the run closed? A driver that was killed has closed none of its."""
    recording = found.recording
    open_ones = {row.executor for row in recording.executors} - {row.executor for row in recording.ends}
    return bool(recording.executors) and not open_ones


def changed_lines(found: RunTimeline, said: dict[str, str], *, as_json: bool) -> Iterator[str]:
    """
    A line for each clock of which something else is known than was said of it, and for each new step.

    While the run goes on, steps and findings are marked as provisional: a later message may date them anew, or take
    them back. Those that stand when it has ended are said again without the mark; in JSON, `is_final` tells.

    Args:
        said: what was said so far, by clock; brought up to date.
    """
    if not as_json and not said and found.clocks:
        yield table_heading()
    is_final = has_ended(found)
    for entry in found.clocks:
        whole = {**clock_json(entry), "is_final": is_final}
        line = json.dumps(whole, separators=(",", ":")) if as_json else clock_row(entry)
        for key, text in _sayings(entry, line, as_json=as_json, is_final=is_final).items():
            if said.get(key) != text:
                said[key] = text
                yield text


def _sayings(entry: ClockEntry, line: str, *, as_json: bool, is_final: bool) -> Mapping[str, str]:
    """What there is to say of a clock, each by a key of its own."""
    found: dict[str, str] = {entry.clock: line}
    if not as_json:
        host = "/".join(entry.hosts) if is_final else f"provisional: {'/'.join(entry.hosts)}"
        for number, change in enumerate(entry.changes):
            found[f"{entry.clock} change {number}"] = plain(f"{host}: {change_text(change)}")
        for number, text in enumerate((*entry.clashes, *entry.findings)):
            found[f"{entry.clock} finding {number}"] = plain(f"{host}: {text}")
    return found


def screen_lines(found: RunTimeline, columns: int) -> Iterator[str]:
    """The whole table, and what was noticed, each line cut to the screen."""
    calls = len(found.calls)
    is_final = has_ended(found)
    state = "ended" if is_final else "goes on; Ctrl-C ends watching"
    for line in (
        f"reference: {found.reference_label}   calls: {calls:,}   the run {state}",
        "",
        table_heading(),
        *map(clock_row, found.clocks),
        *(
            text
            for entry in found.clocks
            for text in list(_sayings(entry, "", as_json=False, is_final=is_final).values())[1:]
        ),
    ):
        yield line if len(line) <= columns else f"{line[: columns - 1]}…"


def _show_live(run: Path) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        for found in _states(run):
            live.update(Text("\n".join(screen_lines(found, style_of_output().columns))), refresh=True)


def _states(run: Path) -> Iterator[RunTimeline]:
    """The run each time that more of it was written, the last one when it has ended."""
    never = threading.Event()
    size = -1
    wait_s = 0.0
    while True:
        size_now = _size(run)
        if size_now != size:
            size = size_now
            began_ns = SYSTEM_CLOCK.raw_ns()
            found = read_run(run)
            yield found
            if has_ended(found):
                return
            wait_s = max(REFRESH_S, (SYSTEM_CLOCK.raw_ns() - began_ns) / 1e9 / READING_SHARE)
        never.wait(wait_s)


def _size(run: Path) -> int:
    try:
        return sum(file.stat().st_size for file in run.iterdir())
    except OSError:
        return 0
