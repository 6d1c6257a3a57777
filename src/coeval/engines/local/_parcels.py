"""
Large results on their way from a worker to the pool: each is an open file that is passed on, so that a result which
was finished survives its worker.

    worker                                                          pool
    store()  ── a segment's number, and an open file of it ──>      waits in the kernel, also after the worker's end
    piece or shelf ── Heavy: the number ──────────────────────>     claim(): the Parcel of that number

A file is sent before anything tells of it, so it is there when somebody looks. Numbers only grow, and values come home
in the order in which they were made: what comes before a claimed one was given up, and is closed.
"""

from __future__ import annotations

import _socket
import os

from coeval.engines._segments import Heavy, Parcel, Segments
from coeval.engines.local._channel import raised, raised_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from coeval.clocks import Clock

_NUMBER_BYTES = 8
_DESCRIPTOR_BYTES = 4
_RIGHTS_BYTES = _socket.CMSG_SPACE(_DESCRIPTOR_BYTES)


def parcel_channel() -> tuple[_socket.socket, _socket.socket]:
    """
    The pool's end and the worker's, none of which has the number of a standard stream.

    Raises:
        OSError: there are no descriptors.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        return raised_socket(ours), raised_socket(theirs)
    except BaseException:
        ours.close()
        theirs.close()
        raise


class ParcelSegments(Segments):
    """
    A worker's segments, of which each is passed on as soon as it is written.

    Args:
        channel: the worker's end.

    Attributes:
        has_stored_any: pieces may have large results in them from now on, and there may be segments to give back.
    """

    def __init__(self, clock: Clock, channel: int) -> None:
        super().__init__(clock)
        self.has_stored_any = False
        self._channel = _socket.socket(fileno=channel)

    def store(self, stream: Sequence[bytes], buffers: Sequence[memoryview], *, stream_inside: bool) -> Heavy | None:
        """As of `Segments`; None also where so many are under way that the kernel takes no more."""
        heavy = super().store(stream, buffers, stream_inside=stream_inside)
        if heavy is None:
            return None
        self.has_stored_any = True
        try:
            opened = self.pass_on(heavy)
            try:
                rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, opened.to_bytes(_DESCRIPTOR_BYTES, "little"))
                self._channel.sendmsg([heavy.number.to_bytes(_NUMBER_BYTES, "little")], [rights], _socket.MSG_DONTWAIT)
            finally:
                os.close(opened)
        except OSError:
            self.drop(heavy)
            return None
        return heavy

    def close(self) -> None:
        super().close()
        self._channel.close()


class Parcels:
    """
    The pool's side, for one worker.

    Args:
        channel: the pool's end; belongs to this object from now on.
    """

    def __init__(self, channel: _socket.socket) -> None:
        self._channel = channel
        self._next: tuple[int, int] | None = None  # came while an earlier one was looked for

    def claim(self, heavy: Heavy) -> Parcel:
        """
        Give the parcel that a worker has sent word of. One that could not arrive, as this process had no descriptor for
        it, says so when it is opened.
        """
        while (came := self._next or self._receive()) is not None:
            number, descriptor = came
            self._next = None
            if number == heavy.number:
                return Parcel(heavy, descriptor)
            if number > heavy.number:
                self._next = came
                break
            _close(descriptor)
        return Parcel(heavy, -1)

    def close(self) -> None:
        """Nothing is claimed any more."""
        if self._next is not None:
            _close(self._next[1])
            self._next = None
        self._channel.close()

    def _receive(self) -> tuple[int, int] | None:
        """The next number and its descriptor, or -1; None: nothing is there."""
        try:
            body, rights, _, _ = self._channel.recvmsg(
                _NUMBER_BYTES, _RIGHTS_BYTES, _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return None
        if not body:
            return None
        descriptor = -1
        for _, _, data in rights:
            descriptor = int.from_bytes(data[:_DESCRIPTOR_BYTES], "little")
        try:
            return int.from_bytes(body, "little"), raised(descriptor) if descriptor >= 0 else -1
        except OSError:
            return int.from_bytes(body, "little"), -1


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
