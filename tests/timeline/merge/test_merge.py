"""Merging: order, columns, accounting; the same on every executor; and what failure leaves behind."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coeval
from coeval import Retry
from coeval.errors import ClocksNotRelated, WrongTable
from coeval.timeline.merge import DiskFull, merge
from coeval.timeline.merge._merge import MergeSettings, _Merge, merge_sources
from coeval.timeline.merge._request import requested
from tests.timeline.merge.worlds import CLOCKS, OneWorkerDies, write_logs, write_parquet


@pytest.fixture
def small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small merge has many."""
    monkeypatch.setattr(_Merge, "_stretch_rows", lambda self, memory: 1024)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_parquet_sources_come_in_the_order_of_what_happened(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path)
    timeline = merge(paths, tmp_path / "all.parquet", clock=CLOCKS)
    table = timeline.arrow()
    assert table.column("number").to_pylist() == list(range(3000))
    assert table.schema.field("number").type == pa.int64()
    assert timeline.reference_label == "UTC"
    first = table.slice(0, 1).to_pylist()[0]
    assert first["raw_ns"] - first["estimate_ns"] in (0, 3 * 10**9, -5 * 10**9)
    # What is claimed of the clock, and the millisecond that its stamps are seen to be cut to.
    assert first["latest_ns"] - first["earliest_ns"] == 3 * 10**6
    assert files_in(tmp_path) == {"s0.parquet", "s1.parquet", "s2.parquet", "all.parquet"}


def test_each_row_tells_its_source_and_line_and_keeps_what_else_it_has(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path)
    originals = {
        name: pq.read_table(tmp_path / name).to_pylist() for name in ("s0.parquet", "s1.parquet", "s2.parquet")
    }
    seen = set()
    for row in merge(paths, clock=CLOCKS).arrow().to_pylist():
        original = originals[row["source"]][row["line"] - 1]
        seen.add((row["source"], row["line"]))
        assert {name: row[name] for name in original if name != "ts"} == {
            name: value for name, value in original.items() if name != "ts"
        }
        assert [row[name] for name in ("only0", "only1", "only2")].count(None) == 2
    assert len(seen) == 3000


def test_shuffled_sources_are_sorted_first_where_they_do_not_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_stretches: None
) -> None:
    paths = write_parquet(tmp_path, 30_000, shuffled=True)
    steps: list[str] = []
    whole = merge(paths, clock=CLOCKS, on_progress=lambda step, done, total: steps.append(step)).arrow()
    assert "sort" not in steps
    monkeypatch.setattr("coeval.timeline.merge._merge._STRETCHES_SHARE", 10**5)
    spilled = merge(paths, clock=CLOCKS, on_progress=lambda step, done, total: steps.append(step)).arrow()
    assert "sort" in steps
    assert spilled.to_pylist() == whole.to_pylist()
    assert whole.column("number").to_pylist() == list(range(30_000))


@pytest.mark.parametrize("is_shuffled", [False, True])
@pytest.mark.parametrize("texts_max", [1 << 14, 40])
def test_texts_that_repeat_are_texts_in_a_parquet_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_stretches: None, texts_max: int, is_shuffled: bool
) -> None:
    # Of many chunks; with 40 texts at most, `path` has codes in the first ones only.
    monkeypatch.setattr("coeval.timeline.merge._piece.CHUNK_ROWS", 500)
    monkeypatch.setattr("coeval.timeline.merge._batch_file._TEXTS_MAX", texts_max)
    if is_shuffled:
        monkeypatch.setattr("coeval.timeline.merge._merge._STRETCHES_SHARE", 10**5)
    for source in range(2):
        lines: list[str] = []
        for number in range(6000):
            row: dict[str, Any] = {"ts": (1_790_000_000_000 + 2 * number + source) * 10**6, "level": "wärn"}
            row["path"] = f"/{number % 7 if number < 3000 else number % 50}"
            row["state"] = None if number % 3 else ("ready" if number % 2 else "")
            row["mixed"] = f"request {number}" if source else "request"
            lines.append(json.dumps(row) + "\n")
        if is_shuffled:
            np.random.default_rng(source).shuffle(lines)
        (tmp_path / f"s{source}.jsonl").write_text("".join(lines))
    paths = [tmp_path / "s0.jsonl", tmp_path / "s1.jsonl"]
    merge(paths, tmp_path / "all.parquet", clock=["s0=+0s±1ms", "s1=+0s±1ms"])
    written, kept = pq.read_table(tmp_path / "all.parquet"), merge(paths, clock=["s0=+0s±1ms", "s1=+0s±1ms"]).arrow()
    for name in ("level", "path", "state", "mixed"):
        assert written.schema.field(name).type == kept.schema.field(name).type == pa.string()
        assert written.column(name).to_pylist() == kept.column(name).to_pylist()
    assert written.column("line").to_pylist() == kept.column("line").to_pylist()
    group = pq.read_metadata(tmp_path / "all.parquet").row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    assert any(each.path_in_schema == "level" and "RLE_DICTIONARY" in each.encodings for each in columns)


def test_logs_and_json_lines_come_with_parquet_in_one_timeline(tmp_path: Path, small_stretches: None) -> None:
    timeline = merge(write_logs(tmp_path), clock=CLOCKS)
    numbers = [int(row["message"].split()[-1]) for row in timeline.arrow().to_pylist()]
    assert numbers == list(range(3000))
    assert {source.reader for source in timeline.report.sources} == {"iso", "jsonl"}


def test_stamps_without_a_zone_are_of_the_one_that_is_said(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("2026-11-05 12:00:00,000 INFO a\n2026-11-05 12:00:01,000 INFO b\n")
    utc, berlin = (merge(log, source_tz=tz).arrow()["estimate_ns"].to_pylist() for tz in ("UTC", "Europe/Berlin"))
    assert [one - other for one, other in zip(utc, berlin, strict=True)] == [3600 * 10**9] * 2
    nearer = merge(f"{log}:tz=UTC", source_tz="Europe/Berlin").arrow()["estimate_ns"].to_pylist()
    assert nearer == utc


def test_read_is_merged_and_set_aside(tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    report = merge(write_logs(tmp_path, rubbish=True), out, clock=CLOCKS).report
    assert (report.read, report.merged, report.set_aside) == (3001, 3000, 1)
    [line] = (tmp_path / "all.parquet.set-aside.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert told["source"] == "s0.log"
    assert told["line"] == 1
    assert told["text"] == "no stamp at all"
    assert told["reason"] == next(iter(report.reasons))


def test_lines_that_were_set_aside_are_counted_from_the_start_of_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coeval.timeline.merge._merge.PART_BYTES", 4096)
    path = tmp_path / "s.jsonl"
    lines = [
        f'{{"time": "2026-01-01T00:00:{number // 100:02}.{number % 100:02}Z", "n": {number}}}' for number in range(2000)
    ]
    lines[1500] = '{"n": 7}'
    path.write_text("".join(f"{line}\n" for line in lines))
    aside = tmp_path / "aside.jsonl"
    timeline = merge(path, set_aside=aside)
    assert [json.loads(line)["line"] for line in aside.read_text().splitlines()] == [1501]
    assert timeline.report.read == 2000
    rows = timeline.arrow()
    at = {row["n"]: row["line"] for row in rows.to_pylist()}
    assert all(line == number + 1 for number, line in at.items())


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv"])
def test_what_was_set_aside_is_in_the_order_of_its_lines_whatever_is_wrong_with_each(tmp_path: Path, name: str) -> None:
    good, late, torn, text = {
        "log.jsonl": (b'{"ts": "2026-11-06T10:00:00Z"}', b'{"ts": "soon"}', b'{"ts": "20', b'{"ts": "\xff"}'),
        "log.csv": (b"2026-11-06T10:00:00Z,a", b"soon,a", b"2026,a,b", b"\xff,a"),
    }[name]
    lines = [*([b"ts,b"] if name.endswith("csv") else []), *([good, late, good, torn, text, torn, late, good] * 50)]
    (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
    aside = tmp_path / "aside.jsonl"
    report = merge(f"{tmp_path / name}:reader={name[4:]}", set_aside=aside).report
    rows = [json.loads(line) for line in aside.read_text().splitlines()]
    assert report.set_aside == len(rows) == 250 and len(report.reasons) > 1
    numbers = [row["line"] for row in rows]
    assert numbers == sorted(numbers) and len(set(numbers)) == 250
    bad = {number for number, line in enumerate(lines, 1) if line in (late, torn, text)}
    assert set(numbers) == bad


@pytest.mark.parametrize("unplaced", ["last", "aside"])
def test_what_nothing_relates_is_an_error_unless_it_may_come_last_or_be_set_aside(
    tmp_path: Path, unplaced: Any
) -> None:
    paths = write_parquet(tmp_path, 300)
    out = tmp_path / "all.parquet"
    with pytest.raises(ClocksNotRelated, match="3 groups of clocks"):
        merge(paths, out)
    assert files_in(tmp_path) == {"s0.parquet", "s1.parquet", "s2.parquet"}
    timeline = merge(paths, out, clock=[*CLOCKS[:2], "s0*=0s±1ms"], unplaced=unplaced)
    table = timeline.arrow()
    unknown = table.filter(pa.compute.is_null(table.column("estimate_ns")))
    count = pq.read_metadata(tmp_path / "s2.parquet").num_rows
    assert timeline.report.read == 300
    if unplaced == "last":
        assert unknown.num_rows == count
        assert table.slice(300 - count).equals(unknown)
        assert unknown.column("line").to_pylist() == list(range(1, count + 1))
    else:
        assert unknown.num_rows == 0
        lines = (tmp_path / "all.parquet.set-aside.jsonl").read_text().splitlines()
        assert {json.loads(line)["reason"] for line in lines} == {"nothing relates clock s2.parquet to the UTC"}
        assert timeline.report.set_aside == len(lines) == count


def test_neighbours_that_raw_stamps_turn_round_are_counted(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path)
    timeline = merge(paths, clock=CLOCKS)
    raw = np.array(timeline.arrow().column("raw_ns").to_pylist())
    assert timeline.report.neighbours_turned == int((raw[1:] < raw[:-1]).sum()) > 1000


def test_a_target_that_is_there_is_kept_unless_said(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path, 30)
    out = tmp_path / "all.parquet"
    out.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        merge(paths, out, clock=CLOCKS)
    assert out.read_text() == "precious"
    merge(paths, out, clock=CLOCKS, overwrite=True)
    assert pq.read_metadata(out).num_rows == 30


def test_sources_without_an_event_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text('{"time": "never"}\n')
    with pytest.raises((WrongTable, ValueError)):
        merge(tmp_path / "empty.jsonl:time=time")


def write_both(folder: Path) -> list[str]:
    """Parquet, which is read again, and logs, which are spilled."""
    (folder / "logs").mkdir()
    logs = [path for path in write_logs(folder / "logs", rubbish=True) if path.endswith("s1.log")]
    return [*write_parquet(folder, 9000), *(f"{path}:clock=s1.parquet" for path in logs)]


def merged_bytes(paths: list[str], out: Path, executor: Executor | None) -> bytes:
    merge(paths, out, clock=CLOCKS, executor=executor, overwrite=True)
    return out.read_bytes()


def test_the_file_is_the_same_whoever_does_the_work(tmp_path: Path, small_stretches: None) -> None:
    paths = write_both(tmp_path)
    out = tmp_path / "all.parquet"
    alone = merged_bytes(paths, out, None)
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as threads:
            assert merged_bytes(paths, out, threads) == alone
    with ProcessPoolExecutor(2) as processes:
        assert merged_bytes(paths, out, processes) == alone
    with coeval.Executor("local:2") as executor:
        assert merged_bytes(paths, out, executor) == alone
    assert files_in(tmp_path) == {"s0.parquet", "s1.parquet", "s2.parquet", "logs", "all.parquet"}


def test_what_workers_leave_for_each_other_may_lie_behind_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_stretches: None
) -> None:
    paths = write_parquet(tmp_path, 9000, shuffled=True)
    (tmp_path / "logs").mkdir()
    requests = {"web": "", "db": ""}
    for number in range(900):
        for name, clock_s in (("web", 0.0), ("db", 7.5)):
            told = {"time": 1_790_000_000 + number + clock_s, "id": f"r{number}", "of": name}
            requests[name] += json.dumps(told) + "\n" + ("no record\n" if number == 9 else "")
    for name, text in requests.items():
        (tmp_path / "logs" / f"{name}.jsonl").write_text(text)
        paths.append(f"{tmp_path}/logs/{name}.jsonl:clock={name}")
    asked: dict[str, Any] = {"clock": [*CLOCKS, "web=+0s±1ms"], "pair": ["id:order=web>db"], "overwrite": True}
    monkeypatch.setattr("coeval.timeline.merge._merge._STRETCHES_SHARE", 10**5)  # what is shuffled is sorted first
    out, scratch = tmp_path / "all.parquet", tmp_path / "scratch"
    scratch.mkdir()
    whole = merge(paths, out, **asked)
    assert whole.report.set_aside == 2 and whole.report.links
    expected = out.read_bytes()
    with ThreadPoolExecutor(2) as threads:
        report = merge(paths, out, executor=threads, spill="memory://scratch", **asked).report
    assert out.read_bytes() == expected and report.spilled_bytes > len(expected) / 2
    with coeval.Executor("local:2") as executor:
        merge(paths, out, executor=executor, spill=scratch.as_uri(), **asked)
    assert out.read_bytes() == expected
    assert files_in(scratch) == set()
    left = {"s0.parquet", "s1.parquet", "s2.parquet", "logs", "scratch", "all.parquet", "all.parquet.set-aside.jsonl"}
    assert files_in(tmp_path) == left


def test_a_timeline_behind_a_url_is_the_same_as_a_file(tmp_path: Path, small_stretches: None) -> None:
    paths = write_parquet(tmp_path, 3000)
    (tmp_path / "odd.jsonl").write_text('{"time": 1790000000, "n": 1}\n' * 9 + "no record\n")
    paths.append(f"{tmp_path}/odd.jsonl:clock=s0")
    out, url = tmp_path / "all.parquet", f"memory://{secrets.token_hex(8)}/all.parquet"
    here = merge(paths, out, clock=CLOCKS)
    there = merge(paths, url, clock=CLOCKS)
    assert fsspec.open(url, "rb").open().read() == out.read_bytes()
    assert there.report.set_aside_file == f"{url}.set-aside.jsonl"
    aside = fsspec.open(there.report.set_aside_file, "rb").open().read()
    assert aside == (tmp_path / "all.parquet.set-aside.jsonl").read_bytes()
    question = "select count(*) as n, max(estimate_ns) as last from timeline"
    assert coeval.open_timeline(url).sql(question).fetchall() == here.sql(question).fetchall()
    assert there.arrow().equals(here.arrow())
    with pytest.raises(FileExistsError, match=r"all\.parquet is there already"):
        merge(paths, url, clock=CLOCKS)
    with pytest.raises(ValueError, match="is to be written and is one of the sources"):
        merge([*paths, f"{url}:clock=s0"], url, clock=CLOCKS, overwrite=True)


def test_a_merge_that_fails_leaves_what_is_behind_the_url(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path, 300)
    url = f"memory://{secrets.token_hex(8)}/all.parquet"
    with fsspec.open(url, "wb") as file:
        file.write(b"earlier")
    with coeval.Executor("local:1") as executor, pytest.raises(coeval.CallFailed):
        merge(paths, url, executor=OneWorkerDies(executor, tmp_path / "died", 2), clock=CLOCKS, overwrite=True)
    assert fsspec.open(url, "rb").open().read() == b"earlier"


@pytest.mark.parametrize("at", [2, 6])
def test_a_worker_that_is_killed_half_way_changes_nothing(tmp_path: Path, small_stretches: None, at: int) -> None:
    """Call 2 scans a part, call 6 merges a block of stretches."""
    paths = write_both(tmp_path)
    out = tmp_path / "all.parquet"
    alone = merged_bytes(paths, out, None)
    with coeval.Executor("local:2", retries=Retry(2, on_death=True)) as executor:
        dying = OneWorkerDies(executor, tmp_path / "logs" / "died", at)
        assert merged_bytes(paths, out, dying) == alone
    assert (tmp_path / "logs" / "died").exists()


def test_a_worker_that_stays_broken_leaves_no_file(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path, 300)
    with coeval.Executor("local:1") as executor, pytest.raises(coeval.CallFailed):
        merge(paths, tmp_path / "all.parquet", executor=OneWorkerDies(executor, tmp_path / "died", 2), clock=CLOCKS)
    assert files_in(tmp_path) == {"s0.parquet", "s1.parquet", "s2.parquet", "died"}


KILLED = """
import os, signal, sys
import coeval.timeline.merge._output as output
from coeval.timeline.merge import merge
from tests.timeline.merge.worlds import CLOCKS

write = output.ParquetTableWriter.write
def write_and_die(self, table):
    write(self, table)
    self._file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
output.ParquetTableWriter.write = write_and_die
merge(sys.argv[2:], sys.argv[1], clock=CLOCKS)
"""


def test_kill_9_leaves_nothing_at_the_target_and_a_later_merge_takes_the_rest_away(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path)
    out = tmp_path / "all.parquet"
    root = Path(__file__).parents[3]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(out), *paths], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    left = files_in(tmp_path) - {"s0.parquet", "s1.parquet", "s2.parquet"}
    assert any(name.startswith("all.parquet.partial-") for name in left)
    assert any(name.startswith(".coeval-merge-") for name in left)
    merge(paths, out, clock=CLOCKS)
    assert files_in(tmp_path) == {"s0.parquet", "s1.parquet", "s2.parquet", "all.parquet"}


def test_what_a_merge_that_still_runs_has_put_down_is_left_alone(tmp_path: Path) -> None:
    paths = write_parquet(tmp_path, 300)
    out = tmp_path / "all.parquet"
    others: list[set[str]] = []

    def merge_another(step: str, done: int, total: int) -> None:
        if step == "merge" and not others:
            merge(paths, out, clock=CLOCKS)
            others.append({name for name in files_in(tmp_path) if name.startswith(".coeval-merge-")})

    merge(paths, tmp_path / "other.parquet", clock=CLOCKS, on_progress=merge_another)
    assert len(others[0]) == 1
    assert pq.read_metadata(out).num_rows == pq.read_metadata(tmp_path / "other.parquet").num_rows == 300


# Argument 1: the largest file that this process may write, in bytes, or 0.
ON_A_FULL_DISK = """
import resource, sys
from coeval.timeline.merge import merge
from tests.timeline.merge.worlds import CLOCKS

if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    merge(sys.argv[4:], sys.argv[2], spill=sys.argv[3], clock=CLOCKS)
except OSError as error:
    print(type(error).__name__, error)
"""


def _mount(folder: Path, size: int) -> bool:
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("where", ["target", "spill"])
@pytest.mark.parametrize("how", ["file size limit", "full file system"])
def test_a_full_disk_is_one_clear_error_and_changes_nothing(tmp_path: Path, where: str, how: str) -> None:
    sources, full, roomy = (tmp_path / name for name in ("sources", "full", "roomy"))
    for folder in (sources, full, roomy):
        folder.mkdir()
    paths = write_parquet(sources, 60_000) if where == "target" else write_logs(sources, 60_000)
    before = {path: path.read_bytes() for path in sources.iterdir()}
    target, spill = (full, roomy) if where == "target" else (roomy, full)
    limit = 100_000 if how == "file size limit" else 0
    if not limit and not _mount(full, 200 << 10):
        pytest.skip("only root may fill a small disk of its own, and not in every container")
    try:
        out = target / "all.parquet"
        out.write_text("precious")
        out.unlink()
        command = [sys.executable, "-c", ON_A_FULL_DISK, str(limit), str(out), str(spill), *paths]
        root = Path(__file__).parents[3]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        [line] = done.stdout.splitlines()
        disk = {"target": "the target's disk", "spill": "the spill folder's disk"}[where]
        assert re.match(rf"DiskFull .*there is no room on {disk} \({full}\): [\d,]+ bytes were (written|spilled)", line)
        assert files_in(full) == files_in(roomy) == set()
    finally:
        if not limit:
            subprocess.run(["umount", str(full)], check=True)
    assert {path: path.read_bytes() for path in sources.iterdir()} == before


def test_a_stream_without_room_is_told_from_a_spill_folder_without_room(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, 300)
    settings = requested([str(paths[0])])
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(DiskFull, match="on the disk that the output goes"),
    ):
        merge_sources(settings.sources, full, settings.settings, settings.evidence, kind="jsonl")


def test_what_is_asked_in_python_is_checked_in_its_words(tmp_path: Path) -> None:
    [path, *_] = write_logs(tmp_path, 30)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"tz": "UTC"}, r"merge\(\) has no argument 'tz'; beside its own there are source, pair, clock, .*source_tz"),
        ({"memory": "1G"}, "memory is '1G'; expected a number of bytes"),
        ({"unplaced": "frist"}, "unplaced is 'frist'; expected 'last', 'aside'"),
    ]
    for wrong, said in wrongs:
        with pytest.raises((TypeError, ValueError), match=said):
            merge(path, **wrong)
    with pytest.raises(ValueError, match="there are no sources"):
        merge([])


def test_one_word_in_python_need_not_stand_in_a_list(tmp_path: Path) -> None:
    paths = write_logs(tmp_path, 300)[:2]
    pair = "id:order=s0>s1"
    one = merge(paths, source="s0.log:clock=s0", pair=pair, clock="s1.log=+1s±9h@s0", reference="s0")
    several = merge(paths, source=["s0.log:clock=s0"], pair=[pair], clock=["s1.log=+1s±9h@s0"], reference="s0")
    assert one.arrow().equals(several.arrow())
    assert one.report.links == several.report.links


def test_a_full_disk_is_an_os_error() -> None:
    assert issubclass(DiskFull, OSError)
    assert MergeSettings().memory > 0


def test_a_clock_that_was_set_back_half_way_stands_in_its_true_order(tmp_path: Path, small_stretches: None) -> None:
    """Its stamps run twice through five seconds, so where a chunk of it lies its first and last stamp do not tell."""
    count, second = 4000, 10**9
    true = np.arange(count, dtype=np.int64) * 10**7
    shown = np.where(true < true[count // 2], true, true - 5 * second - 3)
    for name, stamps in (("steady", true), ("back", shown)):
        numbers = np.arange(count) * 2 + (name == "back")
        table = pa.table({"ts": pa.array(stamps + second, pa.timestamp("ns", "UTC")), "number": numbers})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=500)
    # Each event of the one precedes the next of the other.
    messages = {
        "sender": ["steady", "back"] * (count - 1),
        "receiver": ["back", "steady"] * (count - 1),
        "sent_ns": np.stack((true[:-1], shown[:-1]), axis=1).ravel() + second,
        "received_ns": np.stack((shown[:-1] + 10, true[1:]), axis=1).ravel() + second,
    }
    paths = [f"{tmp_path / name}.parquet:time=ts,clock={name},resolution=0ns" for name in ("steady", "back")]
    timeline = merge(paths, messages=messages, reference="steady")
    assert timeline.claims.set_back == ("back",)
    rows = timeline.arrow().to_pylist()
    back = [row["line"] for row in rows if row["clock"] == "back"]
    assert sorted(back) == list(range(1, count + 1))
    # Readings that were shown twice may be either, where nothing tells; all others stand in their order.
    once = [line for line in back if not true[count // 2] - 5 * second - 3 <= shown[line - 1] <= true[count // 2]]
    assert len(once) == count - 1001
    assert once == sorted(once)
    estimates = [row["estimate_ns"] for row in rows]
    assert estimates == sorted(estimates)
