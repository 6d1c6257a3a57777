"""
MODULE:FUNCTION, as typed by a person, to the function.

Workers import the function by its name, so the folder that it was found in goes onto `sys.path`, which they are given.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any


class NoSuchFunction(Exception):
    """What was typed names no function; the message is for the person who typed it."""


def find_function(text: str) -> Callable[..., Any]:
    """
    Import the function that `text` names.

    Args:
        text: `MODULE:FUNCTION`. MODULE is a name to import, the current directory first, or a path that ends in `.py`;
            FUNCTION may be dotted.

    Raises:
        NoSuchFunction: it is not written like this, there is no such module or attribute, the import fails, or what is
            found cannot be called.
    """
    module_text, colon, function_text = text.rpartition(":")
    if not colon or not module_text or not function_text:
        raise NoSuchFunction(
            f"{text!r} names no function; expected MODULE:FUNCTION, such as survey:measure or tools/survey.py:measure"
        )
    module = _import_file(Path(module_text)) if module_text.endswith(".py") else _import_name(module_text)
    found: object = module
    for depth, part in enumerate(parts := function_text.split(".")):
        owner = ".".join([module_text, *parts[:depth]])
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NoSuchFunction(f"{owner} has no {part!r}{_nearest(part, dir(found))}") from None
    if not callable(found):
        raise NoSuchFunction(f"{text} is {_with_article(type(found).__name__)}; expected a function")
    return found


def _import_name(name: str) -> ModuleType:
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    return _import(name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        siblings = [str(path.parent / name) for name in _names_in(path.parent) if name.endswith(".py")]
        raise NoSuchFunction(f"there is no file {str(path)!r}{_nearest(str(path), siblings)}")
    if "." in path.stem:
        raise NoSuchFunction(f"{path} cannot be imported: a module's name has no dot. Rename it to be used here.")
    file = path.resolve()
    sys.path.insert(0, str(file.parent))
    module = _import(path.stem)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != file:
        raise NoSuchFunction(
            f"{path} cannot be imported as {path.stem!r}: that name is taken by {found or 'Python itself'}. "
            f"Rename it to be used here."
        )
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise _no_module(error.name) from None
        lines = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
        raise NoSuchFunction(f"{name} cannot be imported:\n{''.join(lines).rstrip()}") from None


def _no_module(name: str) -> NoSuchFunction:
    looked_at = "\n  ".join(entry for entry in dict.fromkeys(sys.path) if entry)
    return NoSuchFunction(f"there is no module {name!r}{_nearest_module(name)}\nlooked in\n  {looked_at}")


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """The frames below ours and the import machinery's."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in (__file__, importlib.__file__) and not file.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None


def _nearest_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    folders: Iterable[str] = getattr(sys.modules.get(parent), "__path__", ()) if parent else [str(Path.cwd())]
    files: dict[str, Path] = {}
    for folder in folders:
        for entry in _names_in(Path(folder)):
            path = Path(folder, entry)
            if entry.endswith(".py") or (path / "__init__.py").is_file():
                files[entry.removesuffix(".py")] = path
    near = difflib.get_close_matches(last, files, n=1)
    if not near:
        return ""
    here = Path.cwd()
    path = files[near[0]]
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"; did you mean {f'{parent}.' if parent else ''}{near[0]} ({shown})?"


def _nearest(text: str, candidates: Iterable[str]) -> str:
    near = difflib.get_close_matches(text, candidates, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  # the names are what is compared
    except OSError:
        return []


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiouAEIOU' else 'a'} {noun}"
