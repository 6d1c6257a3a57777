from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.engines.local._frames import FrameReader, frame, read_frame, write_frame

MESSAGES = st.lists(st.one_of(st.binary(max_size=300), st.tuples(st.integers(), st.text(max_size=20))), max_size=8)


@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_whole_and_in_order_however_the_bytes_are_cut(messages: list[object], cuts: list[int]) -> None:
    data = b"".join(frame(message) for message in messages)
    reader, start, turn = FrameReader(), 0, 0
    out: list[object] = []
    while start < len(data):
        size = cuts[turn % len(cuts)]
        turn += 1
        reader.feed(data[start : start + size])
        start += size
        out.extend(reader.frames())
    assert out == messages


def test_a_frame_larger_than_the_pipe_arrives_whole() -> None:
    import threading

    read_end, write_end = os.pipe()
    message = os.urandom(3_000_000)
    writer = threading.Thread(target=write_frame, args=(write_end, message))
    writer.start()
    assert read_frame(read_end) == message
    writer.join()
    os.close(write_end)
    with pytest.raises(EOFError):
        read_frame(read_end)
    os.close(read_end)


def test_a_frame_cut_short_is_an_end_not_a_value() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, frame("hello")[:-1])
    os.close(write_end)
    with pytest.raises(EOFError, match="closed after"):
        read_frame(read_end)
    os.close(read_end)
