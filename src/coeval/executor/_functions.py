"""Functions and arguments made ready to travel."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from coeval.engines._engine import Function
from coeval.engines._payload import dump, is_importable
from coeval.executor._function_parts import are_fixed, are_the_same, parts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Bodies of functions that travel by value, remembered so that the same code gets the same number. A program that makes
# a new lambda for each call, or binds an array to each, must not fill the memory.
_BODIES_KEPT_MAX = 256
_BODY_BYTES_KEPT_MAX = 1 << 26

# Functions whose parts are remembered, likewise few and small ones.
_PARTS_KEPT_MAX = 64
_BODY_BYTES_WITH_PARTS_MAX = 1 << 16


class Functions:
    """
    The functions of one executor, numbered.

    A function that a worker can import is pickled once, by name. Any other is pickled at each submit, because what it
    refers to may have changed since, unless its parts show that nothing has; if its bytes are those of an earlier one
    it keeps that number, and workers that have it need not be sent it again.
    """

    def __init__(self) -> None:
        self._named: dict[Callable[..., Any], Function] = {}
        self._bodies: OrderedDict[bytes, Function] = OrderedDict()
        self._body_bytes = 0
        self._parts: dict[int, tuple[list[object], Function]] = {}
        self._count = 0

    def find_named(self, function: Callable[..., Any]) -> Function | None:
        """A function that workers import by its name and that was numbered before; safe without a lock."""
        try:
            return self._named.get(function)
        except TypeError:  # a callable object that cannot be hashed
            return None

    def find(self, function: Callable[..., Any]) -> tuple[Function, bool]:
        """
        Number a function.

        Returns:
            The function as it travels, and whether it is new here.

        Raises:
            Exception: what pickling it raised.
        """
        known = self.find_named(function)
        if known is not None:
            return known, False
        parts = parts_of(function)
        if parts is not None:
            seen = self._parts.get(id(function))
            if seen is not None and are_the_same(parts, seen[0]) and are_fixed(parts):
                return seen[1], False
        body = dump(function)
        if is_importable(function):
            made = self._make(function, body)
            self._named[function] = made
            return made, True
        known = self._bodies.get(body)
        if known is not None:
            self._bodies.move_to_end(body)
            self._note_parts(function, parts, known)
            return known, False
        made = self._bodies[body] = self._make(function, body)
        self._body_bytes += len(body)
        while len(self._bodies) > _BODIES_KEPT_MAX or self._body_bytes > _BODY_BYTES_KEPT_MAX:
            dropped, _ = self._bodies.popitem(last=False)
            self._body_bytes -= len(dropped)
        self._note_parts(function, parts, made)
        return made, True

    def _note_parts(self, function: Callable[..., Any], parts: list[object] | None, made: Function) -> None:
        # If another function is at this one's place some day, and has the same parts, its pickle is the same.
        if parts is None or len(made.body) > _BODY_BYTES_WITH_PARTS_MAX or not are_fixed(parts):
            return
        now = parts_of(function)
        if now is None or not are_the_same(parts, now):  # another thread changed one while it was pickled
            return
        if len(self._parts) >= _PARTS_KEPT_MAX:
            self._parts.clear()
        self._parts[id(function)] = (parts, made)

    def _make(self, function: Callable[..., Any], body: bytes) -> Function:
        self._count += 1
        return Function(self._count - 1, function_name(function), body)


def function_name(function: object) -> str:
    """`module:qualname` of a callable, for people."""
    # By its name, as `functools` need not have been imported.
    while type(function).__module__ == "functools" and type(function).__qualname__ == "partial":
        function = function.func  # type: ignore[attr-defined]
    owner = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(owner, "__module__", None) or "?"
    return f"{module}:{getattr(owner, '__qualname__', type(function).__qualname__)}"


def find_unsendable(function: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """
    Name the innermost part that cannot be pickled, such as `args[1].connection (sqlite3.Connection)`.

    Only called after pickling failed; it tries part after part, so it is slow.
    """
    try:
        return _find_unsendable(function, args, kwargs)
    except Exception:  # what refuses to be pickled may refuse to be looked at as well
        return "a part"


def _find_unsendable(function: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    roots = [("function", function), *((f"args[{i}]", value) for i, value in enumerate(args))]
    roots += [(f"kwargs[{name!r}]", value) for name, value in kwargs.items()]
    for path, value in roots:
        if not _is_sendable(value):
            return _innermost(path, value, depth=8)
    return "the arguments together"


def _innermost(path: str, value: Any, depth: int) -> str:
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(f"{path}[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = [(f"{path}[{i}]", part) for i, part in enumerate(value)]
    elif hasattr(value, "__closure__") and value.__closure__:
        names = value.__code__.co_freevars
        parts = [
            (f"{path} closure {name!r}", cell.cell_contents)
            for name, cell in zip(names, value.__closure__, strict=True)
        ]
    elif isinstance(state := getattr(value, "__dict__", None), dict):
        parts = [(f"{path}.{name}", part) for name, part in state.items()]
    if depth > 0:
        for part_path, part in parts:
            if not _is_sendable(part):
                return _innermost(part_path, part, depth - 1)
    return f"{path} ({type(value).__module__}.{type(value).__qualname__})"


def _is_sendable(value: object) -> bool:
    try:
        dump(value)
    except Exception:
        return False
    return True
