"""Clocks related by tables from anyone: the known answer, the same from every kind of table, and what was decided."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval import ClockId, RelatedClocks, relate_clocks
from coeval.errors import WrongTable

T0 = 1_790_000_000_000_000_007
AHEAD_NS = 5_000_000
THERE_NS, BACK_NS = 100_003, 200_011
# Outward, for the steps of the arithmetic.
ROUNDING_NS = 3

Columns = dict[str, list[Any]]

# b is 5 ms ahead of a; the fastest message there takes 100 003 ns, the fastest back 200 011 ns.
MESSAGES: Columns = {
    "id": ["ask", "answer", "ask again"],
    "sender": ["a", "b", "a"],
    "receiver": ["b", "a", "b"],
    "sent_ns": [T0, T0 + AHEAD_NS + 300_000, T0 + 1_000_000],
    "received_ns": [T0 + AHEAD_NS + THERE_NS, T0 + 300_000 + BACK_NS, T0 + 1_000_000 + AHEAD_NS + 400_000],
}
STAMPS: Columns = {"what": ["order", "late", "else"], "clock": ["b", "a", "z"], "reading_ns": [T0 + AHEAD_NS, T0, 7]}


def without_drift(messages: Any, **options: Any) -> RelatedClocks:
    return relate_clocks(messages, rate_bound_ppm=0, **options)


def column(table: pa.Table, name: str) -> list[int | None]:
    values: list[int | None] = table[name].to_pylist()
    return values


def test_a_stamp_lies_between_the_fastest_message_there_and_the_fastest_back() -> None:
    placed = without_drift(MESSAGES, reference="a").place(STAMPS)
    assert placed.column_names == ["what", "clock", "reading_ns", "earliest_ns", "estimate_ns", "latest_ns"]
    assert placed.select(["what", "clock", "reading_ns"]).to_pydict() == STAMPS
    earliest, latest = column(placed, "earliest_ns")[0], column(placed, "latest_ns")[0]
    assert earliest is not None
    assert latest is not None
    assert 0 <= (T0 - THERE_NS) - earliest <= ROUNDING_NS
    assert 0 <= latest - (T0 + BACK_NS) <= ROUNDING_NS
    assert [column(placed, name)[1] for name in ("earliest_ns", "estimate_ns", "latest_ns")] == [T0, T0, T0]
    assert [column(placed, name)[2] for name in ("earliest_ns", "estimate_ns", "latest_ns")] == [None, None, None]


def test_the_reference_is_the_clock_with_most_messages_or_the_one_that_is_asked_for() -> None:
    star = {**MESSAGES, "sender": ["a", "b", "c"], "receiver": ["b", "c", "b"]}
    assert relate_clocks(star).alignment.reference_clock == "b"
    assert not relate_clocks(star).reference_given
    assert relate_clocks(MESSAGES).alignment.reference_clock == "a", "among equals the first"
    assert relate_clocks(star, reference="c").alignment.reference_clock == "c"
    with pytest.raises(ValueError, match="clock 'd' is in no message; the clocks are a, b, c"):
        relate_clocks(star, reference="d")


def test_anchors_make_it_utc() -> None:
    anchors = {"clock": ["b"], "reading_ns": [T0], "earliest_ns": [T0 - 1000], "latest_ns": [T0 + 1000]}
    clocks = without_drift(MESSAGES, anchors=anchors)
    assert clocks.reference == "utc"
    (least,), (greatest,) = (
        column(clocks.place({"clock": ["b"], "reading_ns": [T0]}), name) for name in ("earliest_ns", "latest_ns")
    )
    assert least is not None
    assert greatest is not None
    assert T0 - 1000 - ROUNDING_NS <= least <= T0 - 1000
    assert T0 + 1000 <= greatest <= T0 + 1000 + ROUNDING_NS


def test_clocks_that_no_message_links_stay_apart_and_what_is_one_sided_is_unknown_on_the_other_side() -> None:
    apart = {
        "sender": ["a", "a", "x"],
        "receiver": ["b", "b", "y"],
        "sent_ns": [T0, T0 + 11, T0],
        "received_ns": [T0 + 5, T0 + 17, T0],
    }
    clocks = without_drift(apart, reference="a")
    assert clocks.verdict.components == (("a", "b"), ("x", "y"))
    placed = clocks.place({"clock": ["b", "x"], "reading_ns": [T0, T0]})
    assert column(placed, "earliest_ns")[0] is not None
    assert (column(placed, "latest_ns"), column(placed, "earliest_ns")[1]) == ([None, None], None)


def test_the_grain_of_stamps_is_seen_and_widens_and_what_is_given_goes_before() -> None:
    count = 40
    sent = (T0 + np.random.default_rng(1).integers(0, 10**12, count)).tolist()
    cut = {
        "sender": ["a"] * count,
        "receiver": ["b"] * count,
        "sent_ns": sent,
        "received_ns": [(stamp + 2_000_000) // 10**6 * 10**6 for stamp in sent],
    }
    seen = relate_clocks(cut)
    assert {clock: tuple(grain) for clock, grain in seen.grains.items()} == {"b": (10**6, "detected")}
    assert set(seen.messages.receiver_resolution_ns.tolist()) == {10**6}
    assert set(seen.messages.sender_resolution_ns.tolist()) == {0}
    exact = relate_clocks(cut, resolutions_ns={"b": 0})
    assert tuple(exact.grains[ClockId("b")]) == (0, "given")
    assert set(exact.messages.receiver_resolution_ns.tolist()) == {0}
    by_table = relate_clocks({**cut, "receiver_resolution_ns": [1000] * count})
    assert ClockId("b") not in by_table.grains
    assert set(by_table.messages.receiver_resolution_ns.tolist()) == {1000}
    overruled = relate_clocks({**cut, "receiver_resolution_ns": [1000] * count}, resolutions_ns={"b": 5})
    assert set(overruled.messages.receiver_resolution_ns.tolist()) == {5}


def test_readings_in_several_units_are_refused_with_where_they_stand() -> None:
    mixed = {**MESSAGES, "sent_ns": [T0 // 10**9, *MESSAGES["sent_ns"][1:]]}
    mixed["sender"], mixed["receiver"] = ["a", "a", "a"], ["b", "b", "b"]
    with pytest.raises(
        WrongTable, match=r"clock a has readings from 1790000000 \(messages row 1\) to .*, 56 years apart"
    ):
        relate_clocks(mixed)


def test_without_a_message_there_is_nothing_to_relate() -> None:
    none: Columns = {name: [] for name in MESSAGES}
    with pytest.raises(WrongTable, match="messages holds no message"):
        relate_clocks(none)
    with pytest.raises(
        WrongTable, match=r"none of the 1 messages .* can be used; the first: messages row 1: sender is missing"
    ):
        relate_clocks({"sender": [None], "receiver": ["b"], "sent_ns": [1], "received_ns": [2]})
    with pytest.raises(WrongTable, match="has a column latest_ns already"):
        relate_clocks(MESSAGES).place({**STAMPS, "latest_ns": [1, 2, 3]})


def test_a_stamp_that_cannot_be_read_keeps_its_row(tmp_path: Path) -> None:
    path = tmp_path / "stamps.csv"
    path.write_text(f"clock,reading_ns,note\nb,{T0},x\nb,soon,y\n,5,\n\na,{T0},z\n")
    placed = relate_clocks(MESSAGES).place(path)
    assert placed["note"].to_pylist() == ["x", "y", None, "z"]
    assert placed["reading_ns"].to_pylist() == [str(T0), "soon", "5", str(T0)]
    assert [value is None for value in column(placed, "estimate_ns")] == [False, True, True, False]


CLOCKS = st.sampled_from(["a", "b", "c ü"])
READINGS = st.integers(-(2**59), 2**59)
ROWS = st.tuples(
    CLOCKS, CLOCKS, READINGS, READINGS, st.integers(0, 10**9), st.booleans(), st.sampled_from(["", "q, 1"])
)
NAMES = ("sender", "receiver", "sent_ns", "received_ns", "receiver_resolution_ns", "hard", "id")


@settings(deadline=None, max_examples=40)
@given(st.lists(ROWS, min_size=1, max_size=30), st.lists(st.tuples(CLOCKS, READINGS), max_size=10))
def test_csv_parquet_and_columns_give_identical_numbers(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], stamps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("same")
    columns = {name: list(values) for name, values in zip(NAMES, zip(*rows, strict=True), strict=True)}
    stamp_columns = {"clock": [clock for clock, _ in stamps], "reading_ns": [reading for _, reading in stamps]}
    stamp_table = pa.table(
        {
            "clock": pa.array(stamp_columns["clock"], pa.string()),
            "reading_ns": pa.array(stamp_columns["reading_ns"], pa.int64()),
        }
    )
    pq.write_table(pa.table(columns), folder / "m.parquet")
    with open(folder / "m.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(NAMES)
        writer.writerows(rows)
    arrays = {name: np.array(values) for name, values in columns.items()}
    results = []
    for table in (folder / "m.csv", folder / "m.parquet", columns, arrays, pa.table(columns)):
        clocks = relate_clocks(table)
        results.append(
            (clocks.place(stamp_table).to_pydict(), clocks.reference, clocks.verdict.components, clocks.grains)
        )
    assert all(result == results[0] for result in results[1:])
