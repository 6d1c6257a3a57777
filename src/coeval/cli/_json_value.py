"""
What a function returned as JSON, or the reason why there is none.

Nothing is changed silently: what JSON has no word for is an error that names its type and where in the value it sits.
Beyond JSON's own types these have a word here:

    dataclass, NamedTuple       object, by field
    tuple                       array
    set, frozenset              array, sorted where its members can be compared
    path                        string
    datetime, date, time        string, ISO 8601
    Decimal                     string, every digit kept
    numpy scalar, array         number, (nested) array
    an object's int key         string, as JSON has no other keys
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any


class ValueNotJson(Exception):
    """JSON has no word for this value; the message names its type and where it sits."""


def json_line(value: object) -> bytes:
    """One line of JSON with its end, UTF-8; what is not ASCII stays readable."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:  # a file name that is no UTF-8 carries lone surrogates, which only an escape can write
        return json.dumps(value, allow_nan=False).encode() + b"\n"


def json_value(value: object) -> Any:
    """
    The same value in JSON's types (`dict`, `list`, `str`, `int`, `float`, `bool`, `None`).

    Raises:
        ValueNotJson: there is no word for it, or for a part of it.
    """
    try:
        return _plain(value, "the value")
    except RecursionError:
        raise ValueNotJson("the value is nested too deep, or holds itself") from None


def _plain(value: object, where: str) -> Any:
    kind = type(value)
    if value is None or kind in (str, bool, int):
        return value
    if isinstance(value, float):
        return _finite(float(value), where)
    if kind is list or kind is tuple:
        return [_plain(part, f"{where}[{index}]") for index, part in enumerate(value)]  # type: ignore[arg-type, var-annotated]
    if isinstance(value, Mapping):
        return _plain_mapping(value, where)
    return _plain_other(value, where)


def _plain_mapping(value: Mapping[Any, object], where: str) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, part in value.items():
        if not isinstance(key, str) and (not isinstance(key, int) or isinstance(key, bool)):
            raise ValueNotJson(f"{where} has a key of type {_name(key)} ({key!r:.60}); a JSON object has text as keys")
        text = str(key)
        if text in plain:
            raise ValueNotJson(f"{where} has two keys that are {text!r} in JSON, one a number and one a text")
        plain[text] = _plain(part, f"{where}[{key!r}]")
    return plain


def _plain_other(value: object, where: str) -> Any:
    if isinstance(value, enum.Enum):
        raise _no_json(value, where)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: _plain(part, f"{where}.{name}") for name, part in zip(value._fields, value, strict=True)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name), f"{where}.{name}") for name in names}
    if isinstance(value, (list, tuple)):
        return [_plain(part, f"{where}[{index}]") for index, part in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return _plain_set(value, where)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    numpy = sys.modules.get("numpy")
    # Its times and long doubles become something else in Python, so they have no word either.
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)) and value.dtype.char not in "mMgG":
        return _plain(value.tolist(), where)
    raise _no_json(value, where)


def _plain_set(value: set[Any] | frozenset[Any], where: str) -> list[Any]:
    try:
        members = sorted(value)
    except TypeError:
        members = list(value)
    return [_plain(part, f"{where}{{{index}}}") for index, part in enumerate(members)]


def _finite(number: float, where: str) -> float:
    if math.isfinite(number):
        return number
    raise ValueNotJson(f"{where} is {number}; JSON has no word for it. Return None, or a text, for such numbers.")


def _no_json(value: object, where: str) -> ValueNotJson:
    return ValueNotJson(
        f"{where} is of type {_name(value)}; JSON has no word for it. "
        f"Return plain data: text, numbers, lists, dictionaries."
    )


def _name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
