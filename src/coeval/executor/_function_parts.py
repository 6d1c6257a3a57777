"""
What a function that travels by value is made of: to see that its pickle is what it was a moment ago, without making it.

Cloudpickle takes some 30 us for such a function, which is most of what the submit of a small call takes. To gather what
the pickle depends on takes two: the function's own parts and what it refers to. Where all of these are the same objects
as before, and none of them is one that changes while it stays the same object, the pickle is the same. None does so of
numbers and texts, of code, and of what is named in a pickle and not copied: modules, and what they define. Where there
is anything else, a list or an object of a class of `__main__`, the function is pickled again.
"""

from __future__ import annotations

import sys

from coeval.engines._payload import by_value_modules, is_importable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType
    from typing import Any

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None), type(...)})
_FUNCTION = type(is_importable)
_FUNCTION_IN_C = type(len)
_MODULE = type(sys)
_CODE = type(is_importable.__code__)

_MISSING = object()  # instead of a global that is not there, and may come
_OF_FILE = ("__name__", "__package__", "__file__", "__path__")  # a pickle always has these of a function's globals

# Of so many pieces of code the names are kept.
_CODES_MAX = 256


def parts_of(function: Callable[..., Any]) -> list[object] | None:
    """
    The objects on which the pickle of a function depends, in an order of their own; None: more than can be told.

    They say something only as long as `are_fixed`.
    """
    try:
        if by_value_modules():
            return None
        # A package is named with those of its modules that are imported by now.
        parts: list[object] = [(len(sys.modules), next(reversed(sys.modules)))]
        return parts if _gather(function, parts, {}) else None
    except Exception:  # such as of too many functions that call each other: whoever pickles it meets it as well
        return None


def are_the_same(parts: list[object], others: list[object]) -> bool:
    """Whether two functions, or one at two times, have the same parts."""
    if len(parts) != len(others) or parts[0] != others[0]:
        return False
    for place in range(1, len(parts)):  # noqa: SIM110  # a generator takes twice as long
        if parts[place] is not others[place]:
            return False
    return True


def are_fixed(parts: list[object]) -> bool:
    """Whether each part stays as it is as long as it is the same object, or is named in a pickle."""
    for part in parts:  # noqa: SIM110  # likewise
        if not _is_fixed(part):
            return False
    return True


def _gather(function: Any, parts: list[object], seen: dict[int, int]) -> bool:
    if type(function) is not _FUNCTION or function.__kwdefaults__ or function.__dict__:
        return False
    seen[id(function)] = len(seen)
    code, variables = function.__code__, function.__globals__
    parts += (
        code,
        function.__name__,
        function.__qualname__,
        function.__module__,
        function.__doc__,
        function.__defaults__,
    )
    for name, value in function.__annotations__.items():
        parts += (name, value)
    found = [variables.get(name, _MISSING) for name in _names_in(code)]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            found.append(_MISSING)
    for value in found:
        # A function that is not imported by its name travels with this one. Its own parts stand for it, and so nothing
        # here keeps it alive, nor what else is where it was defined.
        if type(value) is not _FUNCTION or is_importable(value):
            parts.append(value)
        elif id(value) in seen:
            parts.append(seen[id(value)])
        elif not _gather(value, parts, seen):
            return False
    return True


def _is_fixed(value: Any) -> bool:
    # Not `isinstance`, which asks objects that stand in for others what they are.
    kind = type(value)
    if kind in _PLAIN or kind is _CODE or value is _MISSING:
        return True
    if kind is tuple:
        return all(map(_is_fixed, value))
    if kind is _MODULE:
        return sys.modules.get(value.__name__) is value
    return (kind is _FUNCTION or kind is _FUNCTION_IN_C or issubclass(kind, type)) and is_importable(value)


_names: dict[CodeType, tuple[str, ...]] = {}


def _names_in(code: CodeType) -> tuple[str, ...]:
    """Names of globals and of attributes, which are not told apart, that code uses and what is defined within it."""
    found = _names.get(code)
    if found is None:
        if len(_names) >= _CODES_MAX:
            _names.clear()
        found = _names[code] = tuple(dict.fromkeys((*_OF_FILE, *_walk(code))))
    return found


def _walk(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is _CODE:
            yield from _walk(constant)
