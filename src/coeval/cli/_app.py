"""The verbs of `coeval`, and what holds for all of them. Each verb is a function in a file of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated

import typer

from coeval._version import __version__

# Where each verb's function is. In the order of the help.
VERBS: Mapping[str, tuple[str, str]] = {
    "map": ("coeval.cli._map", "map_command"),
    "run": ("coeval.cli._run", "run_command"),
    "merge": ("coeval.cli._merge", "merge_command"),
    "timeline": ("coeval.cli._timeline", "timeline"),
    "clocks": ("coeval.cli._clocks", "clocks"),
    "query": ("coeval.cli._query", "query"),
    "join": ("coeval.cli._join", "join"),
    "export": ("coeval.cli._export", "export"),
}


def make_app(verb: str | None = None) -> typer.Typer:
    """
    Make the command line.

    Args:
        verb: import this one only: those that show a recording need numpy, which the others should not wait for.
            Anything that is no verb, such as an option: all.
    """
    # Plain help: it fits 80 columns, a log file and a screen reader, and starts faster than a drawn one.
    app = typer.Typer(
        name="coeval",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    )
    app.callback()(_coeval)
    for name in [verb] if verb is not None and verb in VERBS else VERBS:
        module, function = VERBS[name]
        # After a script's name every option is the script's.
        settings = {"allow_interspersed_args": False} if name == "run" else None
        app.command(name, context_settings=settings)(getattr(importlib.import_module(module), function))
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"coeval {__version__}")
        raise typer.Exit


def _coeval(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """
    Run Python functions on many processes, merge the logs of many machines,
    and see what happened, where and when, and how sure that is.

    \b
      coeval map survey:measure lib/*.py -o measured.jsonl --run run
      coeval run --engine local:4 simulate.py
      coeval timeline run
      coeval clocks run

    \b
      coeval merge web.log db.jsonl --pair id --order web,db -o all.parquet
      coeval query "from timeline where level = 'ERROR'" all.parquet
      coeval join orders.parquet payments.parquet --within 5ms
      coeval export all.parquet --to perfetto

    coeval VERB --help tells more.
    """
