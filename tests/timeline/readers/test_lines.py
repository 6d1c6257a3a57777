from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.readers import _lines
from coeval.timeline.readers._lines import LineBlocks

CONTENTS = st.lists(st.sampled_from([b"a", b"bb\r", b"\n", b"\n", b"\0", b"\xff", b"long" * 9])).map(b"".join)


def owned(content: bytes, start: int, stop: int | None, block_bytes: int) -> list[bytes]:
    """The lines of a part; those of the next are asked for as well, and left."""
    blocks = LineBlocks(io.BytesIO(content), start, stop, block_bytes)
    lines: list[bytes] = []
    while (block := blocks.next()) is not None:
        assert not block.data[block.size :].any()
        every = [block.data[begin:end].tobytes() for begin, end in zip(block.begins, block.ends, strict=True)]
        lines += every[: block.own]
        if block.own < len(every):
            break
    assert not blocks.problems
    return lines


def lines_of(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\n").split(b"\n") if content else []


@given(CONTENTS, st.integers(1, 40), st.integers(1, 40))
def test_every_line_belongs_to_exactly_one_part_whatever_the_blocks(content: bytes, size: int, block: int) -> None:
    starts = list(range(0, max(1, len(content)), size))
    stops = [*starts[1:], None]
    lines = [line for start, stop in zip(starts, stops, strict=True) for line in owned(content, start, stop, block)]
    assert lines == lines_of(content)


@given(CONTENTS, st.integers(1, 40), st.integers(0, 3))
def test_lines_that_are_kept_come_again_before_the_others(content: bytes, block_bytes: int, kept: int) -> None:
    blocks = LineBlocks(io.BytesIO(content), 0, None, block_bytes)
    lines: list[bytes] = []
    keep = b""
    for _ in range(1000):
        block = blocks.next(keep)
        if block is None:
            break
        every = [block.data[begin:end].tobytes() for begin, end in zip(block.begins, block.ends, strict=True)]
        held = 0 if block.is_last else min(kept, len(every))
        keep = block.data[block.begins[-held] : block.size].tobytes() if held else b""
        lines += every[: len(every) - held]
    lines += keep.split(b"\n")[:-1]
    assert lines == lines_of(content)


def test_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert owned(b"\xef\xbb\xbfa\nb\n", 0, None, 100) == [b"a", b"b"]


def test_line_beyond_all_measure_is_cut_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lines, "LINE_BYTES_MAX", 50)
    blocks = LineBlocks(io.BytesIO(b"a\n" + b"x" * 300 + b"\nb\nc"), 0, None, 20)
    lines = []
    while (block := blocks.next()) is not None:
        lines += [block.data[begin:end].tobytes() for begin, end in zip(block.begins, block.ends, strict=True)]
    assert [lines[0], *lines[2:]] == [b"a", b"b", b"c"]
    assert 50 < len(lines[1]) < 200
    assert len(blocks.problems) == 1


class Damaged(io.BytesIO):
    """Ends with an error, as a compressed file does that was cut."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = super().readinto(buffer)
        if not got:
            raise EOFError("the end is missing")
        return got


def test_damaged_file_gives_its_whole_lines_and_says_what_happened() -> None:
    blocks = LineBlocks(Damaged(b"a\nb\nhalf a li"), 0, None, 100)
    block = blocks.next()
    assert block is not None
    assert len(block.begins) == 2
    assert blocks.next() is None
    [problem] = blocks.problems
    assert "the end is missing" in problem


@given(st.lists(st.sampled_from([b"\n", b"\n\n", b"abc", b"a line of many bytes", b"\x01\x0b\0"])).map(b"".join))
def test_line_ends_are_where_their_bytes_are(content: bytes) -> None:
    found = _lines.line_ends(np.frombuffer(content, np.uint8))
    assert found.tolist() == [place for place, byte in enumerate(content) if byte == 10]


@given(
    content=st.lists(st.sampled_from([b"\n", b"abc", b"a line of many bytes"])).map(b"".join), size=st.integers(1, 4)
)
def test_line_ends_are_the_same_however_much_is_looked_at_at_once(content: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lines, "_AT_ONCE_BYTES", 8 * size)
        found = _lines.line_ends(np.frombuffer(content, np.uint8))
    assert found.tolist() == [place for place, byte in enumerate(content) if byte == 10]
