"""
Putting settings into a TOML file that a person wrote: only the lines that change are touched, comments stay.

The standard library reads TOML and does not write it. What is written here are tables of strings, numbers, truth values
and lists of strings; whether the file then says what was meant is read back, and it is not written otherwise.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml_with(text: str, tables: Mapping[tuple[str, ...], Mapping[str, object]]) -> str:
    """
    A TOML file with these values put in.

    Args:
        text: the file as it is; "" for a new one.
        tables: keys and values by the way to their table, such as ("source", "web*.log").

    Raises:
        ValueError: the file is written in a way that cannot be changed line by line; says what to write by hand.
    """
    lines = text.splitlines()
    for way, values in tables.items():
        if values:
            lines = _with_table(lines, way, values)
    written = "\n".join(lines) + "\n" if lines else ""
    wanted = tomllib.loads(text)
    for way, values in tables.items():
        _put(wanted, way, values)
    try:
        is_meant = tomllib.loads(written) == wanted
    except tomllib.TOMLDecodeError:
        is_meant = False
    if not is_meant:
        shown = "\n".join(line for way, values in tables.items() if values for line in _table_lines(way, values))
        raise ValueError(f"the file is not written line by line, so it is left as it is; put in by hand:\n{shown}")
    return written


def _with_table(lines: list[str], way: Sequence[str], values: Mapping[str, object]) -> list[str]:
    header = next((number for number, line in enumerate(lines) if _header(line) == list(way)), None)
    if header is None:
        return [*lines, *([""] if lines and lines[-1].strip() else []), *_table_lines(way, values)]
    end = next(
        (number for number in range(header + 1, len(lines)) if lines[number].lstrip().startswith("[")), len(lines)
    )
    own = lines[header + 1 : end]
    while own and not own[-1].strip():
        own.pop()
    for key, value in values.items():
        line = f"{_key(key)} = {_value(value)}"
        place = next((number for number, each in enumerate(own) if _key_of(each) == key), None)
        if place is None:
            own.append(line)
        else:
            own[place] = line
    gap = [""] if end < len(lines) else []
    return [*lines[: header + 1], *own, *gap, *lines[end:]]


def _table_lines(way: Sequence[str], values: Mapping[str, object]) -> list[str]:
    header = f"[{'.'.join(_key(part) for part in way)}]"
    return [header, *(f"{_key(key)} = {_value(value)}" for key, value in values.items())]


def _header(line: str) -> list[str] | None:
    """The way to the table that a line begins."""
    if not line.lstrip().startswith("[") or line.lstrip().startswith("[["):
        return None
    try:
        node: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    way = []
    while isinstance(node, dict) and node:
        name, node = next(iter(node.items()))
        way.append(name)
    return way


def _key_of(line: str) -> str | None:
    """The key of a line that has a whole value."""
    try:
        pair = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    return next(iter(pair), None)


def _put(tree: dict[str, object], way: Sequence[str], values: Mapping[str, object]) -> None:
    node: dict[str, object] = tree
    if not values:
        return
    for part in way:
        inner = node.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{'.'.join(way)} is no table in the file, but {inner!r}")
        node = inner
    node.update(values)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(each) for each in value)}]"
    return _string(str(value))


def _string(text: str) -> str:
    # A regular expression reads best as it is.
    if "\\" in text and "'" not in text and all(sign.isprintable() for sign in text):
        return f"'{text}'"
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    return sign if sign.isprintable() else f"\\U{ord(sign):08x}"
