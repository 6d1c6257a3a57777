"""
`coeval run`: any script that uses `coeval.Executor`, recorded, with the engine chosen from outside.

The script runs in this process as Python would run it. What Python does when a script has ended (wait for its threads,
call its exit functions, end the executors that it left open) it does here too, and only then the run is closed.
"""

from __future__ import annotations

import atexit
import os
import shlex
import sys
import types
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import click

from coeval.cli._ntp_option import NTP_OPTION
from coeval.cli._parameters import Argument, Option
from coeval.clocks import SYSTEM_CLOCK
from coeval.engines import open_engine
from coeval.engines._live_clocks import WIDTH_VARIABLE, clock_width_of
from coeval.errors import CoevalError
from coeval.recording import RunFolder, set_ambient_run

if TYPE_CHECKING:
    from coeval.clocks._ntp import TimeServer
    from coeval.recording._anchor_watch import AnchorWatch

# The shell's convention for a program that SIGINT ended.
INTERRUPTED_EXIT_CODE = 130

# Where runs go that nobody gave a folder.
RUNS_FOLDER = Path("coeval-runs")


def run_command(
    script: Annotated[Path, Argument(metavar="SCRIPT.py")],
    arguments: Annotated[list[str] | None, Argument(metavar="[ARGS]...")] = None,
    engine: Annotated[
        str | None, Option(metavar="URL", help="Where Executor() runs calls: local, local:4, inline: [local]")
    ] = None,
    clock_width: Annotated[
        str | None,
        Option(
            metavar="SECONDS", help="Ask other hosts' clocks when their bounds would grow wider; none: never [0.01]"
        ),
    ] = None,
    run: Annotated[Path | None, Option(metavar="DIR", help="Record here [a new folder in coeval-runs]")] = None,
    ntp: Annotated[list[str] | None, NTP_OPTION] = None,
) -> None:
    """
    Run a script and record what its executors do.

    \b
      coeval run simulate.py --steps 100
      coeval run --engine local:4 --run monday simulate.py

    Options of coeval come before the script, the script's own after it. An
    Executor that names its engine in the script keeps it. The exit code is
    the script's.
    """
    try:
        source = script.read_bytes()
        servers = _time_servers(ntp)
        if engine is not None:
            open_engine(engine)  # a wrong name is said now, not somewhere in the script
            os.environ["COEVAL_ENGINE"] = engine
        if clock_width is not None:
            clock_width_of(clock_width, "--clock-width")
            os.environ[WIDTH_VARIABLE] = clock_width
        folder = RunFolder.create(run or _new_run_path(script), command=list(sys.orig_argv))
    except (OSError, CoevalError, ValueError) as error:
        click.echo(f"coeval run: {error}", err=True)
        raise click.exceptions.Exit(2) from None
    set_ambient_run(folder)
    # Exit functions run last in, first out: this one is registered before coeval.executor's and the script's.
    assert "coeval.executor" not in sys.modules, "coeval.executor would record into a closed run"
    atexit.register(_close, folder, os.getpid(), _watch_time(servers, folder))
    raise SystemExit(run_script(script, source, arguments or []))


def _time_servers(ntp: Sequence[str] | None) -> Sequence[TimeServer]:
    if not ntp:
        return ()
    from coeval.clocks._ntp import parse_time_servers

    return parse_time_servers(ntp)


def _watch_time(servers: Sequence[TimeServer], folder: RunFolder) -> AnchorWatch | None:
    if not servers:
        return None
    from coeval.recording._anchor_watch import AnchorWatch

    return AnchorWatch(servers, folder.spool().append)


def run_script(script: Path, source: bytes, arguments: Sequence[str]) -> object:
    """
    Run a script as `__main__` in this process, as `python SCRIPT` does.

    Returns:
        What `SystemExit` is to be given.
    """
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=str(script), __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = main
    sys.argv[:] = [str(script), *arguments]
    sys.path[0] = str(script.resolve().parent)
    try:
        exec(compile(source, str(script), "exec", dont_inherit=True), main.__dict__)
    except SystemExit as error:
        return error.code
    except BaseException as error:
        trace = _part_of(str(script), error.__traceback__)
        # What Python sets on its way out; exit functions (coeval.executor's is one) look at it.
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error.with_traceback(trace), trace
        sys.excepthook(type(error), error, trace)
        return INTERRUPTED_EXIT_CODE if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _part_of(file: str, trace: TracebackType | None) -> TracebackType | None:
    """The frames from the script's first one on."""
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace


def _new_run_path(script: Path) -> Path:
    """A folder that is not there yet, named by the time in UTC and the script."""
    now = datetime.fromtimestamp(SYSTEM_CLOCK.snapshot().realtime_ns // 1_000_000_000, UTC)
    first = RUNS_FOLDER / f"{now:%Y-%m-%dT%H-%M-%SZ}-{script.stem}"
    path, number = first, 1
    while path.exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path


def _close(folder: RunFolder, driver_pid: int, watch: AnchorWatch | None) -> None:
    if os.getpid() != driver_pid:  # a child that the script forked, and that left by sys.exit
        return
    if watch is not None:
        watch.finish()
    folder.close()
    shown = shlex.quote(str(folder.path))
    click.echo(f"recorded in {folder.path}\n  coeval timeline {shown}\n  coeval clocks {shown}", err=True)
