"""Joins of tables: columns, keys, order, and what is refused."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from coeval.errors import DifferentClocks, WrongTable
from coeval.timeline.join import join, with_bounds

MS = 10**6
SECOND = 10**9


def table(times: list[int | None], bound: int = 0, **columns: Any) -> pa.Table:
    return pa.table(
        {
            "earliest_ns": pa.array([None if t is None else t - bound for t in times], pa.int64()),
            "estimate_ns": pa.array(times, pa.int64()),
            "latest_ns": pa.array([None if t is None else t + bound for t in times], pa.int64()),
            **columns,
        }
    )


def stream(count: int, period: int, start: int, clock: str, offset: int, bound: int, value: int) -> pa.Table:
    """A sensor: readings at regular true times, stamped by a clock that is `offset` ahead, corrected within `bound`."""
    true = start + np.arange(count, dtype=np.int64) * period
    estimate = true + np.resize([bound // 2, -bound // 3, 0], count)
    return pa.table(
        {
            "earliest_ns": estimate - bound,
            "estimate_ns": estimate,
            "latest_ns": estimate + bound,
            "raw_ns": true + offset,
            "clock": [clock] * count,
            "number": np.arange(count) + value,
        }
    )


@pytest.mark.parametrize("direction", ["backward", "nearest"])
def test_pairs_of_two_20_hz_streams_are_those_of_the_true_times_though_the_clocks_are_100_ms_apart(
    direction: Any,
) -> None:
    period, bound = 50 * MS, MS
    # 100 ms apart: by raw stamps every pair would be wrong by two readings.
    camera = stream(400, period, 10**18, "camera", 0, bound, 0)
    lidar = stream(400, period, 10**18 - 7 * MS, "lidar", 100 * MS, bound, 1000)
    joined = join(camera, lidar, direction=direction, within_ns=20 * MS)
    assert joined["verdict"].to_pylist() == ["certain"] * 400
    assert joined["number_right"].to_pylist() == [1000 + number for number in range(400)]


def test_pairs_that_are_nearer_than_the_bounds_are_only_possible() -> None:
    bound = 2 * MS
    camera = stream(400, 50 * MS, 10**18, "camera", 0, bound, 0)
    # Half of the lidar's readings are 1 ms before the camera's, the others 20 ms.
    lidar = stream(400, 50 * MS, 10**18 - MS, "lidar", 100 * MS, bound, 1000)
    joined = join(camera, lidar, direction="backward", within_ns=20 * MS)
    assert joined["verdict"].to_pylist() == ["possible"] * 400
    # The estimates may turn the order round, and then there is none in the tolerance: the row is shown all the same.
    assert joined["number_right"].to_pylist() == [1000 + number for number in range(400)]
    nearest = join(camera, lidar, direction="nearest", within_ns=20 * MS)
    assert nearest["verdict"].to_pylist() == ["certain"] * 400


def test_the_result_has_the_left_rows_in_their_order_and_both_tables_columns() -> None:
    left = table([30, 10, 20], key=["a", "b", "a"], value=[1, 2, 3])
    right = table([5, 15, 8], key=["a", "a", "b"], value=[7, 8, 9])
    joined = join(left, right, on="key")
    assert joined.column_names == [
        "earliest_ns",
        "estimate_ns",
        "latest_ns",
        "key",
        "value",
        "earliest_ns_right",
        "estimate_ns_right",
        "latest_ns_right",
        "value_right",
        "verdict",
        "matches_possible",
    ]
    assert joined["value"].to_pylist() == [1, 2, 3]
    assert joined["value_right"].to_pylist() == [8, 9, 8]
    assert joined["verdict"].to_pylist() == ["certain"] * 3
    assert joined["matches_possible"].to_pylist() == [1] * 3


def test_a_name_that_is_taken_gets_a_suffix_until_it_is_free() -> None:
    left = table([10], value=[1], value_right=[2], verdict=["own"])
    joined = join(left, table([5], value=[3]))
    assert joined["verdict"].to_pylist() == ["own"]
    assert joined["verdict_"].to_pylist() == ["certain"]
    assert joined["value_right_right"].to_pylist() == [3]


def test_inner_leaves_out_the_unmatched_and_left_keeps_them_with_nulls() -> None:
    left, right = table([10, 100], value=[1, 2]), table([9], other=[5])
    kept = join(left, right, within_ns=3)
    assert kept["other"].to_pylist() == [5, None]
    assert kept["verdict"].to_pylist() == ["certain", "none"]
    assert join(left, right, within_ns=3, how="inner")["value"].to_pylist() == [1]


def test_all_matches_lists_each_possible_one_and_what_has_none() -> None:
    left, right = table([10, 100], 3, value=[1, 2]), table([8, 9, 50], 3, other=[5, 6, 7])
    listed = join(left, right, within_ns=10, all_matches=True)
    assert list(zip(listed["value"].to_pylist(), listed["other"].to_pylist(), strict=True)) == [
        (1, 5),
        (1, 6),
        (2, None),
    ]
    assert listed["verdict"].to_pylist() == ["possible", "possible", "none"]
    inner = join(left, right, within_ns=10, all_matches=True, how="inner")
    assert inner["other"].to_pylist() == [5, 6]


@pytest.mark.parametrize(
    ("left_keys", "right_keys"),
    [
        ([1, 2, None, 3], [2, None, 1, 1]),
        ([-(2**62), 2**62, None, 0], [2**62, None, -(2**62), -(2**62)]),
        (["x", "y", None, "z"], ["y", None, "x", "x"]),
        ([b"x", b"y", None, b"z"], [b"y", None, b"x", b"x"]),
        ([True, False, None, None], [False, None, True, True]),
        ([1.5, 2.5, None, 9.0], [2.5, None, 1.5, 1.5]),
    ],
)
def test_equal_keys_match_and_null_ones_never(left_keys: list[Any], right_keys: list[Any]) -> None:
    left, right = table([10] * 4, key=left_keys), table([1, 2, 3, 4], key=right_keys, number=[0, 1, 2, 3])
    assert join(left, right, on="key")["number"].to_pylist() == [3, 0, None, None]


def test_several_key_columns_must_all_be_equal() -> None:
    left = table([10] * 4, a=["x", "x", "y", None], b=[1, 2, 1, 1])
    right = table([1, 2, 3, 4], a=["x", "y", "x", None], b=[1, 1, 3, 1], number=[0, 1, 2, 3])
    assert join(left, right, on=["a", "b"])["number"].to_pylist() == [0, None, 1, None]


def test_wide_combinations_of_keys_are_told_apart() -> None:
    count = 5000
    a, b = [f"host{n}" for n in range(count)], [n * 10**12 for n in range(count)]
    left = table([10] * count, a=a, b=b)
    right = table([1] * count, a=a[::-1], b=b[::-1], number=list(range(count))[::-1])
    assert join(left, right, on=["a", "b"])["number"].to_pylist() == list(range(count))


def test_dictionary_and_plain_text_and_integers_of_any_size_are_one_kind_of_key() -> None:
    left = table([10, 10], key=pa.array(["a", "b"]).dictionary_encode(), size=pa.array([1, 2], pa.int8()))
    right = table([1, 2], key=pa.array(["b", "a"], pa.large_string()), size=pa.array([2, 1], pa.int64()), number=[0, 1])
    assert join(left, right, on=["key", "size"])["number"].to_pylist() == [1, 0]


def test_keys_of_two_types_are_refused() -> None:
    with pytest.raises(WrongTable, match="'key' is string on the left and int64 on the right"):
        join(table([1], key=["1"]), table([1], key=[1]), on="key")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_missing_key_or_bound_is_refused_by_name(side: str) -> None:
    good, without_key = table([1], key=[1]), table([1])
    pair = (without_key, good) if side == "left" else (good, without_key)
    with pytest.raises(WrongTable, match=f"the {side} table has no column 'key'"):
        join(*pair, on="key")
    bare = pa.table({"time": pa.array([1], pa.timestamp("ns", "UTC"))})
    pair = (bare, good) if side == "left" else (good, bare)
    with pytest.raises(WrongTable, match=rf"the {side} table has no column 'earliest_ns'.*--bound 2ms"):
        join(*pair)


def test_times_on_two_references_do_not_compare() -> None:
    def on(reference: str) -> pa.Table:
        return table([1]).replace_schema_metadata({"coeval.reference": reference, "coeval.reference_label": reference})

    with pytest.raises(DifferentClocks, match="count on utc, the right one's on web"):
        join(on("utc"), on("web"))
    assert join(on("utc"), on("utc"))["verdict"].to_pylist() == ["certain"]


def test_bounds_that_are_crossed_are_refused_with_their_row() -> None:
    wrong = pa.table({"earliest_ns": [1, 5], "latest_ns": [2, 4]})
    with pytest.raises(WrongTable, match="row 2 is at 5 at the earliest and at 4 at the latest"):
        join(wrong, table([1]))


@pytest.mark.parametrize(
    "settings", [{"direction": "sideways"}, {"how": "outer"}, {"within_ns": -1}, {"within_ns": 1 << 62}]
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        join(table([1]), table([1]), **settings)


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
def test_unsorted_tables_give_the_same_matches(direction: Any) -> None:
    random = np.random.default_rng(5)
    count = 3000
    true = np.sort(random.integers(0, 10**7, 2 * count))
    keys = random.integers(0, 20, 2 * count)
    clocks = random.integers(0, 3, 2 * count)
    names = np.array(["a", "b", "c"])[clocks]
    # Bounds differ from clock to clock and are the same within each, so that none contradicts its order.
    rows = pa.table(
        {
            "earliest_ns": true - 300 * (1 + clocks),
            "estimate_ns": true,
            "latest_ns": true + 300 * (1 + clocks),
            "raw_ns": true + 10**6 * clocks,
            "clock": names,
            "key": keys,
            "number": np.arange(2 * count),
        }
    )
    left, right = rows.take(np.arange(0, 2 * count, 2)), rows.take(np.arange(1, 2 * count, 2))
    settings: dict[str, Any] = {"on": "key", "direction": direction, "within_ns": 40_000}
    expected = join(left, right, **settings)
    mixed_left = left.take(random.permutation(count))
    mixed = join(mixed_left, right.take(random.permutation(count)), **settings)
    assert mixed.column("number").to_pylist() == mixed_left.column("number").to_pylist()
    kept = ["number", "number_right", "verdict", "matches_possible"]
    assert mixed.select(kept).sort_by("number").to_pylist() == expected.select(kept).to_pylist()
    assert len(set(expected["verdict"].to_pylist())) == 3


def test_a_row_of_unknown_time_may_be_anywhere_and_an_estimate_is_not_needed() -> None:
    left = table([None, 10]).drop(["estimate_ns"])
    right = table([5, 8], number=[0, 1]).drop(["estimate_ns"])
    joined = join(left, right)
    assert joined["verdict"].to_pylist() == ["possible", "certain"]
    assert joined["matches_possible"].to_pylist() == [2, 1]
    assert joined["number"].to_pylist()[1] == 1


def test_times_beyond_what_can_be_subtracted_are_refused() -> None:
    with pytest.raises(WrongTable, match="less than 146 years"):
        join(table([1]), table([-(2**62), 2**62]))


@pytest.mark.parametrize("direction", ["backward", "forward", "nearest"])
@pytest.mark.parametrize("years", [-250, -80, 80, 250])
def test_verdicts_are_the_same_far_from_1970(direction: Any, years: int) -> None:
    away = years * 365 * 24 * 3600 * SECOND
    settings: dict[str, Any] = {"direction": direction, "within_ns": 15}

    def verdicts(shift: int) -> list[tuple[Any, ...]]:
        left, right = [0, 10, None, 40, 128, 200], [4, 9, 80, 120, 136, 198]
        joined = join(
            table([None if t is None else t + shift for t in left], 3),
            table([None if t is None else t + shift for t in right], 2, number=list(range(6))),
            **settings,
        )
        return list(zip(*(joined[name].to_pylist() for name in ("verdict", "matches_possible", "number")), strict=True))

    assert verdicts(away) == verdicts(0)
    assert {verdict for verdict, *_ in verdicts(0)} == {"certain", "possible", "none"}


def test_a_left_row_beyond_what_can_be_subtracted_is_not_within_a_tolerance() -> None:
    years = 365 * 24 * 3600 * SECOND
    joined = join(table([130 * years]), table([70 * years]), within_ns=10 * years)
    assert joined["verdict"].to_pylist() == ["none"]


def test_a_bare_column_of_times_gets_bounds_around_it() -> None:
    at = datetime.datetime(2026, 9, 21, tzinfo=datetime.UTC)
    bare = pa.table({"seen": pa.array([at, None], pa.timestamp("us", "UTC")), "n": [1, 2]})
    bounded = with_bounds(bare, 2 * MS)
    ns = int(at.timestamp()) * SECOND
    assert bounded["earliest_ns"].to_pylist() == [ns - 2 * MS, None]
    assert bounded["latest_ns"].to_pylist() == [ns + 2 * MS, None]
    for wrong, reason in (
        (pa.table({"n": [1]}), "one column of times"),
        (pa.table({"time": pa.array([at], pa.timestamp("us"))}), "no zone"),
        (pa.table({"time": ["noon"]}), "expected a timestamp"),
        (table([1]), "already"),
    ):
        with pytest.raises(WrongTable, match=reason):
            with_bounds(wrong, 1)
