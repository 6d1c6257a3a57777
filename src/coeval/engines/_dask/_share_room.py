"""
Where a host's copies of shared objects are: memory that an outpost keeps open for the workers of its pool.

Either the outpost wrote it itself, or it opened what another process of its host has; from then on there is no
difference, and the memory outlives whoever wrote it.
"""

from __future__ import annotations

import errno
import os
import sys
import uuid

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines._segments import Heavy, holds, new_number, open_segment, write_header

if sys.platform != "win32":
    import fcntl


def memory_host() -> str:
    """
    Where this process can map the memory of others: equal texts, one host.

    A claim, as cloned machines and `COEVAL_CLOCK_ID` can make it wrong; who relies on it finds out by trying.
    """
    try:
        return f"{clock_id(SYSTEM_CLOCK)} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  as everywhere in engines
    except OSError:  # no /proc, so no mapping
        return uuid.uuid4().hex


class ShareRoom:
    """The shared objects that this process has, by name. Used by one thread."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Heavy] = {}
        self._leaving: list[Heavy] = []  # somebody still uses them

    def get(self, name: bytes) -> Heavy | None:
        """Where an object is, if it is here."""
        return self._kept.get(name)

    def adopt(self, name: bytes, heavy: Heavy) -> Heavy:
        """
        Keep what another process of this host has.

        Raises:
            SegmentGone: that process has it no more, or is not of this host, or does not let us.
            MemoryError: there is no descriptor left.
        """
        kept = self._kept[name] = heavy._replace(owner=os.getpid(), descriptor=open_segment(heavy))
        return kept

    def make(self, heavy: Heavy) -> Filling:
        """
        Make room for a content that comes from another host.

        Raises:
            MemoryError: there is none.
        """
        return Filling(self, heavy)

    def keep(self, name: bytes, heavy: Heavy) -> None:
        """Keep what was filled."""
        self._kept[name] = heavy

    def drop(self, name: bytes) -> None:
        """Nobody will ask for this one any more: its memory is given back as soon as no call uses it."""
        heavy = self._kept.pop(name, None)
        if heavy is not None:
            fcntl.flock(heavy.descriptor, fcntl.LOCK_UN)  # others of this host let go of it too, in whichever order
            self._leaving.append(heavy)
            self.tidy()

    def tidy(self) -> bool:
        """Give back what nobody uses any more; True: something is still used."""
        self._leaving = [heavy for heavy in self._leaving if not _give_back(heavy)]
        return bool(self._leaving)

    def close(self) -> None:
        """Let go of everything. Others of this host may have it on."""
        self.tidy()
        for heavy in [*self._kept.values(), *self._leaving]:
            os.close(heavy.descriptor)
        self._kept.clear()
        self._leaving.clear()


class Filling:
    """
    A segment that is being written.

    Args:
        heavy: what it is to be like.

    Raises:
        MemoryError: there are no descriptors.
    """

    def __init__(self, room: ShareRoom, heavy: Heavy) -> None:
        self._room = room
        if not hasattr(os, "memfd_create"):
            raise MemoryError("a shared object cannot be kept on this host: only Linux has the memory files for it")
        try:
            descriptor = os.memfd_create("coeval-segment", os.MFD_CLOEXEC)
        except OSError as error:
            raise _no_room(heavy, error) from error
        self._heavy = heavy._replace(owner=os.getpid(), descriptor=descriptor, number=new_number())

    def write(self, piece: memoryview, place: int) -> None:
        """
        Take bytes.

        Raises:
            MemoryError: the host, or a limit of this process, has no room for them.
        """
        try:
            while len(piece):
                written = os.pwrite(self._heavy.descriptor, piece, place)
                piece, place = piece[written:], place + written
        except OSError as error:
            raise _no_room(self._heavy, error) from error

    def finish(self, name: bytes) -> Heavy:
        """All bytes are there."""
        write_header(self._heavy)
        self._room.keep(name, self._heavy)
        return self._heavy

    def abandon(self) -> None:
        """They will not be."""
        os.close(self._heavy.descriptor)


def _no_room(heavy: Heavy, error: OSError) -> MemoryError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        step = "Free other shared objects, or raise the limit on open files (`ulimit -n`)."
    else:
        step = "Share less at once, or give the machine or container more memory."
    return MemoryError(f"no shared memory for a shared object of {heavy.size:,} bytes: {error.strerror}. {step}")


def _give_back(heavy: Heavy) -> bool:
    try:
        fcntl.flock(heavy.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # Unless its owner, the caller, has already something else there. A worker that keeps an unused mapping would hold
    # the memory, but for this.
    if holds(heavy.descriptor, heavy):
        os.ftruncate(heavy.descriptor, 0)
    os.close(heavy.descriptor)
    return True
