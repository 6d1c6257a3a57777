"""
From what somebody names to the sources themselves: wildcards, folders, files, URLs, `-`, a run folder, each with what
was said of it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from coeval.timeline.readers._input import is_url
from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.sources._project import Project, is_source, said_of, with_pattern
from coeval.timeline.sources._said import applied, misspelt_setting, nearest, parse_source

SourceKind = Literal["file", "url", "stdin", "run"]

STDIN = "-"
RUN_FILE = "run.json"
_OF_PATTERNS = "pattern"


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """
    One source.

    Attributes:
        name: as results show it; no two sources have the same.
        path: where it is; "-": standard input.
        kind: what it is; a "run" is a folder that a run was recorded in.
        settings: what was said of it; with its `clock` empty and no `clock_field`, its clock is named after it.
        also: other names by which somebody named the same file.
    """

    name: str
    path: str
    kind: SourceKind
    settings: SourceSettings
    also: tuple[str, ...] = ()

    @property
    def clock(self) -> str:
        """The clock of rows of which the format names none."""
        return self.settings.clock or self.name


def resolve(
    specs: Sequence[str],
    project: Project | None = None,
    said: Sequence[str] = (),
    defaults: SourceSettings | None = None,
) -> list[ResolvedSource]:
    """
    Find the sources, and what was said of each.

    Of two words on one setting the nearer one counts: with the source itself (`web.log:tz=UTC`), then `said` (the last
    of them first), then the project file (the last table first), then `defaults`.

    Args:
        specs: each a file, a folder (the files in it), a pattern with wildcards (`**` for folders too), a URL, `-`, or
            a run folder; settings may stand behind a colon, see `parse_source`.
        said: settings for every source that the name before the colon means, as `web*.log:tz=Europe/Berlin`.
        defaults: of every source.

    Raises:
        FileNotFoundError: there is nothing of a name.
        ValueError: a setting is not known, nothing was said behind a colon, or a setting means no source.
    """
    project = project or Project()
    settings = [_said(text) for text in said]
    # A file is read once, however often and by whichever names it is named; everything said of it counts.
    found: dict[str, tuple[SourceKind, dict[str, object]]] = {}
    spelt: dict[object, str] = {}
    also: dict[str, dict[str, None]] = {}
    for spec in specs:
        name, own = (spec, {}) if _is_there(spec) else parse_source(spec)
        if not own and (slip := misspelt_setting(spec, _is_there)):
            raise ValueError(slip)
        for path, kind in _paths(name):
            known = spelt.setdefault(_identity(path, kind), path)
            if _spelling(known, kind) != _spelling(path, kind):
                also.setdefault(known, {})[path] = None
            path = known
            found.setdefault(path, (kind, {}))[1].update(own)
    names = _names(list(found))
    sources, used = [], set()
    for path, (kind, own) in found.items():
        called = list(dict.fromkeys((path, names[path], Path(path).name, Path(path).name.split("?")[0])))
        everything = said_of(project, called)
        for number, (pattern, values) in enumerate(settings):
            if is_source(pattern, called):
                used.add(number)
                everything.update(values)
        everything.update(own)
        whole = with_pattern(applied(defaults or SourceSettings(), everything), project.patterns)
        if whole.pattern and not whole.reader:
            whole = replace(whole, reader=_OF_PATTERNS)  # no other would look at it
        sources.append(ResolvedSource(names[path], path, kind, whole, tuple(also.get(path, ()))))
    for number, (pattern, _) in enumerate(settings):
        if number not in used:
            listed = ", ".join(list(names.values())[:8])
            raise ValueError(f"--source {pattern!r} means none of the sources {listed}")
    return sources


def _identity(path: str, kind: SourceKind) -> object:
    """What two names of one file have in common: links of both kinds lead to the same file."""
    if kind in ("url", "stdin"):
        return path
    found = Path(path).stat()
    return found.st_dev, found.st_ino


def _spelling(path: str, kind: SourceKind) -> str:
    """A name without what means nothing in it, such as `./`."""
    return path if kind in ("url", "stdin") else os.path.abspath(path)  # noqa: PTH100  # links are not followed


def _said(text: str) -> tuple[str, dict[str, object]]:
    pattern, settings = parse_source(text)
    if not settings:
        raise ValueError(
            f"--source {text!r} says nothing; expected NAME:SETTING=VALUE, such as 'web*.log:tz=Europe/Berlin'"
        )
    return pattern, settings


def _is_there(spec: str) -> bool:
    return not is_url(spec) and Path(spec).exists()


def _paths(spec: str) -> list[tuple[str, SourceKind]]:
    if spec == STDIN:
        return [(STDIN, "stdin")]
    if is_url(spec):
        return [(path, "url") for path in _urls(spec)]
    path = Path(spec)
    if path.is_dir():
        if (path / RUN_FILE).is_file():
            return [(spec, "run")]
        return _in_folder(path)
    if path.exists():
        return [(spec, "file")]
    if glob.has_magic(spec):
        # `Path.glob` takes no absolute pattern, and none with `..`.
        matches = [Path(match) for match in sorted(glob.glob(spec, recursive=True))]  # noqa: PTH207
        if not spec.endswith(_OF_MERGES):
            matches = [match for match in matches if not match.name.endswith(_OF_MERGES)]
        files: list[tuple[str, SourceKind]] = [(str(match), "file") for match in matches if match.is_file()]
        runs: list[tuple[str, SourceKind]] = [
            (str(match), "run") for match in matches if match.is_dir() and (match / RUN_FILE).is_file()
        ]
        if files or runs:
            # The files of a run folder are one source, whatever else the wildcard means.
            return [
                *(each for each in files if not any(run in Path(each[0]).parents for run in map(Path, dict(runs)))),
                *runs,
            ]
        raise FileNotFoundError(f"no file is meant by {spec!r}")
    near = _near(path)
    raise FileNotFoundError(f"there is no file {spec!r}" + (f"; {near}" if near else ""))


# Logs have their endings in common, so any two are somewhat alike.
_ALIKE = 0.75

_OF_MERGES = ("coeval.toml", ".set-aside.jsonl")


def _in_folder(folder: Path) -> list[tuple[str, SourceKind]]:
    """The files of a folder; what is hidden, and what merges keep beside the logs, is no source unless it is named."""
    found: list[tuple[str, SourceKind]] = [
        (str(path), "file")
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(_OF_MERGES)
    ]
    if not found:
        raise FileNotFoundError(f"the folder {str(folder)!r} holds no files; for those below it, name '{folder}/**/*'")
    return found


def _urls(spec: str) -> list[str]:
    """A URL, or those that one with wildcards means; `?` begins a query and is no wildcard there."""
    scheme = urlsplit(spec).scheme
    if "*" not in spec or scheme in ("postgresql", "postgres", "mysql", "sqlite"):
        return [spec]
    from coeval.timeline.readers._input import filesystem_of

    filesystem, within = filesystem_of(spec)
    found = [filesystem.unstrip_protocol(path) for path in sorted(filesystem.glob(within))]
    if not found:
        raise FileNotFoundError(f"no file is meant by {spec!r}")
    return found


def _near(path: Path) -> str:
    try:
        return nearest(path.name, [each.name for each in path.parent.iterdir()], _ALIKE)
    except OSError:
        return ""


def _names(paths: Sequence[str]) -> dict[str, str]:
    """The last part of each path, and as many before it as tell it from the others."""
    parts = {path: _parts(path) for path in paths}
    counts = dict.fromkeys(paths, 1)
    while True:
        named: dict[str, list[str]] = {}
        for path in paths:
            named.setdefault("/".join(parts[path][-counts[path] :]), []).append(path)
        shared = [path for group in named.values() if len(group) > 1 for path in group]
        growing = [path for path in shared if counts[path] < len(parts[path])]
        if not growing:
            break
        for path in growing:
            counts[path] += 1
    # `./web.log` and `web.log` are as alike as can be: the whole path tells them apart.
    return {path: _readable(name if len(group) == 1 else path) for name, group in named.items() for path in group}


def _readable(name: str) -> str:
    """A name as results can have it: bytes of a file's name that are no UTF-8 as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _parts(path: str) -> list[str]:
    if path == STDIN:
        return ["stdin"]
    if is_url(path):
        split = urlsplit(path)
        return [part for part in (split.hostname or "", *split.path.split("/")) if part]
    return [part for part in Path(path).parts if part != "/"]
