"""
What somebody says of sources in words: settings of one, names with wildcards, durations, and what is misspelt.

    web*.log:tz=Europe/Berlin,clock=web        what stands before the settings, and the settings

A comma separates two settings only where a setting's name and `=` follow it, and the first colon before such a name
ends the source: so addresses, regular expressions and queries need no quoting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, cast

from coeval.timeline.readers._reader import SourceSettings, Unit

# What people write, and the field of `SourceSettings` that it is.
SETTING_FIELDS: Mapping[str, str] = {
    "reader": "reader",
    "clock": "clock",
    "clock_field": "clock_field",
    "tz": "zone",
    "assume_utc": "assume_utc",
    "unit": "unit",
    "time": "time",
    "end": "end",
    "year": "year",
    "pattern": "pattern",
    "resolution": "resolution_ns",
    "smear": "smear",
    "query": "query",
}

# What some call them, and Python does.
_ALSO_CALLED = {"zone": "tz", "timezone": "tz", "format": "reader", "host": "clock"}

_UNITS = ("s", "ms", "us", "ns")
_SMEARS = ("", "24h-noon")
UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)\s*")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_FIRST_SETTING = re.compile(r":(?=\s*([A-Za-z_-]+)\s*=)")


def parse_source(text: str) -> tuple[str, dict[str, object]]:
    """
    Read `web*.log:tz=Europe/Berlin,clock=web`.

    Returns:
        The source, and what was said of it by field of `SourceSettings`.

    Raises:
        ValueError: a setting is not known, or its value is none.
    """
    for match in _FIRST_SETTING.finditer(text):
        name = match[1]
        if name in SETTING_FIELDS:
            return text[: match.start()], _parsed_settings(text[match.end() :], text)
        if near := _nearest_setting(name):
            raise ValueError(f"{text!r} has a setting {name!r}, which is none: {near}")
    return text, {}


def misspelt_setting(text: str, is_source: Callable[[str], bool]) -> str:
    """What to say of `web.log:zzz=3`, where `web.log` is a source; "": nothing of that kind stands there."""
    match = _FIRST_SETTING.search(text)
    if match is None or not is_source(text[: match.start()]):
        return ""
    return f"{text!r} has a setting {match[1]!r}, which is none: {nearest_or_all(match[1], SETTING_FIELDS)}"


def settings_from(values: Mapping[str, object], where: str) -> dict[str, object]:
    """
    Check settings by the names that people write.

    Returns:
        The same by field of `SourceSettings`.

    Raises:
        ValueError: one is not known, or its value is none; `where` names the place.
    """
    found = {}
    for name, value in values.items():
        if name not in SETTING_FIELDS:
            near = _nearest_setting(name) or nearest_or_all(name, SETTING_FIELDS)
            raise ValueError(f"{where} has a setting {name!r}, which is none: {near}")
        found[SETTING_FIELDS[name]] = _checked(name, value, where)
    return found


def applied(settings: SourceSettings, said: Mapping[str, object]) -> SourceSettings:
    """Settings with what was said put over them."""
    return replace(settings, **cast("dict[str, Any]", dict(said)))


def written_settings(said: Mapping[str, object]) -> dict[str, object]:
    """Settings by field, as `settings_from` reads them again."""
    names = {field: name for name, field in SETTING_FIELDS.items()}
    return {
        names[field]: written_duration(cast("int", value)) if field == "resolution_ns" else value
        for field, value in said.items()
        if value is not None
    }


def is_named(pattern: str, name: str) -> bool:
    """
    Whether a clock or a source is meant by what somebody wrote: its name, that with wildcards, or, for a name such as
    `web.log`, what stands before the first dot.
    """
    return any(fnmatchcase(each, pattern) for each in (name, name.rpartition("/")[2].split(".")[0]))


def parse_duration(text: str, what: str = "duration") -> int:
    """
    Read `5ms`, `0.1 s` or `250us` as ns, rounded up; `0` needs no unit.

    Raises:
        ValueError: it is none, or has no unit.
    """
    if text.strip() == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if match is None or match[2] not in UNITS_NS:
        raise ValueError(
            f"{what} {text!r} is none; expected a number and a unit, such as 5ms, with ns, us, ms, s or min"
        )
    ns = Fraction(match[1]) * UNITS_NS[match[2]]
    return -(-ns.numerator // ns.denominator)


def written_duration(ns: int) -> str:
    """A duration of whole ns, as `parse_duration` reads it again."""
    for unit in ("s", "ms", "us"):
        if ns % UNITS_NS[unit] == 0:
            return f"{ns // UNITS_NS[unit]}{unit}"
    return f"{ns}ns"


def nearest(name: str, known: Collection[str], alike: float = 0.6) -> str:
    """`is NAME meant?`, or nothing if none is near; `alike` from 0 to 1: how near."""
    found = get_close_matches(name.lower(), list(known), n=1, cutoff=alike)
    return f"is {found[0]} meant?" if found else ""


def _nearest_setting(name: str) -> str:
    other = _ALSO_CALLED.get(name.lower())
    return f"is {other} meant?" if other else nearest(name, SETTING_FIELDS)


def nearest_or_all(name: str, known: Collection[str]) -> str:
    """The nearest known name, or else all of them."""
    return nearest(name, known) or f"there are {', '.join(known)}"


def _parsed_settings(text: str, whole: str) -> dict[str, object]:
    names = "|".join(SETTING_FIELDS)
    parts = re.split(rf",(?=\s*(?:{names})\s*=)", text)
    given: dict[str, object] = {}
    for part in parts:
        name, _, value = (piece.strip() for piece in part.partition("="))
        # A comma that a name and `=` follow, but none that is known: part of this value, or a slip?
        for slip in re.findall(r",\s*([A-Za-z_]+)\s*=", value):
            if name not in ("pattern", "query") and (near := _nearest_setting(slip)):
                raise ValueError(f"{whole!r} has a setting {slip!r}, which is none: {near}")
        given[name] = value
    return settings_from(given, repr(whole))


def _checked(name: str, value: object, where: str) -> object:
    """A value of the right kind; text is read as what it must be, for the command line has nothing else."""

    def wrong(expected: str) -> ValueError:
        return ValueError(f"{where}: {name} is {value!r}; expected {expected}")

    if name == "assume_utc":
        if isinstance(value, str) and value.lower() in _BOOLEANS:
            return _BOOLEANS[value.lower()]
        if isinstance(value, bool):
            return value
        raise wrong("true or false")
    if name == "year":
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 9999:
            return value
        if isinstance(value, str) and re.fullmatch(r"\d{4}", value):
            return int(value)
        raise wrong("a year such as 2026")
    if not isinstance(value, str):
        raise wrong("text in quotes")
    if name == "resolution":
        return parse_duration(value, f"{where}: resolution")
    if name == "unit" and value not in _UNITS:
        raise wrong("s, ms, us or ns")
    if name == "smear" and value not in _SMEARS:
        raise wrong("24h-noon, or nothing for a clock that steps")
    if not value and name != "smear":
        raise wrong("some text, or leave it out")
    return cast("Unit", value) if name == "unit" else value


assert set(SETTING_FIELDS.values()) == {field.name for field in fields(SourceSettings)}
