"""
Several traces as they are, with what sets their clocks right: one archive that Perfetto opens as one timeline.

    all.perfetto.tar
      perfetto_manifest.json   which machine each file is of, and by how much its times are moved
      a.json, b.json, …        byte for byte

Perfetto moves all of a file by one constant, so what a clock gains or loses within the file stays in it. The constant
is that of the middle of the data; how far it is off elsewhere is told. Times of Chrome's JSON are taken by Perfetto as
they stand in the file, without the base that some traces name, so the constant is between those.

Format: version 1 of Perfetto's manifest for archives of several traces. `offset_ns` says that at one instant the file's
clock shows T when the reference file's shows T + offset_ns: positive moves the file later. Files whose format names no
clock are tied to each other by file.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from coeval.errors import WrongTable

if TYPE_CHECKING:
    from coeval.timeline._timeline import Timeline
    from coeval.timeline.readers._values import Int64Array

MANIFEST = "perfetto_manifest.json"
_VERSION = 1

_COLUMNS = ["source", "clock", "raw_ns", "earliest_ns", "estimate_ns", "latest_ns"]
# So many events of each trace tell how its clock goes, evenly taken; bounds are of all events.
_SAMPLES_MAX = 1 << 16


class ArchivedTrace(NamedTuple):
    """
    One trace of an archive.

    Attributes:
        member: its name there.
        clock: whose times it has.
        offset_ns: what its times are moved by.
        error_ns_max: how far that can be off at any of its events; None: a side of some is not known.
        change_ns: by how much the offset changes over the data, as estimated.
    """

    member: str
    clock: str
    offset_ns: int
    error_ns_max: int | None
    change_ns: int


def write_perfetto_archive(timeline: Timeline, traces: Sequence[Path], file: IO[bytes]) -> tuple[ArchivedTrace, ...]:
    """
    Write traces that a timeline was merged from, as an archive for Perfetto; the first sets the time of all.

    Args:
        timeline: where the clocks of the traces lie.
        traces: in Chrome's JSON, also compressed; as their sources are called in the timeline, in any folder.
        file: an open binary file; what is written is a TAR.

    Raises:
        WrongTable: a file is no such trace, is no source of the timeline, has several clocks, or nothing is known of
            its times.
        ValueError: fewer than two traces; a name of more than 100 bytes, or a trace of 8 GB, which the archive has no
            room for.
        OSError: one cannot be read.
    """
    # Not at once: whoever shows a run imports this package, and is not to wait for Arrow.
    from coeval.timeline.readers._chrome import ChromeReader, trace_base_ns
    from coeval.timeline.readers._input import head_of

    if len(traces) < 2:
        raise ValueError(f"{len(traces)} traces were given; expected two at least, for one needs no archive")
    for path in traces:
        if not ChromeReader().match(head_of(str(path))):
            raise WrongTable(f"{path} is no trace in Chrome's JSON; leave it out, and export it with --to perfetto")
    shifts = _shifts(timeline, traces)
    for path, shift in zip(traces, shifts, strict=True):
        shift.base_ns = trace_base_ns(str(path))
    members = _members(traces)
    archived = tuple(
        _archived(member, shifts[0], shift, is_reference=number == 0)
        for number, (member, shift) in enumerate(zip(members, shifts, strict=True))
    )
    text = json.dumps(manifest(archived), indent=2, ensure_ascii=False) + "\n"
    # Perfetto refuses extended headers, which Python's own format has wherever a file's time has parts of a second.
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        data = text.encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
        for path, member in zip(traces, members, strict=True):
            with open(path, "rb") as trace:
                archive.addfile(archive.gettarinfo(arcname=member, fileobj=trace), trace)
    return archived


def manifest(traces: Sequence[ArchivedTrace]) -> dict[str, Any]:
    """What the archive says of its files."""
    reference = traces[0].member
    files: list[dict[str, Any]] = [
        {"path": trace.member, "machine": {"name": trace.clock}}
        | ({} if number == 0 else {"clocks": {"sync_to": {"file": reference}, "offset_ns": trace.offset_ns}})
        for number, trace in enumerate(traces)
    ]
    return {"perfetto_manifest": {"version": _VERSION, "files": files}}


@dataclass
class _Shift:
    """
    How far the timeline is ahead of the readings of one trace.

    Attributes:
        least_ns, greatest_ns: no event of it is outside; None: not known of some.
        times_ns: estimates of some events, ascending.
        ahead_ns: of each, estimate minus reading.
        base_ns: what the trace's own times lack to be readings.
    """

    clock: str
    least_ns: int | None
    greatest_ns: int | None
    times_ns: Int64Array
    ahead_ns: Int64Array
    base_ns: int = 0

    def at(self, times_ns: Int64Array) -> Int64Array:
        """Timeline minus the trace's own times, at instants; between events in a straight line."""
        first = int(self.ahead_ns[0])
        # Only what changes is a float: some clocks begin at zero, and a date in ns has more digits than a float.
        changed = np.interp(
            (times_ns - self.times_ns[0]).astype(np.float64),
            (self.times_ns - self.times_ns[0]).astype(np.float64),
            (self.ahead_ns - first).astype(np.float64),
        )
        return np.asarray(np.rint(changed).astype(np.int64) + (first + self.base_ns), dtype=np.int64)


def _archived(member: str, reference: _Shift, shift: _Shift, *, is_reference: bool) -> ArchivedTrace:
    if is_reference:
        return ArchivedTrace(member, shift.clock, 0, 0, 0)
    first = max(int(reference.times_ns[0]), int(shift.times_ns[0]))
    last = min(int(reference.times_ns[-1]), int(shift.times_ns[-1]))
    first, last = min(first, last), max(first, last)  # where they do not overlap, what lies between them
    times = np.concatenate((reference.times_ns, shift.times_ns))
    times = np.concatenate((times[(times > first) & (times < last)], [first, (first + last) // 2, last]))
    # Instant = trace's time + shift, for both: so the reference shows T + offset when this one shows T.
    offsets = shift.at(times) - reference.at(times)
    offset_ns = int(offsets[-2])
    change_ns = int(offsets.max() - offsets.min())
    sides = (shift.least_ns, shift.greatest_ns, reference.least_ns, reference.greatest_ns)
    error = None
    if None not in sides:
        low, high, reference_low, reference_high = (side for side in sides if side is not None)
        bases = shift.base_ns - reference.base_ns
        error = max(high - reference_low + bases - offset_ns, offset_ns - (low - reference_high + bases))
    return ArchivedTrace(member, shift.clock, offset_ns, error, change_ns)


@dataclass
class _Seen:
    """What was seen of one trace's events."""

    clocks: set[str] = field(default_factory=set)
    least_ns: int | None = None
    greatest_ns: int | None = None
    is_bounded: bool = True
    count: int = 0
    stride: int = 1
    samples: list[tuple[int, int]] = field(default_factory=list)

    def add(self, raw: Int64Array, earliest: np.ndarray[Any, Any], estimate: Int64Array, latest: Any) -> None:
        """Events in order; `earliest` and `latest` may be masked where unknown."""
        self.is_bounded &= not (np.ma.getmaskarray(earliest).any() or np.ma.getmaskarray(latest).any())
        if self.is_bounded:
            least, greatest = int((earliest - raw).min()), int((latest - raw).max())
            self.least_ns = least if self.least_ns is None else min(self.least_ns, least)
            self.greatest_ns = greatest if self.greatest_ns is None else max(self.greatest_ns, greatest)
        start = -self.count % self.stride
        chosen = slice(start, None, self.stride)
        ahead = estimate - raw
        self.samples += zip(estimate[chosen].tolist(), ahead[chosen].tolist(), strict=True)
        self.count += len(raw)
        while len(self.samples) > _SAMPLES_MAX:
            self.samples = self.samples[::2]
            self.stride *= 2

    def shift(self, path: Path) -> _Shift:
        if not self.samples:
            raise WrongTable(
                f"no event of {path} has a known time in the timeline; expected one of the traces it was merged from"
            )
        if len(self.clocks) > 1:
            raise WrongTable(
                f"{path} has times of {len(self.clocks)} clocks ({', '.join(sorted(self.clocks)[:4])}), and Perfetto "
                "moves a file as a whole; write corrected times with --to perfetto"
            )
        samples = np.array(sorted(self.samples), dtype=np.int64)
        sides = (self.least_ns, self.greatest_ns) if self.is_bounded else (None, None)
        return _Shift(next(iter(self.clocks)), *sides, samples[:, 0], samples[:, 1])


def _shifts(timeline: Timeline, traces: Sequence[Path]) -> list[_Shift]:
    """Where the clock of each trace lies, by its events."""
    import pyarrow.compute as pc

    seen = [_Seen() for _ in traces]
    number_of: dict[str, int | None] = {}
    for batch in timeline.batches(_COLUMNS):
        sources = batch.column("source").dictionary_encode() if not _is_coded(batch) else batch.column("source")
        for code, source in enumerate(sources.dictionary.to_pylist()):
            if source not in number_of:
                number_of[source] = _number_of(source, traces)
            number = number_of[source]
            if number is None:
                continue
            is_of = pc.and_(pc.equal(sources.indices, code), pc.is_valid(batch.column("estimate_ns")))
            rows = batch.filter(is_of)
            if not rows.num_rows:
                continue
            seen[number].clocks |= set(rows.column("clock").to_pylist())
            raw, earliest, estimate, latest = (_masked(rows.column(name)) for name in _COLUMNS[2:])
            seen[number].add(np.ma.getdata(raw), earliest, np.ma.getdata(estimate), latest)
    return [each.shift(path) for each, path in zip(seen, traces, strict=True)]


def _is_coded(batch: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(batch.schema.field("source").type))


def _masked(column: Any) -> Any:
    return np.ma.masked_array(column.fill_null(0).to_numpy(zero_copy_only=False), column.is_null().to_numpy(False))


def _number_of(source: str, traces: Sequence[Path]) -> int | None:
    """Which trace a source is: the names of sources are ends of paths."""
    found = [
        number
        for number, path in enumerate(traces)
        if source in (str(path), path.name) or str(path.absolute()).endswith(f"/{source}")
    ]
    if len(found) > 1:
        raise WrongTable(
            f"{' and '.join(str(traces[number]) for number in found)} can both be source {source} of the timeline; "
            "expected each trace once, in folders whose names the sources have"
        )
    return found[0] if found else None


def _members(traces: Sequence[Path]) -> list[str]:
    """Names in the archive: those of the files, with a number before where several have one."""
    names = [path.name for path in traces]
    return [
        name if names.count(name) == 1 and name != MANIFEST else f"{number}/{name}"
        for number, name in enumerate(names, 1)
    ]
