"""`coeval merge --live`: follow sources until somebody says stop, then account for every record."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from coeval.cli._data_output import DataOutput
from coeval.cli._output import plain, write_json_lines
from coeval.clocks import SYSTEM_CLOCK

if TYPE_CHECKING:
    from coeval.timeline.merge._request import MergeRequest

# A round costs little when nothing has come; people see lines this much later at most.
ROUND_S = 0.05

# How long a source holds the others back before that is said, and how often it is said again.
HOLDING_TOLD_NS = 5 * 10**9


class Ends(NamedTuple):
    """
    How long to follow, as somebody wrote it.

    Attributes:
        after: end after so long; None: at Ctrl-C.
        idle: end when nothing came for so long.
        idle_timeout: wait no longer for a source that is silent for so long.
        future: how far ahead a stamp needs another one to confirm it.
    """

    after: str | None
    idle: str | None
    idle_timeout: str | None
    future: str


def merge_live(
    asked: MergeRequest, out: Path | None, ends: Ends, set_aside: Path | None, *, as_json: bool, quiet: bool
) -> int:
    """
    Follow; returns the exit code: 0 all was written, 1 something was set aside.

    Args:
        out: None: standard output.

    Raises:
        ValueError, OSError, CoevalError, OutputClosed: as nothing more can be done.
    """
    from coeval.timeline.merge._live import LiveMerge, LiveReport, LiveSettings
    from coeval.timeline.merge._merge import spill_folder
    from coeval.timeline.merge._spill import SpillFolder
    from coeval.timeline.sources import parse_duration

    after_ns, idle_ns, timeout_ns = (
        None if text is None else parse_duration(text, name)
        for text, name in ((ends.after, "--for"), (ends.idle, "--idle"), (ends.idle_timeout, "--idle-timeout"))
    )
    live = LiveSettings(timeout_ns, parse_duration(ends.future, "--future"))
    aside_path = set_aside or (None if out is None else out.with_name(f"{out.name}.set-aside.jsonl"))
    report: LiveReport
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_stopped_by_signals())
        spill = stack.enter_context(SpillFolder(spill_folder(asked.settings.spill, out)))
        output = DataOutput.to_standard_output() if out is None else DataOutput.to_file(out)
        aside = _AsideLines(aside_path)
        stack.callback(aside.close)

        def tell(text: str) -> None:
            if not quiet:
                sys.stderr.write(f"{plain(text)}\n")
                sys.stderr.flush()

        for note in asked.notes:
            tell(note)
        merge = LiveMerge(
            asked.sources,
            asked.settings,
            asked.evidence,
            live,
            write=output.write,
            write_aside=aside.add,
            tell=tell,
            folder=spill.path,
        )
        began_ns = heard_ns = told_ns = SYSTEM_CLOCK.raw_ns()
        while not stop.is_set():
            now_ns = SYSTEM_CLOCK.raw_ns()
            if merge.step(now_ns):
                heard_ns = now_ns
            if merge.has_ended or (after_ns is not None and now_ns - began_ns >= after_ns):
                break
            if idle_ns is not None and now_ns - heard_ns >= idle_ns:
                break
            if now_ns - told_ns >= HOLDING_TOLD_NS:
                told_ns = now_ns
                for name, silent_ns in merge.holding(now_ns):
                    if silent_ns >= HOLDING_TOLD_NS:
                        tell(f"waiting for {name}, silent for {silent_ns / 1e9:.0f} s; see --idle-timeout")
                if clock := merge.unbounded:
                    tell(f"waiting for evidence on clock {clock}: nothing says how late its events can have been")
            if heard_ns != now_ns:
                stop.wait(ROUND_S)
        report = merge.finish(SYSTEM_CLOCK.raw_ns())
        output.close()
    count = sum(report.set_aside.values())
    if as_json:
        write_json_lines([_report_json(report)])
    elif not quiet:
        where = f" in {aside_path}" if count and aside_path else ""
        sys.stderr.write(f"{report.read:,} read = {report.emitted:,} written + {count:,} set aside{where}\n")
        for reason, number in sorted(report.set_aside.items(), key=lambda each: -each[1]):
            sys.stderr.write(plain(f"set aside: {number:,} {reason}") + "\n")
        sys.stderr.write(f"times: {report.reference_label or 'none'}\n")
        for problem in report.problems:
            sys.stderr.write(f"problem: {plain(problem)}\n")
    return 1 if count or report.problems else 0


def _report_json(report: Any) -> dict[str, Any]:
    return {
        "read": report.read,
        "emitted": report.emitted,
        "set_aside": dict(report.set_aside),
        "reference": report.reference_label,
        "problems": list(report.problems),
    }


class _AsideLines:
    """The file of lines that were set aside, there once there is one; each is written at once."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def add(self, line: str) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._file = open(self._path, "w", encoding="utf-8")  # noqa: SIM115  # closed by the one who made this
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end it in order, at the end of a round; a second one at once."""
    stop = threading.Event()

    def asked(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
