"""The verbs of `coeval`, and what holds for all of them. Each verb is a function in a file of its own."""

from __future__ import annotations

import importlib
import inspect
import signal
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import click

from coeval._version import __version__
from coeval.cli._parameters import HELP, Option, command, parameters

INTERRUPTED = 128 + signal.SIGINT
"""The exit code after Ctrl-C, where a verb does not say its own."""


class Verb(NamedTuple):
    """Where a verb's function is, and the first sentence of its help: to list them, no verb is imported."""

    module: str
    function: str
    said: str


# In the order of the help.
VERBS: Mapping[str, Verb] = {
    "map": Verb("coeval.cli._map", "map_command", "Call a function on many inputs, in many processes."),
    "run": Verb("coeval.cli._run", "run_command", "Run a script and record what its executors do."),
    "merge": Verb("coeval.cli._merge", "merge_command", "Merge logs, traces and tables into one timeline."),
    "timeline": Verb("coeval.cli._timeline", "timeline", "Show what happened, by corrected time."),
    "clocks": Verb("coeval.cli._clocks", "clocks", "Show each clock: offset, rate, steps, and the bound on each."),
    "query": Verb("coeval.cli._query", "query", "Ask about timelines in SQL."),
    "join": Verb("coeval.cli._join", "join", "Match rows of two timelines by time, and say which are certain."),
    "export": Verb("coeval.cli._export", "export", "Write a timeline for other programs; times are corrected ones."),
}


def make_app() -> click.Group:
    """Make the command line. A verb is imported when it is asked for: some need numpy, which others do not wait for."""
    # Plain help: it fits 80 columns, a log file and a screen reader, and starts faster than a drawn one.
    return _Verbs(
        "coeval",
        callback=_coeval,
        params=parameters(_coeval),
        help=inspect.cleandoc(_coeval.__doc__ or ""),
        no_args_is_help=True,
        context_settings=dict(HELP),
    )


class _Verbs(click.Group):
    """All verbs, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        function = getattr(importlib.import_module(verb.module), verb.function)
        # After a script's name every option is the script's.
        return command(cmd_name, function, allow_interspersed_args=cmd_name != "run")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, and with the verb that may be meant."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, VERBS, n=1)
            hint = f"is {near[0]} meant?" if near else f"there are {', '.join(VERBS)}."
            ctx.fail(f"No such command {name!r}: {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            pass
        except RuntimeError as error:
            # DuckDB takes the signal while it works, and hands on no more than this.
            if str(error) != "Query interrupted":
                raise
        click.echo("interrupted: nothing more is written", err=True)
        raise click.exceptions.Exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.said) for name, verb in VERBS.items()])


def _say_version(wanted: bool) -> None:
    if wanted:
        click.echo(f"coeval {__version__}")
        raise click.exceptions.Exit


def _coeval(
    version: Annotated[
        bool, Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
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
