"""Archives of several traces: offsets are those between the times in the files, and the files are as they were."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coeval
from coeval.errors import WrongTable
from coeval.timeline import Timeline
from coeval.timeline.writers import ArchivedTrace, write_perfetto_archive
from tests.timeline.tables import T0, event, table


def trace_file(path: Path, times_us: list[float], base_ns: int | None = None) -> Path:
    events = [{"ph": "X", "ts": at, "dur": 1, "pid": 1, "tid": 1, "name": f"at {at}"} for at in times_us]
    whole: dict[str, Any] = {"traceEvents": events}
    if base_ns is not None:
        whole["baseTimeNanoseconds"] = base_ns
    path.write_text(json.dumps(whole))
    return path


def member_kinds(data: bytes) -> set[bytes]:
    """The type flag of each header."""
    kinds, at = set(), 0
    while data[at : at + 1] not in (b"\0", b""):
        kinds.add(data[at + 156 : at + 157])
        at += 512 + -(-int(data[at + 124 : at + 135], 8) // 512) * 512
    return kinds


def archived(timeline: Timeline, traces: list[Path]) -> tuple[tuple[ArchivedTrace, ...], dict[str, bytes]]:
    file = io.BytesIO()
    told = write_perfetto_archive(timeline, traces, file)
    assert member_kinds(file.getvalue()) == {tarfile.REGTYPE}  # Perfetto refuses any other
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        members = {name: archive.extractfile(name) for name in archive.getnames()}
        return told, {name: member.read() for name, member in members.items() if member is not None}


def test_a_merge_of_two_traces_of_known_clocks_gives_their_offset_between_the_times_in_the_files(
    tmp_path: Path,
) -> None:
    # One instant: the file of `a` has 1 000 us since its base; `b` is 3 s ahead of it, and counts without a base.
    a = trace_file(tmp_path / "a.json", [1_000, 2_000, 9_000], base_ns=T0)
    b = trace_file(tmp_path / "b.json", [T0 // 1000 + 3_000_000 + at for at in (1_000, 2_000, 9_000)])
    timeline = coeval.merge([a, b], clock=["b.json=+3s±1ms@a.json"])
    told, members = archived(timeline, [a, b])
    assert members["a.json"] == a.read_bytes() and members["b.json"] == b.read_bytes()
    stated = json.loads(members["perfetto_manifest.json"])
    offset_ns = told[1].offset_ns
    assert stated == {
        "perfetto_manifest": {
            "version": 1,
            "files": [
                {"path": "a.json", "machine": {"name": "a.json"}},
                {
                    "path": "b.json",
                    "machine": {"name": "b.json"},
                    "clocks": {"sync_to": {"file": "a.json"}, "offset_ns": offset_ns},
                },
            ],
        }
    }
    # `b` shows T0 + 3 s + 1 ms when `a` has 1 ms: the reference shows T + offset.
    true_offset_ns = -(T0 + 3_000_000_000)
    error_ns_max = told[1].error_ns_max
    assert error_ns_max is not None and abs(offset_ns - true_offset_ns) <= error_ns_max < 3_000_000
    assert abs(offset_ns - true_offset_ns) <= 1_000


@settings(max_examples=40)
@given(
    rates_ppm=st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
    bases=st.tuples(st.none() | st.integers(0, T0), st.none() | st.integers(0, T0)),
    halves=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    times=st.lists(st.integers(0, 10**10), min_size=2, max_size=20, unique=True),
)
def test_where_clocks_drift_the_offset_is_that_of_the_middle_and_what_it_misses_is_told(
    tmp_path_factory: pytest.TempPathFactory,
    rates_ppm: tuple[int, int],
    bases: tuple[int | None, int | None],
    halves: tuple[int, int],
    times: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("drift")
    times = sorted(times)
    traces, rows = [], []
    for name, rate, base, half in zip(("web", "db"), rates_ppm, bases, halves, strict=True):
        traces.append(trace_file(folder / f"{name}.json", [1.0], base))
        rows += [
            event(name, at, half, "", n, raw_ns=T0 + at + at * rate // 10**6, source=f"{name}.json")
            for n, at in enumerate(times)
        ]
    rows.sort(key=lambda row: row["estimate_ns"])
    told, _ = archived(Timeline(table(rows)), traces)

    def true_offset_ns(at: int) -> int:
        """The reference's time in the file minus the other's, at one instant."""
        web, db = ((at + at * rate // 10**6) - (base or 0) for rate, base in zip(rates_ppm, bases, strict=True))
        return web - db

    everywhere = [true_offset_ns(at) for at in times]
    assert abs(told[1].offset_ns - true_offset_ns((times[0] + times[-1]) // 2)) <= 2
    assert abs(told[1].change_ns - (max(everywhere) - min(everywhere))) <= 2
    error_ns_max = told[1].error_ns_max
    assert error_ns_max is not None
    assert max(abs(told[1].offset_ns - each) for each in everywhere) <= error_ns_max


def test_a_time_of_which_one_side_is_unknown_leaves_the_error_unknown(tmp_path: Path) -> None:
    traces = [trace_file(tmp_path / f"{name}.json", [1.0]) for name in ("web", "db")]
    rows = [event(name, 0, 0, "", 1, source=f"{name}.json") for name in ("web", "db")]
    rows[1]["latest_ns"] = None
    told, _ = archived(Timeline(table(rows)), traces)
    assert (told[1].offset_ns, told[1].error_ns_max) == (-7_000, None)


def test_files_of_one_name_are_told_apart_by_their_folders_and_get_names_of_their_own(tmp_path: Path) -> None:
    traces = []
    for host in ("one", "two"):
        (tmp_path / host).mkdir()
        traces.append(trace_file(tmp_path / host / "trace.json", [T0 / 1000]))
    timeline = coeval.merge(traces, trust_clocks="1ms")
    told, members = archived(timeline, traces)
    assert [trace.member for trace in told] == ["1/trace.json", "2/trace.json"]
    assert members.keys() == {"perfetto_manifest.json", "1/trace.json", "2/trace.json"}


def test_what_is_no_source_of_the_timeline_is_refused(tmp_path: Path) -> None:
    traces = [trace_file(tmp_path / f"{name}.json", [1.0]) for name in ("web", "other")]
    with pytest.raises(WrongTable, match=r"no event of .*other\.json has a known time"):
        archived(Timeline(table([event("web", 0, 0, "", 1, source="web.json")])), traces)


def test_a_file_with_times_of_two_clocks_is_refused_as_perfetto_moves_it_whole(tmp_path: Path) -> None:
    traces = [trace_file(tmp_path / f"{name}.json", [1.0]) for name in ("web", "db")]
    rows = [event(name, 0, 0, "", 1, source="web.json") for name in ("web", "db")]
    with pytest.raises(WrongTable, match="times of 2 clocks"):
        archived(Timeline(table([*rows, event("db", 0, 0, "", 1, source="db.json")])), traces)


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text("2026-11-06T21:20:00Z x\n")
    with pytest.raises(WrongTable, match=r"web\.log is no trace in Chrome's JSON"):
        archived(Timeline(table()), [tmp_path / "web.log", tmp_path / "web.log"])


def test_the_command_tells_what_each_file_is_moved_by_and_leaves_nothing_where_it_cannot(tmp_path: Path) -> None:
    a = trace_file(tmp_path / "a.json", [1_000, 2_000], base_ns=T0)
    b = trace_file(tmp_path / "b.json", [1_000, 2_000], base_ns=T0 + 3 * 10**9)
    coeval.merge([a, b], tmp_path / "all.parquet", clock=["b.json=+3s±1ms@a.json"])

    def export(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "coeval", "export", "all.parquet", "--to", "perfetto-archive", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    refused = export("a.json", "c.json")
    assert refused.returncode == 2 and "c.json: No such file or directory" in refused.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.json", "all.parquet"}
    assert "it needs them" in export().stderr
    done = export("a.json", "b.json")
    assert done.returncode == 0, done.stderr
    assert "a.json (clock a.json) stays\nb.json (clock b.json) is moved by +0 ns: off by " in done.stderr
    with tarfile.open(tmp_path / "all.perfetto.tar") as archive:
        assert archive.getnames() == ["perfetto_manifest.json", "a.json", "b.json"]
