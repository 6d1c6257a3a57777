"""Joins of Parquet files: what does not fit into memory gives what one that fits gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from coeval.errors import WrongTable
from coeval.timeline.join import overlap_join, window_join
from coeval.timeline.join._asof import Direction
from coeval.timeline.join._files import JoinCounts, JoinInput, join_files, parquet_writer
from coeval.timeline.join._rules import JoinRules, OverlapRules, Rules, WindowRules

DIRECTIONS: Sequence[Direction] = ("backward", "forward", "nearest")
ROWS = 6_000
LITTLE = 1 << 19


def timeline(seed: int, name: str, rows: int = ROWS) -> pa.Table:
    """Three clocks with bounds of their own."""
    random = np.random.default_rng(seed)
    true = 10**18 + np.sort(random.integers(0, rows * 1000, rows))
    clocks = random.integers(0, 3, rows)
    bound = 400 * (1 + clocks)
    return pa.table(
        {
            "earliest_ns": true - bound,
            "estimate_ns": true,
            "latest_ns": true + bound,
            "raw_ns": true + 5_000 * clocks,
            "clock": np.array([f"{name}{n}" for n in range(3)])[clocks],
            "key": random.integers(0, 40, rows),
            name: np.arange(rows),
        },
        metadata={"coeval.reference": "utc", "coeval.reference_label": "UTC"},
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("join")
    for seed, name in ((1, "left"), (2, "right")):
        rows = timeline(seed, name)
        pq.write_table(rows, folder / f"{name}.parquet", row_group_size=400)
        mixed = rows.take(np.random.default_rng(seed).permutation(ROWS))
        pq.write_table(mixed, folder / f"mixed-{name}.parquet", row_group_size=400)
    return folder


def joined(folder: Path, target: Path, rules: Rules, memory: int, prefix: str = "") -> tuple[JoinCounts, pa.Table]:
    counts = join_files(
        JoinInput(folder / f"{prefix}left.parquet"),
        JoinInput(folder / f"{prefix}right.parquet"),
        rules,
        parquet_writer(target, memory),
        memory_bytes=memory,
        scratch=target.parent,
    )
    return counts, pq.read_table(target)


@pytest.mark.parametrize("prefix", ["", "mixed-"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("on", "within"), [((), None), ((), 5_000), (("key",), None), (("key",), 20_000)], ids=["", "within", "key", "both"]
)
def test_a_join_in_parts_finds_what_a_join_in_memory_finds(
    files: Path, tmp_path: Path, direction: Direction, on: tuple[str, ...], within: int | None, prefix: str
) -> None:
    rules = JoinRules(on, within, direction)
    counts, whole = joined(files, tmp_path / "whole.parquet", rules, 1 << 34, prefix)
    parted_counts, parted = joined(files, tmp_path / "parted.parquet", rules, LITTLE, prefix)
    assert parted_counts == counts
    assert counts.rows == counts.certain + counts.possible + counts.none == counts.written == ROWS
    assert counts.certain and counts.possible
    assert parted.schema == whole.schema
    if not prefix:
        # In the left file's order.
        assert parted["left"].to_pylist() == list(range(ROWS))
        assert parted.to_pylist() == whole.to_pylist()
    # Of several rows of one time, the one that is shown depends on their order, and nothing else does.
    told = ["left", "estimate_ns_right", "verdict", "matches_possible"]
    assert parted.select(told).sort_by("left").to_pylist() == whole.select(told).sort_by("left").to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parted.parquet", "whole.parquet"]


def test_a_result_keeps_what_the_left_file_says_of_its_times(files: Path, tmp_path: Path) -> None:
    _, table = joined(files, tmp_path / "out.parquet", JoinRules(), 1 << 34)
    assert table.schema.metadata[b"coeval.reference"] == b"utc"


def test_all_matches_in_parts_are_those_in_memory(files: Path, tmp_path: Path) -> None:
    rules = JoinRules((), 2_000, "nearest", "inner", True)
    counts, whole = joined(files, tmp_path / "whole.parquet", rules, 1 << 34)
    _, parted = joined(files, tmp_path / "parted.parquet", rules, LITTLE)
    assert counts.written == whole.num_rows > ROWS
    key: Any = [("left", "ascending"), ("right", "ascending")]
    assert parted.sort_by(key).to_pylist() == whole.sort_by(key).to_pylist()


def with_ends(table: pa.Table, seed: int) -> pa.Table:
    """Some rows are spans: most are short, a few go over many groups of rows, some end nobody knows when."""
    random = np.random.default_rng(seed)
    rows = table.num_rows
    length = np.where(random.random(rows) < 0.01, 500_000, random.integers(0, 3000, rows))
    kind = random.random(rows)
    is_event, is_unknown = kind < 0.2, (kind > 0.2) & (kind < 0.2005)
    for name in ("raw_ns", "earliest_ns", "latest_ns"):
        ends = table.column(name).to_numpy() + length
        is_null = is_event | (is_unknown & (name == "latest_ns"))
        table = table.append_column(f"end_{name}", pa.array(ends, mask=is_null))
    return table


@pytest.mark.parametrize("prefix", ["", "mixed-"])
@pytest.mark.parametrize("on", [(), ("key",)], ids=["", "key"])
def test_spans_that_overlap_in_parts_are_those_in_memory(
    files: Path, tmp_path: Path, on: tuple[str, ...], prefix: str
) -> None:
    names = ("left", "right")
    sides = [with_ends(pq.read_table(files / f"{prefix}{name}.parquet"), 3).slice(0, 2000) for name in names]
    for name, side in zip(names, sides, strict=True):
        pq.write_table(side, tmp_path / f"{name}.parquet", row_group_size=100)
    rules = OverlapRules(on, "left")
    counts, whole = joined(tmp_path, tmp_path / "whole.parquet", rules, 1 << 34)
    parted_counts, parted = joined(tmp_path, tmp_path / "parted.parquet", rules, LITTLE)
    assert parted_counts == counts
    assert counts.rows == 2000 == counts.certain + counts.possible + counts.none
    assert counts.certain and counts.possible and counts.written == whole.num_rows > 2000
    key: Any = [("left", "ascending"), ("right", "ascending")]
    assert parted.sort_by(key).to_pylist() == whole.sort_by(key).to_pylist()
    assert whole.to_pylist() == overlap_join(*sides, on=on, how="left").to_pylist()


@pytest.mark.parametrize("prefix", ["", "mixed-"])
def test_windows_in_parts_count_and_list_what_is_in_memory(files: Path, tmp_path: Path, prefix: str) -> None:
    rules = WindowRules(3_000, 500, ("key",))
    counts, whole = joined(files, tmp_path / "whole.parquet", rules, 1 << 34, prefix)
    parted_counts, parted = joined(files, tmp_path / "parted.parquet", rules, LITTLE, prefix)
    assert parted_counts == counts
    assert counts.rows == counts.written == ROWS and min(counts) > 0
    assert parted.sort_by("left").to_pylist() == whole.sort_by("left").to_pylist()
    sides = [pq.read_table(files / f"{prefix}{name}.parquet") for name in ("left", "right")]
    assert whole.to_pylist() == window_join(*sides, before_ns=3_000, after_ns=500, on="key").to_pylist()
    listed = WindowRules(3_000, 500, ("key",), all_matches=True, how="inner")
    _, pairs = joined(files, tmp_path / "pairs.parquet", listed, LITTLE, prefix)
    assert pairs.num_rows == pc.sum(whole["possible_count"]).as_py()


def test_a_failure_half_way_leaves_neither_a_result_nor_a_rest(files: Path, tmp_path: Path) -> None:
    damaged = bytearray((files / "left.parquet").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 5000] = bytes(5000)
    (tmp_path / "left.parquet").write_bytes(damaged)
    with pytest.raises((OSError, pa.ArrowInvalid)):
        join_files(
            JoinInput(tmp_path / "left.parquet"),
            JoinInput(files / "right.parquet"),
            JoinRules(),
            parquet_writer(tmp_path / "out.parquet", 1 << 34),
            memory_bytes=1 << 34,
            scratch=tmp_path,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["left.parquet"]


def test_what_is_no_parquet_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("time,value\n1,2\n")
    with pytest.raises(WrongTable, match=r"a\.parquet is no Parquet file"):
        JoinInput(tmp_path / "a.parquet").schema()


def test_a_result_of_many_matches_is_held_in_parts_that_fit_the_memory(tmp_path: Path) -> None:
    """Both joins that list all matches, as they are written: 200 rows of one time, 100 of another beside it."""
    for name, times in (("left", np.full(200, 10**18)), ("right", np.full(100, 10**18))):
        rows = {"earliest_ns": times - 9, "latest_ns": times + 9, "number": np.arange(len(times))}
        pq.write_table(
            pa.table({**rows, "text": [f"{number}" * 500 for number in range(len(times))]}),
            tmp_path / f"{name}.parquet",
        )
    left, right = (JoinInput(tmp_path / f"{name}.parquet") for name in ("left", "right"))
    for rules in (WindowRules(before_ns=50, after_ns=50, all_matches=True), JoinRules(all_matches=True)):
        sizes: list[int] = []
        pairs: list[pa.Table] = []

        def write(tables: Any, schema: pa.Schema, sizes: list[int] = sizes, pairs: list[pa.Table] = pairs) -> int:
            for table in tables:
                sizes.append(table.num_rows)
                pairs.append(table.select(["number", "number_right"]))
            return sum(sizes)

        counts = join_files(left, right, rules, write, memory_bytes=1 << 24, scratch=tmp_path)
        assert counts.written == 20_000
        assert max(sizes) <= 1 << 13
        listed = pa.concat_tables(pairs)
        assert np.array_equal(listed["number"], np.repeat(np.arange(200), 100))
        assert np.array_equal(listed["number_right"], np.tile(np.arange(100), 200))
