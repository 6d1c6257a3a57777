"""
The project file `coeval.toml`: what the user said about sources and clocks, kept beside them.

    [source."web*.log"]              settings of every source that this means; later tables go before earlier ones
    tz = "Europe/Berlin"
    clock = "web"

    [patterns]                       regular expressions by name, for `pattern = "mine"`
    mine = '(?P<time>\\S+) (?P<message>.*)'

    [clocks]                         offsets that are known: ahead of UTC, or of another clock
    web = "+3.2s±0.1s"
    app = "-250ms±5ms@db"

    [rates]                          how far a clock's rate may be off, in ppm
    web = 500

    [pairs.request_id]               what makes lines of two logs one request, and which way it goes
    order = ["web", "app", "db"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.sources._claims import OffsetClaim, parse_claim
from coeval.timeline.sources._rules import PairRule, pair_from, written_pair
from coeval.timeline.sources._said import nearest_or_all, settings_from, written_settings
from coeval.timeline.sources._toml import toml_with

PROJECT_FILE = "coeval.toml"

_TABLES = ("source", "patterns", "clocks", "rates", "pairs")


@dataclass(frozen=True, slots=True)
class Project:
    """
    What a project file says.

    Attributes:
        sources: pattern of names and settings by field, in the file's order.
        patterns: regular expressions by name.
        claims: offsets of clocks.
        rates_ppm: rate bounds, by clock name, also with wildcards.
        pairs: how lines of two clocks belong together.
    """

    sources: tuple[tuple[str, Mapping[str, object]], ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[OffsetClaim, ...] = ()
    rates_ppm: Mapping[str, float] = field(default_factory=dict)
    pairs: tuple[PairRule, ...] = ()


def read_project(path: Path | str | None = None) -> Project:
    """
    Read a project file.

    Args:
        path: None: `coeval.toml` in the current folder, if there is one.

    Raises:
        ValueError: it is no TOML, or says something that nobody knows, with the nearest that is known.
        OSError: the file named cannot be read.
    """
    if path is None:
        if not Path(PROJECT_FILE).is_file():
            return Project()
        path = PROJECT_FILE
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    return project_from(tree, str(path))


def project_from(tree: Mapping[str, object], where: str = PROJECT_FILE) -> Project:
    """
    Check what a project file holds.

    Raises:
        ValueError: as `read_project`.
    """
    for name, value in tree.items():
        if name not in _TABLES:
            raise ValueError(f"{where} has a table {name!r}, which is none: {nearest_or_all(name, _TABLES)}")
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {name} is {value!r}; expected a table, [{name}]")
    sources = tuple(
        (pattern, settings_from(_table(values, f'{where} [source."{pattern}"]'), f'{where} [source."{pattern}"]'))
        for pattern, values in _table(tree.get("source", {}), where).items()
    )
    claims = []
    for clock, said in _texts(tree, "clocks", where).items():
        claims.append(parse_claim(f"{clock}={said}"))
    rates = {}
    for clock, rate in _table(tree.get("rates", {}), where).items():
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            raise ValueError(f"{where} [rates]: {clock} is {rate!r}; expected a number of ppm, such as 500")
        rates[clock] = float(rate)
    pairs = tuple(
        pair_from(columns, _table(values, f"{where} [pairs.{columns}]"), f"{where} [pairs.{columns}]")
        for columns, values in _table(tree.get("pairs", {}), where).items()
    )
    return Project(sources, _texts(tree, "patterns", where), tuple(claims), rates, pairs)


def save_settings(
    path: Path,
    sources: Sequence[tuple[str, Mapping[str, object]]] = (),
    claims: Sequence[str] = (),
    pairs: Sequence[PairRule] = (),
    rates_ppm: Mapping[str, float] | None = None,
) -> None:
    """
    Put what was said on the command line into a project file; what else it says, and its comments, stay.

    Args:
        path: the file; it is made where there is none.
        sources: pattern of names and settings by field.
        claims: as `parse_claim` reads them.

    Raises:
        ValueError: the file is none of this kind, or cannot be changed line by line.
        OSError: it cannot be read or written.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        project_from(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    tables: dict[tuple[str, ...], dict[str, object]] = {}
    for pattern, settings in sources:
        tables.setdefault(("source", pattern), {}).update(written_settings(settings))
    for claim in claims:
        parse_claim(claim)
        clock, _, said = claim.partition("=")
        tables.setdefault(("clocks",), {})[clock.strip()] = said.strip()
    for clock, rate in (rates_ppm or {}).items():
        tables.setdefault(("rates",), {})[clock] = rate
    for pair in pairs:
        tables.setdefault(("pairs", pair.columns), {}).update(written_pair(pair))
    try:
        written = toml_with(text, tables)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if written == text:
        return
    beside = path.with_name(f"{path.name}.partial")
    beside.write_text(written, encoding="utf-8")
    beside.replace(path)


def said_of(project: Project, names: Sequence[str]) -> dict[str, object]:
    """What the project says of a source that goes by these names, by field; later tables go before earlier ones."""
    said: dict[str, object] = {}
    for pattern, settings in project.sources:
        if is_source(pattern, names):
            said.update(settings)
    return said


def is_source(pattern: str, names: Sequence[str]) -> bool:
    """Whether a pattern means a source that goes by these names."""
    return any(pattern == name or fnmatchcase(name, pattern) for name in names)


def with_pattern(settings: SourceSettings, patterns: Mapping[str, str]) -> SourceSettings:
    """Settings whose pattern's name is replaced by the pattern, where the project has it."""
    return replace(settings, pattern=patterns[settings.pattern]) if settings.pattern in patterns else settings


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; expected a table of settings")
    return value


def _texts(tree: Mapping[str, object], name: str, where: str) -> dict[str, str]:
    found = {}
    for key, value in _table(tree.get(name, {}), where).items():
        if not isinstance(value, str):
            raise ValueError(f"{where} [{name}]: {key} is {value!r}; expected text in quotes")
        found[key] = value
    return found
