"""Arguments in a few words: types and shapes for the recording, and short values where only the caller sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# One argument, and all of them together, in characters.
_VALUE_CHARS_MAX = 40
_TEXT_CHARS_MAX = 200


def summarize(args: Sequence[Any], kwargs: Mapping[str, Any], *, values: bool) -> str:
    """
    Describe arguments: `(str[12], ndarray[float64, 100x3], seed=int)`.

    Args:
        values: show short plain values instead of their types, as in `('a.txt', seed=7)`. Only for the caller's own
            eyes; a recording keeps no values unless asked.
    """
    parts = [_one(value, values) for value in args] + [
        f"{name}={_one(value, values)}" for name, value in kwargs.items()
    ]
    text = ", ".join(parts)
    return f"({text})" if len(text) <= _TEXT_CHARS_MAX else f"({text[:_TEXT_CHARS_MAX]}… {len(parts)} arguments)"


def _one(value: Any, values: bool) -> str:
    kind = type(value)
    # Exact types: the repr of a subclass may do anything.
    if values and _is_short(value, kind):
        text = repr(value)
        if len(text) <= _VALUE_CHARS_MAX:
            return text
    name = kind.__qualname__
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if isinstance(shape, tuple):
            size = "x".join(map(str, shape))
            return f"{name}[{dtype}, {size}]" if dtype is not None else f"{name}[{size}]"
        if kind in (str, bytes, bytearray, list, tuple, dict, set, frozenset):
            return f"{name}[{len(value)}]"
    except Exception:  # an argument that lies about itself must not fail the call
        return name
    return name


def _is_short(value: Any, kind: type[Any]) -> bool:
    """Is this worth a `repr`? That of a long text costs its length, and that of a long int fails."""
    if kind in (str, bytes):
        return len(value) <= _VALUE_CHARS_MAX
    if kind is int:
        return bool(value.bit_length() <= 4 * _VALUE_CHARS_MAX)
    return value is None or kind in (bool, float)
