"""
What a verb takes, read off its function: parameters are `Annotated[type, Option(…)]` or `Annotated[type, Argument(…)]`.

Here they become click's. Typer reads signatures too, but has pydantic check each value, and to import the two takes
longer than all that a merge of small files does (docs/decisions/0027-click-for-the-command-line.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import click


class Option:
    """
    An option.

    Args:
        names: as `-o`, `--out`; none: made from the parameter's name.
        metavar: what stands for the value in the help.
        least, greatest: of a whole number.
    """

    def __init__(
        self,
        *names: str,
        metavar: str | None = None,
        help: str | None = None,  # noqa: A002  # as click calls it
        least: int | None = None,
        greatest: int | None = None,
        show_default: bool = True,
        is_eager: bool = False,
        callback: Callable[[bool], None] | None = None,
    ) -> None:
        self.names = names
        self.metavar = metavar
        self.help = help
        self.least = least
        self.greatest = greatest
        self.show_default = show_default
        self.is_eager = is_eager
        self.callback = callback


class Argument:
    """
    An argument.

    Args:
        metavar: how the help names it.
        help: one that needs none is told of in the verb's text, and not listed.
    """

    def __init__(self, metavar: str, help: str | None = None) -> None:  # noqa: A002
        self.metavar = metavar
        self.help = help


HELP: Mapping[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
"""How each command is asked for its help, and how wide that is at most."""


def command(name: str, function: Callable[..., object], **settings: Any) -> click.Command:
    """
    Make the command that calls a function; what it says about itself is its help.

    Args:
        settings: of click's context.
    """
    return click.Command(
        name,
        callback=function,
        params=parameters(function),
        help=inspect.cleandoc(function.__doc__ or ""),
        context_settings={**HELP, **settings},
    )


def parameters(function: Callable[..., object]) -> list[click.Parameter]:
    """The parameters of a function, in their order."""
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    return [_parameter(each, hints[each.name]) for each in signature.parameters.values()]


class _Shape(NamedTuple):
    """What values a parameter takes; `is_list`: any number of them."""

    kind: Any
    is_list: bool


def _shape(hint: Any) -> _Shape:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = [each for each in get_args(hint) if each is not NoneType]
    if get_origin(hint) is list:
        return _Shape(get_args(hint)[0], True)
    return _Shape(hint, False)


def _parameter(found: inspect.Parameter, hint: Any) -> click.Parameter:
    declared = hint.__metadata__[0]
    shape = _shape(get_args(hint)[0])
    is_required = found.default is inspect.Parameter.empty
    default = None if is_required else found.default
    given: dict[str, Any] = {} if is_required else {"default": default}  # to click None is a value as well
    if isinstance(declared, Argument):
        return click.Argument(
            [found.name],
            type=_type(shape.kind),
            nargs=-1 if shape.is_list else 1,
            required=is_required,
            metavar=declared.metavar,
            help=declared.help,
            callback=_list_or_none if shape.is_list else None,
            **given,
        )
    names = declared.names or ("--" + found.name.replace("_", "-"),)
    if shape.kind is bool:
        return click.Option(
            [found.name, *names],
            is_flag=True,
            default=default,
            help=declared.help,
            is_eager=declared.is_eager,
            callback=_called(declared.callback),
        )
    return click.Option(
        [found.name, *names],
        type=_type(shape.kind, declared.least, declared.greatest),
        multiple=shape.is_list,
        required=is_required,
        show_default=declared.show_default and default not in (None, ""),
        metavar=declared.metavar,
        help=declared.help,
        is_eager=declared.is_eager,
        callback=_list_or_none if shape.is_list else None,
        **given,
    )


def _called(callback: Callable[[bool], None] | None) -> Callable[[click.Context, click.Parameter, Any], Any] | None:
    if callback is None:
        return None

    def call(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        callback(value)
        return value

    return call


def _list_or_none(context: click.Context, parameter: click.Parameter, values: Sequence[Any] | None) -> list[Any] | None:
    """What was given; None: nothing."""
    return list(values) if values else None


def _type(kind: Any, least: int | None = None, greatest: int | None = None) -> click.ParamType[Any]:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if kind is Path:
        return click.Path(path_type=Path)
    if kind is int and (least is not None or greatest is not None):
        return click.IntRange(least, greatest)
    return {str: click.STRING, int: click.INT, float: click.FLOAT}[kind]
