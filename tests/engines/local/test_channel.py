from __future__ import annotations

import _socket
import os
from collections.abc import Iterator

import pytest

from coeval.engines.local._channel import memory_file, raised, read_memory_file, receive, send


@pytest.fixture
def ends() -> Iterator[tuple[_socket.socket, _socket.socket]]:
    near, far = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    yield near, far
    near.close()
    far.close()


@pytest.mark.parametrize("size", [0, 10, 1 << 16, 1 << 20], ids=["empty", "small", "at the limit", "large"])
def test_a_message_of_any_size_arrives_whole_with_its_descriptors(
    ends: tuple[_socket.socket, _socket.socket], size: int
) -> None:
    near, far = ends
    message = ("start", 7, {"text": "ü" * size, "none": None, "bytes": b"\0" * size})
    read, write = os.pipe()
    send(near, message, [write])
    send(near, ("next", 8))
    os.close(write)
    arrived, [copy] = receive(far)
    assert arrived == message
    assert not os.get_inheritable(copy)
    os.write(copy, b"through")
    os.close(copy)
    assert os.read(read, 100) == b"through"
    assert os.read(read, 100) == b"", "a descriptor of the pipe is left"
    os.close(read)
    assert receive(far) == (("next", 8), [])


def test_a_closed_channel_says_so_after_what_was_sent(ends: tuple[_socket.socket, _socket.socket]) -> None:
    near, far = ends
    send(near, ("last", 1))
    near.close()
    assert receive(far) == (("last", 1), [])
    with pytest.raises(EOFError, match="closed"):
        receive(far)


def test_a_full_and_an_empty_channel_do_not_wait_when_asked_not_to(ends: tuple[_socket.socket, _socket.socket]) -> None:
    near, far = ends
    with pytest.raises(BlockingIOError):
        receive(far, _socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        for _ in range(100_000):
            send(near, ("message", 1), flags=_socket.MSG_DONTWAIT)


def test_a_file_in_memory_is_read_from_its_start_and_closed() -> None:
    fd = memory_file(b"content")
    assert read_memory_file(fd) == b"content"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_descriptor_that_is_no_standard_stream_keeps_its_number() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    assert raised(fd) == fd
    os.close(fd)
