"""Lines that look alike give what the other ways give, whatever stands in them; or are left to those."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.timeline.readers import _json_lines
from coeval.timeline.readers._blocks import Block, text_lines
from coeval.timeline.readers._json_alike import JsonAlike, shape_of
from coeval.timeline.readers._json_lines import JsonLines, Objects

TYPES = {"ts": pa.string(), "n": pa.int64(), "x": pa.float64(), "ok": pa.bool_(), "é": pa.string()}

texts = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"\\'), max_size=9)
numbers = st.integers(-(10**17), 10**17) | st.integers(-20, 20) | st.sampled_from([10**7, 10**8, 10**15, 10**16 - 1])
rows = st.fixed_dictionaries(
    {"ts": texts, "n": numbers, "x": st.floats(-1e9, 1e9).map(lambda x: x + 0.5), "ok": st.booleans(), "é": texts}
)


def lines_of(written: list[bytes]) -> pa.StringArray:
    return text_lines(Block(b"".join(line + b"\n" for line in written), 0))[0]


def read(
    lines: pa.StringArray, only: set[str] | None = None, before: pa.StringArray | None = None, *, alike: bool
) -> tuple[Objects, dict[str, Any]]:
    with closing(JsonLines(TYPES, only=only)) as objects:
        objects._disappointments = 0 if alike else 10**9
        if before is not None:
            objects.read(before)
        return objects.read(lines), objects.types


def dumped(row: dict[str, Any], separators: tuple[str, str]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=separators).encode()


def by_shape(written: list[bytes], only: set[str] | None = None) -> pa.RecordBatch | None:
    """What the fast way alone makes of lines."""
    shape = shape_of(written[0])
    assert shape is not None
    return by_reader(JsonAlike(shape), written, only)


def by_reader(reader: JsonAlike, written: list[bytes], only: set[str] | None = None) -> pa.RecordBatch | None:
    data = np.frombuffer(b"".join(line + b"\n" for line in written), np.uint8)
    ends = np.flatnonzero(data == 10) + 1
    types = {name: kind for name, kind in TYPES.items() if only is None or name in only}
    return reader.read(data, np.insert(ends, 0, 0), types, only)


@given(st.lists(rows, min_size=16, max_size=40), st.sampled_from([(",", ":"), (", ", ": ")]), st.permutations([*TYPES]))
def test_lines_that_look_alike_hold_what_was_written(
    written: list[dict[str, Any]], separators: tuple[str, str], order: list[str]
) -> None:
    lines = [dumped({name: row[name] for name in order}, separators) for row in written]
    made = by_shape(lines)
    assert made is not None
    assert made.schema == pa.schema(TYPES)
    assert made.to_pylist() == [{name: row[name] for name in TYPES} for row in written]


@settings(max_examples=100)
@given(
    st.lists(rows, min_size=16, max_size=16),
    st.integers(0, 10**6),
    st.sampled_from([b'"', b"\\", b",", b"}", b"{", b" ", b"0", b"-", b"e", b".", b"null", b'""', b"\t", b"\r", b""]),
    st.integers(0, 3),
    st.sampled_from([None, {"ts"}, {"n", "é"}]),
    st.none() | st.lists(st.sampled_from([*TYPES]), max_size=5),
)
def test_a_byte_that_is_wrong_changes_nothing_beside_the_other_ways(
    written: list[dict[str, Any]],
    place: int,
    put: bytes,
    removed: int,
    only: set[str] | None,
    steady: list[str] | None,
) -> None:
    """Whether nothing was read before, or good lines in which some values are the same in all."""
    for row in written:
        row.update({name: written[0][name] for name in steady or ()})
    before = None if steady is None else lines_of([dumped(row, (",", ":")) for row in written])
    data = b"\n".join(dumped(row, (",", ":")) for row in written)
    place %= len(data)
    data = data[:place] + put + data[place + removed :]
    try:
        data.decode()
    except UnicodeDecodeError:
        return
    lines = text_lines(Block(data, 0))[0]
    fast, fast_types = read(lines, only, before, alike=True)
    slow, slow_types = read(lines, only, before, alike=False)
    assert fast.columns.schema == slow.columns.schema
    assert fast.columns.equals(slow.columns)
    assert fast.rows.tolist() == slow.rows.tolist()
    assert fast.odd == slow.odd
    assert fast_types == slow_types


@pytest.mark.parametrize(
    "line",
    [
        b'{"ts":"a","n":01}',
        b'{"ts":"a","n":1.5}',
        b'{"ts":"a","n":+1}',
        b'{"ts":"a","n":-}',
        b'{"ts":"a","n":12345678901234567890}',
        b'{"ts":"a","n":0x1}',
        b'{"ts":"a","n":-01}',
        b'{"ts":"a","n":1 }',
        b'{"ts":"a","n":"1"}',
        b'{"ts":"a","n":true}',
        b'{"ts":"a","n":null}',
        b'{"ts":"a" ,"n":1}',
        b'{"ts":"a","m":1}',
        b'{"ts":"a","n":1} ',
        b'{"ts":"\\u0041","n":1}',
        b'{"ts":"a\tb","n":1}',
        b'{"n":1,"ts":"a"}',
    ],
)
def test_a_line_that_is_not_like_the_others_is_left_to_the_other_ways(line: bytes) -> None:
    alike = [b'{"ts":"a","n":1}'] * 20
    assert by_shape(alike) is not None
    for at in (1, 10, 19):
        assert by_shape([*alike[:at], line, *alike[at:]]) is None
        assert by_shape([*alike[:at], line, *alike[at:]], {"ts"}) is None or b"." in line or b"567890" in line


@given(st.lists(rows, min_size=16, max_size=20), st.sets(st.sampled_from([*TYPES])), st.none() | st.just({"ts", "n"}))
def test_lines_that_look_alike_have_the_types_that_the_other_ways_find(
    written: list[dict[str, Any]], as_times: set[str], only: set[str] | None
) -> None:
    for number, row in enumerate(written):
        row.update(dict.fromkeys(as_times, f"2026-11-27 09:00:{number:02}"))
    lines = lines_of([dumped({name: row[name] for name in TYPES}, (",", ":")) for row in written])
    found = []
    for disappointments in (0, 10**9):
        with closing(JsonLines(only=only)) as objects:
            objects._disappointments = disappointments
            found.append((objects.read(lines).columns, objects.types))
    (fast, fast_types), (slow, slow_types) = found
    assert fast_types == slow_types
    # Arrow puts texts that look like times first.
    assert fast.select(slow.schema.names).equals(slow)


def test_types_of_lines_that_look_alike_are_found_at_once() -> None:
    with closing(JsonLines()) as objects:
        objects.read(lines_of([b'{"ts":"2026-11-27 09:00:00","n":1,"ok":true}'] * 20))
        assert objects.types == {"ts": pa.string(), "n": pa.int64(), "ok": pa.bool_()}
        assert objects._disappointments == 0
        assert objects._reader is not None


@pytest.mark.parametrize("first", [0, 1, 7, 60, 5000])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), ("," + " " * 70, ":" + " " * 90)])
def test_values_may_be_much_shorter_or_longer_than_in_the_first_line(first: int, separators: tuple[str, str]) -> None:
    lengths = [first, *range(40), 300, 9, 0]
    written = [{"é": "x" * n, "n": n, "ts": "é" * n, "ok": True, "x": n + 0.5} for n in lengths]
    made = by_shape([dumped(row, separators) for row in written])
    assert made is not None
    assert made.select(["é", "n", "ts", "ok", "x"]).to_pylist() == written


@given(
    st.lists(st.lists(rows, min_size=1, max_size=8), min_size=2, max_size=5),
    st.lists(st.sampled_from([*TYPES]), max_size=5),
)
def test_what_had_one_length_in_the_blocks_before_may_have_others_later(
    blocks: list[list[dict[str, Any]]], steady: list[str]
) -> None:
    """Values are walked over as if they kept their length, and read right when they do not."""
    head = blocks[0][0]
    # In the first blocks only some values change.
    for block in blocks[:-1]:
        for row in block:
            row.update({name: head[name] for name in steady})
    shape = shape_of(dumped({name: head[name] for name in TYPES}, (",", ":")))
    assert shape is not None
    reader = JsonAlike(shape)
    for block in blocks:
        made = by_reader(reader, [dumped({name: row[name] for name in TYPES}, (",", ":")) for row in block])
        assert made is not None
        assert made.to_pylist() == block


@pytest.mark.parametrize("line", [b'{"ts":"aa"x,"n":1}', b'{"ts":"a""n":1}', b'{"ts":"aaaa,"n":1}', b'{"ts":"",n":1}'])
def test_a_line_that_is_not_like_the_others_is_noticed_where_lengths_were_the_same(line: bytes) -> None:
    alike = [b'{"ts":"aaa","n":1}'] * 20
    shape = shape_of(alike[0])
    assert shape is not None
    reader = JsonAlike(shape)
    for _ in range(2):
        assert by_reader(reader, alike) is not None
    assert by_reader(reader, [*alike, line]) is None
    assert by_reader(reader, alike) is not None


@pytest.mark.parametrize("line", [b'{"a":{}}', b'{"a":[1]}', b'{"a":null}', b'{"a":1,"a":2}', b"[]", b"{}", b'{"a":1'])
def test_a_line_of_other_values_has_no_shape(line: bytes) -> None:
    assert shape_of(line) is None


def test_lines_that_differ_again_and_again_are_no_longer_tried() -> None:
    lines = lines_of([b'{"ts":"a","n":1}', b'{"n":1,"ts":"a"}'] * 20)
    with closing(JsonLines(TYPES)) as objects:
        for _ in range(50):
            assert objects.read(lines).columns.num_rows == 40
        assert objects._disappointments == _json_lines._DISAPPOINTMENTS_MAX + 1


@pytest.mark.parametrize("only", [None, {"ts"}])
def test_a_null_before_all_objects_is_set_aside(only: set[str] | None) -> None:
    found, _ = read(lines_of([b"null", *([b'{"ts":"a","n":1}'] * 20)]), only, alike=True)
    assert found.odd == [(0, "is no JSON object")]
    assert found.columns.column("ts").to_pylist() == ["a"] * 20
