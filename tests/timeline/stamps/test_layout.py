"""What is read many at a time is what would be read alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coeval.timeline.stamps._forms import PATTERNS, read_stamp
from coeval.timeline.stamps._layout import PADDING, layout_of, read_alike
from coeval.timeline.stamps._texts import Shapes
from coeval.timeline.stamps._written import GOOD, Written

FORMS = tuple(PATTERNS)
SHAPES = [
    "2026-11-05T12:34:56",
    "2026-11-05 12:34:56.123Z",
    "2026-11-05T12:34:56,123456+01:00",
    "2026-11-05 12:34:56.1 -0530",
    "2026-11-05 12:34:56 UTC",
    "2026-11-05 12:34:56+01",
    "20261105T123456.25Z",
    "2026/11/05 12:34:56.123456",
    "05/Nov/2026:12:34:56 +0100",
    "Nov  5 12:34:56",
    "Nov 15 2026 12:34:56",
    "05 Nov 2026 12:34:56,123",
    "Thu Nov  5 12:34:56 2026",
    "1793882096",
    "1793882096.123",
    "1793882096123",
    "1793882096123456",
]


def row(written: Written, number: int) -> tuple[Any, ...]:
    return tuple(column[number].item() for column in written)


def alone(line: bytes, prefix: bytes) -> tuple[Any, ...] | None:
    """The stamp that a line begins with, as it is found and read one at a time."""
    pattern = re.compile(re.escape(prefix) + b"(?P<time>" + "|".join(PATTERNS.values()).encode() + b")")
    found = pattern.match(line)
    if found is None:
        return None
    return (*read_stamp(found["time"].decode(), FORMS), *found.span("time"))


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A line with a stamp, another that is almost like it, and what stands before the stamp of the first."""
    prefix = draw(st.sampled_from([b"", b"[", b"<13>"]))
    line = prefix + draw(st.sampled_from(SHAPES)).encode()
    rest = draw(
        st.sampled_from([b"", b" x", b".5", b",", b"7", b"Z", b" -", b" +0100", b" GMT", b":5", b"]\r", b"\xff"])
    )
    other = bytearray(line + rest)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(other) - 1))
        other[place] = draw(st.sampled_from(b"0123456789:.,+-TZ /JanFebMarNov[\x00\xe9"))
    return line, bytes(other), prefix


@given(mutated())
@example((b"2026-11-05T12:34:56Z", b"2024-02-29T23:59:59Z", b""))
@example((b"2026-11-05T12:34:56Z", b"2016-12-31T23:59:60Z", b""))
@example((b"1793882096123", b"0000000000017", b""))
def test_line_of_a_known_shape_is_read_as_it_would_be_alone(drawn: tuple[bytes, bytes, bytes]) -> None:
    line, other, prefix = drawn
    layout = layout_of(line, len(prefix), len(line), FORMS)
    assert layout is not None
    data = np.frombuffer(line + b"\n" + other + b"\n" + bytes(PADDING), np.uint8)
    begins = np.array([0, len(line) + 1])
    fits, written = read_alike(layout, data, begins, begins + np.array([len(line), len(other)]))
    assert fits[0]
    assert row(written, 0) == alone(line, prefix)
    if fits[1]:
        assert row(written, 1) == alone(other, prefix)


@pytest.mark.parametrize("text", SHAPES)
def test_shape_is_enough_for_other_stamps_like_it(text: str) -> None:
    layout = layout_of(text.encode(), 0, len(text), FORMS)
    assert layout is not None
    other = re.sub("34", "07", text)
    data = np.frombuffer(other.encode() + bytes(PADDING), np.uint8)
    fits, written = read_alike(layout, data, np.array([0]), np.array([len(other)]))
    assert fits.all()
    assert row(written, 0)[:-2] == tuple(read_stamp(other, FORMS))


@given(
    st.lists(st.sampled_from([*SHAPES, "", "x", "2026-02-30 00:00:00", "2016-12-31T23:59:60Z", "1793882096123456789"]))
)
def test_column_of_texts_is_read_as_each_would_be(texts: list[str]) -> None:
    written = Shapes(FORMS).read_texts(pa.array(texts, pa.string()))
    for number, text in enumerate(texts):
        one = read_stamp(text, FORMS)
        assert row(written, number)[0] == one.state
        if one.state == GOOD:
            assert row(written, number)[:-2] == tuple(one)


def test_column_may_be_a_slice_and_have_nothing_in_it() -> None:
    column = pa.array(["x", "1793882096", None, "1793882097"]).slice(1)
    written = Shapes(FORMS).read_texts(column)
    assert written.state.tolist() == [1, 0, 1]
    assert len(Shapes(FORMS).read_texts(pa.array([], pa.string())).state) == 0


@given(
    st.sampled_from(SHAPES),
    st.lists(
        st.lists(st.tuples(st.integers(0, 30), st.sampled_from("0123456789:.,+-TZ /n")), max_size=2),
        min_size=1,
        max_size=20,
    ),
    st.integers(0, 2),
)
def test_column_of_texts_of_a_known_length_is_read_as_each_would_be(
    shape: str, changes: list[list[tuple[int, str]]], left_out: int
) -> None:
    texts = [shape] * left_out
    for each in changes:
        letters = list(shape)
        for place, letter in each:
            letters[place % len(letters)] = letter
        texts.append("".join(letters))
    shapes = Shapes(FORMS)
    assert shapes.learn(shape.encode(), 0, len(shape))
    written = shapes.read_texts(pa.array(texts, pa.string()).slice(left_out))
    for number, text in enumerate(texts[left_out:]):
        one = read_stamp(text, FORMS)
        assert row(written, number)[0] == one.state
        if one.state == GOOD:
            assert row(written, number)[:-2] == tuple(one)
