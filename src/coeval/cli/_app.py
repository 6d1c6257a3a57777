"""The verbs of `coeval`, and what holds for all of them. Each verb is a function in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from coeval._version import __version__
from coeval.cli._clocks import clocks
from coeval.cli._map import map_command
from coeval.cli._run import run_command
from coeval.cli._timeline import timeline

# Plain help: it fits 80 columns, a log file and a screen reader, and starts faster than a drawn one.
app = typer.Typer(
    name="coeval",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coeval {__version__}")
        raise typer.Exit


@app.callback()
def _coeval(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """
    Run Python functions on many processes, and see what happened, where and
    when, and how sure that is.

    \b
      coeval map survey:measure lib/*.py -o measured.jsonl --run run
      coeval run --engine local:4 simulate.py
      coeval timeline run
      coeval clocks run

    coeval VERB --help tells more.
    """


app.command("map")(map_command)
app.command("run", context_settings={"allow_interspersed_args": False})(run_command)
app.command("timeline")(timeline)
app.command("clocks")(clocks)
