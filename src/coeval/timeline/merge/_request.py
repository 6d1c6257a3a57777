"""What somebody asks of a merge, in their words; and the merge as Python has it."""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pyarrow as pa

from coeval.alignment import RATE_BOUND_PPM_DEFAULT, Messages
from coeval.clocks import Anchor
from coeval.timeline._timeline import Timeline, open_timeline
from coeval.timeline._url_target import is_there, place_of
from coeval.timeline.merge._merge import (
    MEMORY_DEFAULT,
    MergeEvidence,
    MergeReport,
    MergeSettings,
    Progress,
    Unplaced,
    merge_sources,
    nobody_listens,
)
from coeval.timeline.merge._output import TableKeeper
from coeval.timeline.readers._evidence_tables import read_anchors, read_messages
from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.readers._set_aside import SetAside
from coeval.timeline.readers._source import Tabular
from coeval.timeline.sources._claims import parse_claim
from coeval.timeline.sources._project import Project, read_project
from coeval.timeline.sources._resolve import ResolvedSource, resolve
from coeval.timeline.sources._rules import EvidenceRules, PairRule, parse_pair
from coeval.timeline.sources._said import parse_duration
from coeval.timeline.stamps._zones import Zone

_UNPLACED = get_args(Unplaced)


class MergedTimeline(Timeline):
    """
    A timeline that was merged just now.

    Attributes:
        report: what was done: sources, clocks, events set aside.
    """

    report: MergeReport


class MergeRequest(NamedTuple):
    """
    What to merge, and with which evidence.

    Attributes:
        notes: names of one file, and rows of the tables of evidence that cannot be used; one sentence each.
    """

    sources: list[ResolvedSource]
    settings: MergeSettings
    evidence: MergeEvidence
    notes: tuple[str, ...]


def requested(
    sources: Sequence[str | os.PathLike[str]],
    *,
    source: str | Sequence[str] = (),
    pair: str | PairRule | Sequence[str | PairRule] = (),
    clock: str | Sequence[str] = (),
    trust_clocks: str | int | None = None,
    anchors: Tabular | None = None,
    messages: Tabular | Sequence[Tabular] = (),
    reference: str | None = None,
    rate_bound_ppm: float = RATE_BOUND_PPM_DEFAULT,
    source_tz: str = "",
    assume_utc: bool = False,
    unplaced: Unplaced = "",
    set_aside: str | os.PathLike[str] | None = None,
    spill: str | os.PathLike[str] | None = None,
    memory: int = MEMORY_DEFAULT,
    project: Project | str | os.PathLike[str] | None = None,
) -> MergeRequest:
    """
    Understand what was asked; see `merge` for what everything means.

    Raises:
        ValueError, OSError: as `merge`, for what can be seen before anything is read.
    """
    if not sources:
        raise ValueError("there are no sources; expected one at least, such as 'web.log'")
    if unplaced not in _UNPLACED:
        raise ValueError(f"unplaced is {unplaced!r}; expected 'last', 'aside', or '' for an error")
    if not isinstance(memory, int):
        raise TypeError(f"memory is {memory!r}; expected a number of bytes, such as 1 << 30")
    if memory < 1 << 26:
        raise ValueError(f"memory is {memory:,} bytes; expected 64 MB at least")
    found = project if isinstance(project, Project) else read_project(project if project is None else Path(project))
    if source_tz:
        Zone(source_tz)  # where each source has a word of its own, nobody would look this one up
    defaults = SourceSettings(zone=source_tz, assume_utc=assume_utc)
    resolved = resolve([os.fspath(each) for each in sources], found, _several(source), defaults)
    aside = SetAside()
    read: list[Anchor] = []
    if anchors is not None:
        read, _, _ = read_anchors(anchors, aside)
    tables = list(messages) if isinstance(messages, (list, tuple)) else [messages]
    known = read_messages(tables, aside).messages if tables else Messages.of(())
    said = [pair] if isinstance(pair, (str, PairRule)) else pair
    pairs = tuple(each if isinstance(each, PairRule) else parse_pair(each) for each in said)
    evidence = MergeEvidence(
        known,
        tuple(read),
        tuple(parse_claim(each) for each in _several(clock)),
        found.claims,
        EvidenceRules((*found.pairs, *pairs)),
    )
    trust_ns = parse_duration(trust_clocks, "--trust-clocks") if isinstance(trust_clocks, str) else trust_clocks
    settings = MergeSettings(
        reference=reference,
        rate_bound_ppm=rate_bound_ppm,
        rates_ppm=found.rates_ppm,
        trust_ns=trust_ns,
        unplaced=unplaced,
        spill=None if spill is None else os.fspath(spill),
        memory=memory,
        set_aside=None if set_aside is None else place_of(os.fspath(set_aside)),
    )
    notes = tuple(f"{count:,} rows of evidence: {reason}" for reason, count in aside.reasons.most_common())
    twice = tuple(
        f"{other} is {each.path} by another name; it is read once" for each in resolved for other in each.also
    )
    return MergeRequest(resolved, settings, evidence, (*twice, *notes))


def _several(said: str | Sequence[str]) -> Sequence[str]:
    """One word, or several."""
    return [said] if isinstance(said, str) else said


def merge(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] | None = None,
    *,
    overwrite: bool = False,
    executor: Executor | None = None,
    on_progress: Progress = nobody_listens,
    **asked: Any,
) -> MergedTimeline:
    """
    Merge logs, traces and tables of any size into one timeline.

    Args:
        sources: files, folders, patterns with wildcards, URLs, `-` for standard input, run folders; also with settings,
            as `web*.log:tz=Europe/Berlin,clock=web`.
        out: a Parquet file, by its path or URL, which is there once it is whole. None: everything is kept in memory.
        overwrite: `out` and `set_aside` may be there already.
        executor: anything with the interface of `concurrent.futures`, such as `coeval.Executor("dask://…")`; its
            workers must reach the sources and `spill`. None: threads of this process.
        on_progress: called with the step ("scan", "sort", "merge"), how much is done, and how much there is.
        source: more settings, each for the sources that the name before the colon means; one, or several.
        pair: what makes rows of two clocks one request, as `request_id:order=web>app>db`; one, or several.
        clock: offsets that are known, as `web=+3.2s±0.1s` (ahead of UTC) or `web=+3.2s±0.1s@db`; one, or several.
        trust_clocks: each clock's own word on UTC counts within so much, as "50ms" or in ns.
        anchors, messages: tables as `relate_clocks` takes them.
        reference: the clock that times count on where nothing ties them to UTC. None: the busiest.
        rate_bound_ppm: how far a clock's rate may be off.
        source_tz: the zone of stamps that carry none, of sources without a word of their own.
        assume_utc: stamps without a zone are taken for UTC, and their rows are marked.
        unplaced: events of clocks that nothing relates come "last", or are set "aside"; "": that is an error.
        set_aside: the file of what was set aside, as lines of JSON, by its path or URL. None: named after `out`.
        spill: a folder for what does not fit into memory, or the URL of one. None: beside `out`, or where temporary
            files are if that is a URL.
        memory: bytes that rows may take at once, about.
        project: what was said of the sources; a file. None: `coeval.toml`, if it is there.

    Returns:
        The timeline; `report` tells what became of each source.

    Raises:
        ClocksNotRelated: nothing relates some of the clocks; says what would.
        WrongTable, ValueError: what was said is wrong, or a source is none of the formats known.
        FileExistsError: `out` or `set_aside` is there already.
        OSError: a source cannot be read, or there is no room for the result.

    Example:
        timeline = coeval.merge(["web.log", "db.jsonl"], "all.parquet", pair=["request_id:order=web>db"])
    """
    for name in asked:
        if name not in _ASKED:
            raise TypeError(f"merge() has no argument {name!r}; beside its own there are {', '.join(_ASKED)}")
    named = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    target = None if out is None else place_of(os.fspath(out))
    if target is not None and not str(target).endswith((".parquet", ".pq")):
        raise ValueError(f"{target} is no Parquet file by its name; expected .parquet, or None to keep it in memory")
    if target is not None and not overwrite and is_there(target):
        raise FileExistsError(f"{target} is there already; name another file, or say overwrite=True")
    asked_for = requested(named, **asked)
    aside = asked_for.settings.set_aside
    if aside is not None and not overwrite and is_there(aside):
        raise FileExistsError(f"{aside}, for what is set aside, is there already; say overwrite=True, or name another")
    kept: list[TableKeeper] = []

    def keeper(file: Any, schema: pa.Schema) -> TableKeeper:
        kept.append(TableKeeper(file, schema))
        return kept[0]

    report = merge_sources(
        asked_for.sources,
        target if target is not None else io.BytesIO(),
        asked_for.settings,
        asked_for.evidence,
        kind="parquet",
        executor=executor,
        on_progress=on_progress,
        make_writer=None if target is not None else keeper,
    )
    merged = MergedTimeline(kept[0].table) if target is None else _opened(target)
    merged.report = report
    return merged


_ASKED = tuple(inspect.signature(requested).parameters)[1:]


def _opened(place: Path | str) -> MergedTimeline:
    found = open_timeline(place)
    return MergedTimeline(found._source, str(place), path=found._path)
