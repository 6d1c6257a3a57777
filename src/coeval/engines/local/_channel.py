"""
Messages between the pool and its fork server: one packet each, with the descriptors that belong to it.

A message is a tuple of what `marshal` knows; both ends are the same interpreter. It is used instead of pickle because
it is built in: the server is up before pickle would be imported.
"""

from __future__ import annotations

import _socket
import marshal
import os

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_PACKET_BYTES_MAX = 1 << 16  # a packet must fit into the socket's buffer as a whole; what is larger goes in a file
_DESCRIPTORS_MAX = 8

# Of a message in a file so many values come in the packet as well: what it is, and whom it is about.
HEAD = 2

_DESCRIPTOR_BYTES = 4
_RIGHTS_BYTES = _socket.CMSG_SPACE(_DESCRIPTORS_MAX * _DESCRIPTOR_BYTES)


class DescriptorsLost(OSError):
    """
    This process has no room for the descriptors of a message, and the kernel dropped them.

    Attributes:
        message: its first `HEAD` values at least.
    """

    def __init__(self, message: tuple[Any, ...]) -> None:
        super().__init__("Too many open files")
        self.message = message


def raised(fd: int) -> int:
    """
    Give a descriptor another number where it has that of a standard stream, which the caller has closed: whoever prints
    there must not write into one of ours.

    Raises:
        OSError: there are no descriptors; this one is closed.
    """
    if fd > 2:
        return fd
    import fcntl  # hardly ever needed

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def raised_socket(channel: _socket.socket) -> _socket.socket:
    """The same for a socket."""
    return channel if channel.fileno() > 2 else _socket.socket(fileno=raised(channel.detach()))


def memory_file(data: bytes) -> int:
    """A descriptor of a file in memory that holds this, ready to be read from its start."""
    fd = raised(os.memfd_create("coeval-message"))
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_memory_file(fd: int) -> bytes:
    """All of a file in memory; the descriptor is closed."""
    with open(fd, "rb") as file:
        return file.read()


def send(channel: _socket.socket, message: tuple[Any, ...], descriptors: Sequence[int] = (), flags: int = 0) -> None:
    """
    Send one message; `flags` as of sendmsg(2).

    Raises:
        BlockingIOError: the channel is full and `flags` has MSG_DONTWAIT.
        OSError: the other end is gone; there are no descriptors, or too many are under way.
    """
    body = marshal.dumps(message)
    if len(body) <= _PACKET_BYTES_MAX:
        _send_packet(channel, _IN_PACKET + body, descriptors, flags)
        return
    file = memory_file(body)
    try:
        _send_packet(channel, _IN_FILE + marshal.dumps(message[:HEAD]), [*descriptors, file], flags)
    finally:
        os.close(file)


def receive(channel: _socket.socket, flags: int = 0) -> tuple[tuple[Any, ...], list[int]]:
    """
    Receive one message and its descriptors, which are closed in what this process executes.

    Raises:
        EOFError: the other end is closed.
        BlockingIOError: nothing is there and `flags` has MSG_DONTWAIT.
        DescriptorsLost: there is no room for its descriptors.
    """
    body, rights, answer_flags, _ = channel.recvmsg(
        1 + _PACKET_BYTES_MAX, _RIGHTS_BYTES, flags | _socket.MSG_CMSG_CLOEXEC
    )
    if not body:
        raise EOFError("the other end of the channel is closed")
    descriptors: list[int] = []
    for level, kind, data in rights:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            whole = memoryview(data)[: len(data) - len(data) % _DESCRIPTOR_BYTES]
            descriptors += map(raised, whole.cast("i").tolist())
    lost = bool(answer_flags & _socket.MSG_CTRUNC)
    message = marshal.loads(memoryview(body)[1:])
    if lost:
        for fd in descriptors:
            os.close(fd)
        raise DescriptorsLost(message)
    if body[:1] == _IN_FILE:
        message = marshal.loads(read_memory_file(descriptors.pop()))
    return message, descriptors


_IN_PACKET, _IN_FILE = b"p", b"f"


def _send_packet(channel: _socket.socket, packet: bytes, descriptors: Sequence[int], flags: int) -> None:
    rights = b"".join(fd.to_bytes(_DESCRIPTOR_BYTES, "little") for fd in descriptors)
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else []
    channel.sendmsg([packet], ancillary, flags)
