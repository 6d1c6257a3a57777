"""Frames come out as they went in, however the bytes are cut."""

from __future__ import annotations

import os
import threading

from hypothesis import given
from hypothesis import strategies as st

from coeval.engines import Failure, Limits
from coeval.engines.local._frames import FrameReader, frame, write_frame

# What `marshal` writes, and what only the pickler does.
MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.tuples(st.integers(), st.text(max_size=20)),
        st.builds(Failure, st.just("raised"), message=st.text(max_size=20)),
        st.tuples(st.just("piece"), st.builds(Limits, st.floats(0, 9))),
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_whole_and_in_order_however_the_bytes_are_cut(messages: list[object], cuts: list[int]) -> None:
    data = b"".join(frame(message) for message in messages)
    reader, start, turn = FrameReader(), 0, 0
    out: list[object] = []
    while start < len(data):
        size = cuts[turn % len(cuts)]
        turn += 1
        message = reader.take(data[start : start + size])
        start += size
        while message is not None:
            out.append(message)
            message = reader.take()
    assert out == messages
    assert reader.there == 0


def test_a_frame_larger_than_the_pipe_arrives_whole() -> None:
    read_end, write_end = os.pipe()
    message = os.urandom(3_000_000)
    writer = threading.Thread(target=write_frame, args=(write_end, message))
    writer.start()
    reader = FrameReader()
    while (came := reader.take(os.read(read_end, 1 << 16))) is None:
        pass
    assert came == message
    writer.join()
    os.close(write_end)
    os.close(read_end)


def test_a_frame_cut_short_is_no_frame() -> None:
    reader = FrameReader()
    whole = frame("hello")
    assert reader.take(whole[:-1]) is None
    assert reader.take(whole[-1:]) == "hello"
