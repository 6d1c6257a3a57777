"""
The readers by name: ours, each imported when it is asked for, and those of installed packages.

A package brings one as an entry point of the group `coeval.readers`: its name is the format's, and what it names is a
class that is called without arguments and gives a `Reader`.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import NamedTuple

from coeval.errors import CoevalWarning, WrongTable
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._reader import Reader

ENTRY_POINTS = "coeval.readers"

# Name -> module and class. Where two are equally sure of a file, the first is taken.
_OF_FILES: dict[str, str] = {
    # Text logs.
    "rfc5424": "_text_rfc5424:Rfc5424Reader",
    "syslog": "_text_syslog:SyslogReader",
    "clf": "_text_clf:ClfReader",
    "nginx-error": "_text_nginx_error:NginxErrorReader",
    "python-logging": "_text_python:PythonLoggingReader",
    "log4j": "_text_log4j:Log4jReader",
    "go": "_text_go:GoReader",
    "iso": "_text_iso:IsoReader",
    "pattern": "_text_pattern:PatternReader",
    # Tables and traces.
    "parquet": "_parquet:ParquetReader",
    "arrow": "_arrow:ArrowReader",
    "sqlite": "_sqlite:SqliteReader",
    "journald": "_jsonl:JournaldReader",
    "otlp": "_otlp:OtlpReader",
    "chrome": "_chrome:ChromeReader",
    "shiviz": "_shiviz:ShivizReader",
    "jsonl": "_jsonl:JsonLinesReader",
    "csv": "_csv:CsvReader",
}
# Of folders, which have no first bytes: no file is one of these, so that to tell files apart they are not imported.
_OF_FOLDERS: dict[str, str] = {
    "run": "_run:RunReader",
}
_OURS = {**_OF_FILES, **_OF_FOLDERS}
_PACKAGE = "coeval.timeline.readers."

# What people say for a format, beside its name.
_ALSO = {
    "apache": "clf",
    "nginx": "clf",
    "access": "clf",
    "combined": "clf",
    "common": "clf",
    "rfc3164": "syslog",
    "logback": "log4j",
    "python": "python-logging",
    "golang": "go",
    "text": "iso",
}

_SHOWN_MAX = 80


class Detected(NamedTuple):
    """
    Which format a file has.

    Attributes:
        name: the reader's.
        sureness: 0 to 1, as its `match` said.
    """

    name: str
    sureness: float


def reader_names() -> tuple[str, ...]:
    """Every reader there is: ours, then those of installed packages, by name."""
    return (*_OURS, *sorted(set(_entry_points()) - set(_OURS)))


def reader_named(name: str) -> Reader:
    """
    The reader of a format.

    Raises:
        WrongTable: there is none of this name, or the package that brings it cannot be imported.
    """
    name = _ALSO.get(name, name)
    if name not in _OURS and name not in _entry_points():
        raise WrongTable(f"no reader is named {name!r}; there are {', '.join(reader_names())}.")
    try:
        return _made(name)
    except Exception as error:
        if name in _OURS:
            raise
        raise WrongTable(f"reader {name!r} of an installed package cannot be had: {error!r}.") from error


def detected(head: Head) -> Detected:
    """
    Tell the format from how a file begins.

    Raises:
        WrongTable: no reader knows it; says what was looked for, and what to say instead.
    """
    best = Detected("", 0.0)
    for name in reader_names():
        if name in _OF_FOLDERS:
            continue
        try:
            reader = reader_named(name)
        except WrongTable as error:
            warnings.warn(f"{error} Files are told apart without it.", CoevalWarning, stacklevel=2)
            continue
        sureness = reader.match(head)
        if sureness > best.sureness:
            best = Detected(name, sureness)
    if best.name:
        return best
    raise WrongTable(
        f"{head.name} {_beginning(head)}, which is none of the formats known: {', '.join(reader_names())}. "
        "Say which it is with --reader NAME or `reader =` in coeval.toml; for a text log of another form give a "
        "regular expression with a group named time, as `pattern =`."
    )


def is_blank(head: Head) -> bool:
    """Whether a file holds nothing, as a log that was rotated just now: no record, so no format either."""
    return head.is_whole and not head.data.strip()


def _beginning(head: Head) -> str:
    if is_blank(head):
        return "is empty"
    if not head.data.strip():
        return "begins with nothing but space"
    line = head.data.lstrip().splitlines()[0]
    shown = line[:_SHOWN_MAX].decode(errors="backslashreplace")
    return f"begins with {shown!r}"


@cache
def _made(name: str) -> Reader:
    if name in _OURS:
        module, _, attribute = _OURS[name].partition(":")
        ours: Reader = getattr(import_module(_PACKAGE + module), attribute)()
        return ours
    loaded: Reader = entry_points(group=ENTRY_POINTS)[name].load()()
    return loaded


@cache
def _entry_points() -> tuple[str, ...]:
    return tuple(sorted({point.name for point in entry_points(group=ENTRY_POINTS)}))
