"""`coeval map`: a function over many inputs. What is asked for is checked here; `_map_work.py` does it."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from coeval.cli._data_output import DataOutput, OutputClosed, OutputFailed, OutputRefused, check_output
from coeval.cli._function_path import NoSuchFunction, find_function
from coeval.cli._input import WrongInputs, check_inputs, count_inputs, read_inputs
from coeval.cli._interrupts import Interrupted, Interrupts
from coeval.cli._line_order import LineOrder
from coeval.cli._map_report import MapReport
from coeval.cli._ntp_option import NTP_OPTION
from coeval.cli._parameters import Argument, Option
from coeval.cli._progress import ProgressLine, columns_of
from coeval.clocks import SYSTEM_CLOCK
from coeval.engines._live_clocks import clock_width_of
from coeval.errors import CannotResume, CoevalError, EngineError

if TYPE_CHECKING:
    from coeval.cli._map_work import MapWork
    from coeval.executor import Executor

# The shell's convention for a program that SIGPIPE ended.
CLOSED_OUTPUT_EXIT_CODE = 141


def map_command(
    function: Annotated[str, Argument(metavar="MODULE:FUNCTION")],
    inputs: Annotated[list[str] | None, Argument(metavar="[INPUT]...")] = None,
    out: Annotated[Path | None, Option("-o", "--out", metavar="OUT", help="Write here, not to stdout.")] = None,
    force: Annotated[bool, Option("--force", help="Overwrite OUT.")] = False,
    unordered: Annotated[bool, Option("--unordered", help="Write results as they come.")] = False,
    engine: Annotated[
        str | None,
        Option(metavar="URL", help="Where to run: local, local:4, inline:, dask://HOST:PORT [COEVAL_ENGINE, or local]"),
    ] = None,
    workers: Annotated[int | None, Option(metavar="N", least=1, help="At most so many workers.")] = None,
    retries: Annotated[int, Option(metavar="N", least=0, help="Try a failed input so often again.")] = 0,
    time_limit: Annotated[
        float | None, Option(metavar="SECONDS", help="End a try that runs longer, and let it fail.")
    ] = None,
    clock_width: Annotated[
        str | None,
        Option(
            metavar="SECONDS",
            help="Ask other hosts' clocks when their bounds would grow wider; none: never "
            "[COEVAL_CLOCK_WIDTH, or 0.01]",
        ),
    ] = None,
    run: Annotated[
        Path | None, Option(metavar="DIR", help="Record the run here, for coeval timeline and --resume.")
    ] = None,
    ntp: Annotated[list[str] | None, NTP_OPTION] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on with the run in DIR: finished inputs are not run again.")
    ] = False,
    trust_changes: Annotated[
        bool, Option("--trust-changes", help="Resume although the function or an input changed since.")
    ] = False,
    quiet: Annotated[bool, Option("-q", "--quiet", help="No progress, no summary; failures are listed.")] = False,
) -> None:
    """
    Call a function on many inputs, in many processes.

    \b
      coeval map survey:measure lib/*.py -o measured.jsonl
      find . -name '*.py' | coeval map tools/survey.py:measure @- | jq .value
      coeval map model:score - <rows.jsonl >scores.jsonl

    \b
    An INPUT is
      TEXT     given to the function as it is: a file name, a URL, an id
      @FILE    one input per line of FILE, as text; @- for standard input
      -        one input per line of standard input, each a JSON value

    \b
    For each input there is one line of JSON, in the order of the inputs:
      {"index": 0, "input": "a.py", "value": 12}
      {"index": 1, "input": "b.py", "error": {"type": …, "message": …, …}}

    An input that fails does not stop the others. What the function prints
    goes to standard error.

    A run with --run DIR that was killed goes on where it stopped when the same
    command is given with --resume; OUT is then written anew, whole.

    \b
    Exit code: 0 all done, 1 some inputs failed, 2 it cannot be done as asked,
    130 or 143 interrupted (what is finished is written).
    """
    # Only the verbs that need the executor pay for it; `coeval run` must even be there before it (see `_run.py`).
    from coeval.cli._map_work import MapWork
    from coeval.executor import Executor
    from coeval.executor._resume import begin_or_resume

    interrupts = Interrupts()
    inputs = inputs or []
    typed = os.isatty(0) and bool({"-", "@-"} & set(inputs))
    # Where results or what is typed go over the screen, a line in place would be in their way.
    on_screen = typed or (out is None and os.isatty(1))
    stream = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # open until the process ends
    progress = ProgressLine(stream, SYSTEM_CLOCK, quiet=quiet or on_screen)
    report = MapReport()
    try:
        check_inputs(inputs)
        if (resume or trust_changes) and run is None:
            raise ValueError("--resume goes on with a run: name its folder with --run DIR")
        if out is not None:
            check_output(out, force=force or resume)
        else:  # before the function's module is imported: what that prints is not data either
            output = DataOutput.to_standard_output()
        width = ... if clock_width is None else clock_width_of(clock_width, "--clock-width")
        called = find_function(function)
        report.total = count_inputs(inputs)
        folder = None if run is None else begin_or_resume(run, sys.orig_argv, resume=resume)
        executor = Executor(
            engine, workers, run=folder, retries=retries, time_limit=time_limit, ntp=ntp or (), clock_width=width
        )
        kept = None if folder is None else executor.keeping(called, folder, trust_changes=trust_changes)
        if out is not None:  # only now: until here nothing of what it holds may go
            output = DataOutput.to_file(out)
    except Interrupted as interrupted:
        progress.write("interrupted: nothing was started\n")
        raise click.exceptions.Exit(interrupted.exit_code) from None
    except (NoSuchFunction, WrongInputs, OutputRefused, CoevalError, ValueError, OSError) as error:
        progress.write(f"coeval map: {error}\n")
        raise click.exceptions.Exit(2) from None

    _show_logs(progress)
    if typed:
        what = "JSON values" if "-" in inputs else "inputs"
        progress.write(f"reading {what} from the terminal, one on each line; Ctrl-D ends them\n")
    order = LineOrder(by_index=not unordered)
    work = MapWork(called, read_inputs(inputs), output, order, report, progress, interrupts, kept=kept)
    ended_by = _carry_out(work, executor)
    if kept is not None:
        kept.close()
    progress.clear()
    code = 1 if report.failed else 0
    try:
        if ended_by is not None:
            work.finish_early()
        output.close()
    except (OutputClosed, OutputFailed) as error:
        if ended_by is None:
            ended_by = error
        elif isinstance(error, OutputFailed):
            progress.write(f"coeval map: {error}\n")
    match ended_by:
        case Interrupted():
            progress.write(report.interrupted())
            code = ended_by.exit_code
        case OutputClosed():
            code = CLOSED_OUTPUT_EXIT_CODE
        case _:
            if not quiet:
                progress.write(report.summary(progress.elapsed_ns()))
            progress.write(report.failures(where=output.name, columns=columns_of(stream)))
            if ended_by is not None:
                progress.write(f"coeval map: {ended_by}\n")
                code = 2
    if run is not None and not quiet:
        progress.write(f"recorded in {run}; look at it with: coeval timeline {shlex.quote(str(run))}\n")
    raise click.exceptions.Exit(code)


class _EndNow(BaseException):
    """Leaves an executor's `with` block as Ctrl-C does: an `Exception` would let it wait for its calls."""


def _carry_out(work: MapWork, executor: Executor) -> BaseException | None:
    """Do the work; give what ended it early. Calls are ended by then, and workers gone."""
    try:
        with executor:
            try:
                work.run(executor)
            except Exception as error:
                raise _EndNow from error
    except _EndNow as end:
        if isinstance(end.__cause__, (OutputClosed, OutputFailed, EngineError, CannotResume, OSError)):
            return end.__cause__
        raise
    except Interrupted as interrupted:
        return interrupted
    return None


def _show_logs(progress: ProgressLine) -> None:
    """Show log records, which the executor brings here from the workers, unless the function's module does."""
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(progress)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
