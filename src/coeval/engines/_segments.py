"""
Segments: shared memory in which large arguments and results travel between processes of one host.

    owner                                            receiver
      store()  one copy into a memfd
      ── Heavy: who, which, where ── pipe ──>        opens /proc/OWNER/fd/N, locks it (shared), maps it privately
                                                     ... the mapping lives as long as any object that uses it ...
      store()  finds it dropped and unlocked         the last object is gone: unmapped, and so unlocked
               and writes the next value into it

Nobody counts references and no message travels back. A segment may be written anew when two things are true: somebody
has *dropped* it (nobody will open it any more), and no process has it mapped. The first is a word in its header, which
owner and receiver write. The second is asked of the kernel: the receiver's lock (`flock`) belongs to the open file,
the mapping keeps that file open, and so the lock ends with the mapping, however the receiver ends.

A result must outlive its owner, a worker that may be killed at any moment. So the owner opens and locks the segment
for the receiver, drops it, and passes the open file itself (`pass_on`): a `Parcel` is there as soon as it is sent.

Anonymous files (`memfd`) and not /dev/shm: containers often give that 64 MB, and what is in it outlives a killed
program. A segment is recycled because warm pages take 8 GB/s and fresh ones 2 (benchmarks/spikes/payload.py).
"""

from __future__ import annotations

import _thread
import errno
import mmap
import os
import sys

from coeval.clocks._named_tuple import NamedTuple
from coeval.engines._copying import copy

if sys.platform != "win32":  # there are no segments there either
    import fcntl

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections import OrderedDict, deque
    from collections.abc import Sequence
    from weakref import ref

    from coeval.clocks import Clock

    _Reference = ref[mmap.mmap]
else:
    # What `collections` and `weakref` take from there; by themselves they are not free.
    from _collections import OrderedDict, deque
    from _weakref import ref

    _Reference = ref

# Unused segments that are kept for the next value, in each owner.
# Less: arrays that take turns come into fresh pages, at a quarter of the speed. More: idle memory that others want.
IDLE_BYTES_MAX = 1 << 28
# Longer unused than this, they are given back when the owner next stores or is asked to, unless it stores in them.
IDLE_NS_MAX = 10_000_000_000
# Results that were let go of here and that their workers have not found yet; what is beyond is emptied from here, for
# those workers may be idle for long.
RELEASED_BYTES_MAX = 1 << 28
# Each segment is a descriptor at its owner, and two while a receiver opens it; many programs may have 1024 of them.
# Beyond it values go through the pipe (owner) or are copied (receiver), more slowly.
SEGMENTS_MAX = 192
# Lent segments that one store looks at; it takes 1.5 us each.
LOOKS_MAX = 8
# A value may take a segment so many times its size; a larger one is left for a larger value.
WASTE_MAX = 4
# A small value may take any segment up to this size.
_SMALL_BYTES_MAX = 1 << 22

# Values from this size on are in huge pages of 2 MB; what the last one has too much is memory that nobody uses.
_HUGE_BYTES_MIN = 1 << 24
# So much longer than usual they may take, for the first value and once more for the second. A copy into them takes a
# fifteenth less time, so what takes 40 times as long as usual is not worth it before hundreds of values.
# Shorter: one that took long by chance is the last. Longer: on virtual machines the first values wait for nothing.
_HUGE_PATIENCE_NS = 3_000_000
_HUGE_ASKED_MAX = 2

_ALIGNMENT = 64  # of a cache line; Arrow and vector instructions ask for it
_WORD_BYTES = 8
_HEADER_BYTES = 2 * _WORD_BYTES  # the number; the same again once it is dropped
_NOBODY = bytes(_HEADER_BYTES)


class SegmentGone(Exception):
    """
    The segment is not there any more: its owner has ended, or it was freed.
    """


class Heavy(NamedTuple):
    """
    A pickle whose large parts are in a segment. Means something on the owner's host only.

    Attributes:
        owner: pid of the process that has the segment.
        descriptor: the segment's, in that process.
        number: of what is in it; unique on the host.
        size: bytes from the segment's beginning to the value's end.
        stream: the pickle; None where it is long and so the first of the spans.
        spans: offset and length of each buffer.
    """

    owner: int
    descriptor: int
    number: int
    size: int
    stream: bytes | None
    spans: tuple[tuple[int, int], ...]


class Parcel:
    """
    A pickle whose large parts are in a segment, with an open file of it: it is here, whatever becomes of the owner.

    Args:
        descriptor: from `Segments.pass_on`; belongs to this object from now on. -1: there was none left for it.
    """

    __slots__ = ("_descriptor", "heavy")

    def __init__(self, heavy: Heavy, descriptor: int) -> None:
        self.heavy = heavy
        self._descriptor = descriptor

    def open(self) -> memoryview:
        """
        See the bytes, as by `receive`; once.

        Raises:
            MemoryError: this process has no room for them.
        """
        if self._descriptor < 0:
            raise MemoryError(
                f"no descriptor was left to receive {self.heavy.size:,} bytes. Close files, or raise the limit "
                "(`ulimit -n`)."
            )
        try:
            return _view(self._descriptor, self.heavy, last=True)
        finally:
            self.close()

    def close(self) -> None:
        """Nobody will open it any more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class _Segment:
    __slots__ = (
        "descriptor",
        "dropped",
        "huge_asked",
        "huge_size",
        "idle_since_ns",
        "memory",
        "number",
        "size",
        "written",
    )

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.number = 0
        self.size = 0  # bytes that have pages
        self.huge_size = 0  # of them in huge ones
        self.huge_asked = 0  # how often they were asked for
        self.written = False
        self.dropped = False
        self.idle_since_ns = 0
        self.memory: mmap.mmap | None = None


class Segments:
    """
    The segments that this process owns. Safe from any thread; in a forked child it does nothing.

    Args:
        clock: tells how long a segment has been unused.
        idle_bytes_max: unused memory to keep for the next values.
    """

    def __init__(self, clock: Clock, *, idle_bytes_max: int = IDLE_BYTES_MAX) -> None:
        self._clock = clock
        self._idle_bytes_max = idle_bytes_max
        self._process = os.getpid()
        # Plain, as somebody may drop a segment from a finalizer, at any moment in any thread: see `drop`.
        self._lock = _thread.allocate_lock()
        self._lent: OrderedDict[int, _Segment] = OrderedDict()
        self._idle: list[_Segment] = []  # longest idle first
        self._drops: deque[int] = deque()
        self._closed = False

    @property
    def idle_bytes(self) -> int:
        """Memory that is kept for the next values."""
        return sum(segment.size for segment in tuple(self._idle))

    @property
    def lent_count(self) -> int:
        """Segments that somebody uses or may still open."""
        return len(self._lent)

    def store(self, stream: Sequence[bytes], buffers: Sequence[memoryview], *, stream_inside: bool) -> Heavy | None:
        """
        Copy a pickle's parts into a segment.

        Args:
            stream: the pickle, in pieces.
            buffers: what it refers to; flat bytes.
            stream_inside: the pickle too goes into the segment.

        Returns:
            Where it is; None if it has to travel another way (closed, too many segments, a forked child).

        Raises:
            MemoryError: the host, a limit of this process or of its container has no room for it.
        """
        if os.getpid() != self._process:
            return None
        parts: list[bytes | memoryview] = []
        spans: list[tuple[int, int]] = []
        places: list[int] = []
        end = _HEADER_BYTES
        if stream_inside:
            end = start = _aligned(end)
            for piece in stream:
                parts.append(piece)
                places.append(end)
                end += len(piece)
            spans.append((start, end - start))
        for buffer in buffers:
            start = _aligned(end)
            parts.append(buffer)
            places.append(start)
            end = start + len(buffer)
            spans.append((start, len(buffer)))
        segment: _Segment | None = None
        try:
            segment = self._reserve(end)
            if segment is None:
                return None
            if end >= _HUGE_BYTES_MIN and segment.huge_asked < _HUGE_ASKED_MAX:
                _ask_for_huge_pages(segment, end, self._clock)
            _write(segment, segment.number.to_bytes(_WORD_BYTES, "little") + bytes(_WORD_BYTES), 0)
            for part, place in zip(parts, places, strict=True):
                _write(segment, part, place)
            segment.size = max(segment.size, end)
        except BaseException as error:
            if segment is not None:
                with self._lock:
                    self._lent.pop(segment.number, None)
                _discard(segment)
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                return None
            if isinstance(error, OSError):
                raise MemoryError(
                    f"no shared memory for {end:,} bytes: {error.strerror}. Send less at once, wait for results before "
                    "sending more, or give the machine or container more memory."
                ) from error
            raise
        segment.written = True
        if self._drops:
            self._settle()
        return Heavy(
            self._process,
            segment.descriptor,
            segment.number,
            end,
            None if stream_inside else b"".join(stream),
            tuple(spans),
        )

    def drop(self, heavy: Heavy) -> None:
        """
        Nobody will open this one any more; its memory is free once nobody has it mapped.

        Never waits, so it may be called from a finalizer.
        """
        if heavy.owner == self._process == os.getpid():
            self._drops.append(heavy.number)
            self._settle()

    def pass_on(self, heavy: Heavy) -> int:
        """
        Drop a segment here, in favour of whoever has the descriptor that this gives: it is open and locked, and the
        memory is free once neither the descriptor nor a mapping made of it is anywhere any more.

        Raises:
            OSError: there are no descriptors; nothing is changed.
        """
        opened = os.open(f"/proc/self/fd/{heavy.descriptor}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(opened, fcntl.LOCK_SH)
        except BaseException:
            os.close(opened)
            raise
        self.drop(heavy)
        return opened

    def give_back(self) -> None:
        """Look at all lent segments, and give the memory back that was unused for long."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._look(len(self._lent))
            self._thin_out()
        self._settle()

    def close(self) -> None:
        """Give everything back. What a receiver has mapped stays readable there."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            lent, idle = list(self._lent.values()), self._idle
            self._lent, self._idle = OrderedDict(), []
        for segment in idle:
            _discard(segment)
        for segment in lent:
            if _lock_if_unmapped(segment):
                _discard(segment)
            else:
                segment.memory = None
                os.close(segment.descriptor)

    def _reserve(self, size: int) -> _Segment | None:
        with self._lock:
            if self._closed:
                return None
            self._look(LOOKS_MAX)
            index = choose([segment.size for segment in self._idle], size)
            segment = self._idle.pop(index) if index is not None else None
            self._thin_out()  # only now: what is wanted again was not idle for too long
            if segment is None:
                if len(self._lent) + len(self._idle) < SEGMENTS_MAX and hasattr(os, "memfd_create"):
                    segment = _Segment(os.memfd_create("coeval-segment"))
                elif self._idle:
                    segment = self._idle.pop()
                else:
                    return None
            segment.number = new_number()
            segment.written = segment.dropped = False
            self._lent[segment.number] = segment
            return segment

    def _settle(self) -> None:
        # Whoever has the lock settles what was dropped meanwhile when he is done, or with his next store.
        while self._drops and self._lock.acquire(blocking=False):
            try:
                self._look(0)
                self._thin_out()
            finally:
                self._lock.release()

    def _look(self, count: int) -> None:
        """Find the segments that are free again: those just dropped, and `count` others in turn."""
        now_ns = self._clock.raw_ns()
        numbers: list[int] = []
        while self._drops:
            number = self._drops.popleft()
            if number in self._lent:
                self._lent[number].dropped = True
                numbers.append(number)
        for _ in range(min(count, len(self._lent))):
            number = next(iter(self._lent))
            self._lent.move_to_end(number)
            numbers.append(number)
        for number in numbers:
            segment = self._lent.get(number)
            if segment is not None and segment.written and _is_free(segment):
                del self._lent[number]
                segment.idle_since_ns = now_ns
                self._idle.append(segment)

    def _thin_out(self) -> None:
        """Give the memory back of what was unused for long, and of the longest unused where there is too much."""
        now_ns = self._clock.raw_ns()
        idle_bytes = sum(segment.size for segment in self._idle)
        while self._idle and (idle_bytes > self._idle_bytes_max or now_ns - self._idle[0].idle_since_ns > IDLE_NS_MAX):
            idle_bytes -= self._idle[0].size
            _discard(self._idle.pop(0))


def choose(sizes: Sequence[int], size: int) -> int | None:
    """
    Choose an unused segment for a value of `size` bytes, given the sizes of all of them.

    The smallest that is large enough but not far too large; else the largest of the smaller ones, which grows.

    Returns:
        Its index; None: make a new one.
    """
    fitting = [place for place, have in enumerate(sizes) if size <= have <= max(WASTE_MAX * size, _SMALL_BYTES_MAX)]
    if fitting:
        return min(fitting, key=lambda place: sizes[place])
    smaller = [place for place, have in enumerate(sizes) if have < size]
    return max(smaller, key=lambda place: sizes[place], default=None)


# The owner's side -----------------------------------------------------------------------------------------------------

_next_number = 0


def new_number() -> int:
    """A number that no other segment of this host has."""
    # A random beginning, so that a segment is not taken for another one behind the same pid and descriptor.
    global _next_number
    if not _next_number:
        _next_number = int.from_bytes(os.urandom(_WORD_BYTES), "little") >> 1 | 1
    _next_number += 1
    return _next_number


def _after_fork_in_child() -> None:
    global _next_number
    _next_number = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def write_header(heavy: Heavy) -> None:
    """The value is in its segment, which this process made without `store`: from now on it can be opened."""
    os.pwrite(heavy.descriptor, heavy.number.to_bytes(_WORD_BYTES, "little") + bytes(_WORD_BYTES), 0)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _write(segment: _Segment, part: bytes | memoryview, offset: int) -> None:
    """
    Copy bytes in: through a mapping where there are pages, and by `write` beyond, which makes them.

    A page that cannot be had is an error of `write`, but would be a deadly signal under a mapping.
    """
    source = memoryview(part)
    end = offset + len(source)
    there = min(end, segment.size)
    if there - offset >= mmap.PAGESIZE:
        if segment.memory is None or len(segment.memory) < there:
            segment.memory = None
            # All of its pages at once, as most will be written: one by one they take four times as long as the copy.
            flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
            segment.memory = mmap.mmap(segment.descriptor, segment.size, flags=flags)
        with memoryview(segment.memory) as whole, whole[offset:there] as target:
            copy(target, source[: len(target)])
        source = source[there - offset :]
        offset = there
    while len(source):
        written = os.pwrite(segment.descriptor, source, offset)
        source = source[written:]
        offset += written


def _ask_for_huge_pages(segment: _Segment, end: int, clock: Clock) -> None:
    """Before a value goes there that is so long. What is in the segment may be lost."""
    from coeval.engines._huge_pages import aligned_mapping, collapse  # small values never need it

    if segment.huge_size >= end:
        return
    segment.huge_asked += 1
    try:
        if segment.memory is None or len(segment.memory) < end or not segment.huge_size:
            segment.memory = None
            segment.memory = aligned_mapping(segment.descriptor, max(end, segment.size))
    except OSError:  # no room for a mapping now
        return
    if segment.memory is not None:
        begin = segment.huge_size
        segment.huge_size = collapse(segment.descriptor, segment.memory, begin, end, clock, _HUGE_PATIENCE_NS)
        segment.size = max(segment.size, segment.huge_size)
        if segment.huge_size < end:  # it has not all pages yet: see `_write`
            segment.memory = None


def _is_free(segment: _Segment) -> bool:
    """Is it dropped and mapped nowhere? Then what is in it has no name any more."""
    if not segment.dropped:
        header = os.pread(segment.descriptor, _HEADER_BYTES, 0)
        # An empty one: the receiver has given the memory back himself.
        if len(header) == _HEADER_BYTES and header[:_WORD_BYTES] != header[_WORD_BYTES:]:
            return False
        segment.dropped = True
    if not _lock_if_unmapped(segment):
        return False
    segment.number = 0
    if os.fstat(segment.descriptor).st_size:
        os.pwrite(segment.descriptor, _NOBODY, 0)
    else:
        segment.size = segment.huge_size = segment.huge_asked = 0
        segment.memory = None
    fcntl.flock(segment.descriptor, fcntl.LOCK_UN)
    return True


def _lock_if_unmapped(segment: _Segment) -> bool:
    try:
        fcntl.flock(segment.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _discard(segment: _Segment) -> None:
    segment.memory = None
    # A forked child may have inherited the descriptor: closing it here would not free the memory.
    os.ftruncate(segment.descriptor, 0)
    os.close(segment.descriptor)


# The receiver's side --------------------------------------------------------------------------------------------------


def can_reach(owner: int) -> bool:
    """May this process open what that process owns? Not where /proc is missing or hides it."""
    try:
        os.close(os.open(f"/proc/{owner}/fd", os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def open_segment(heavy: Heavy) -> int:
    """
    Open a segment and lock it, so that it is not written anew while the descriptor, or a mapping made of it, is there.

    Raises:
        SegmentGone: it is not there any more.
        MemoryError: this process may open no more files.
    """
    gone = f"the shared memory of a value is gone: process {heavy.owner}, which had it, has ended or has freed it"
    try:
        # What another process may have put behind this number meanwhile must not make us wait.
        opened = os.open(
            f"/proc/{heavy.owner}/fd/{heavy.descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        )
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise MemoryError(
                f"no descriptor is left to receive {heavy.size:,} bytes: {error.strerror}. Close files, or raise the "
                "limit (`ulimit -n`)."
            ) from error
        raise SegmentGone(f"{gone} ({error.strerror})") from error
    try:
        if not holds(opened, heavy):
            raise SegmentGone(gone)
        fcntl.flock(opened, fcntl.LOCK_SH)
        if not holds(opened, heavy):
            raise SegmentGone(gone)
    except OSError as error:
        os.close(opened)
        raise SegmentGone(f"{gone} ({error.strerror})") from error
    except BaseException:
        os.close(opened)
        raise
    return opened


def holds(descriptor: int, heavy: Heavy) -> bool:
    """Is the value still in the segment?"""
    return os.pread(descriptor, _WORD_BYTES, 0) == heavy.number.to_bytes(_WORD_BYTES, "little")


def receive(heavy: Heavy, *, last: bool) -> memoryview:
    """
    See a segment's bytes: private to the caller and writable, without a copy (until written to).

    Args:
        last: nobody else will open it. The owner may have it back when the bytes are used no more.

    Raises:
        SegmentGone, MemoryError: see `open_segment`.
    """
    opened = open_segment(heavy)
    try:
        view = _view(opened, heavy, last=last)
        if last:
            os.pwrite(opened, heavy.number.to_bytes(_WORD_BYTES, "little"), _WORD_BYTES)
    finally:
        os.close(opened)
    return view


def _view(opened: int, heavy: Heavy, *, last: bool) -> memoryview:
    try:
        if len(_mappings) >= SEGMENTS_MAX:
            return memoryview(_read(opened, heavy.size))
        mapping = mmap.mmap(opened, heavy.size, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise MemoryError(
            f"no memory to receive {heavy.size:,} bytes: {error.strerror}. Let go of earlier values, or raise the "
            "limit on memory."
        ) from error
    mark = _Mapping(mapping, _on_unmapped)
    mark.heavy = heavy if last else None
    _mappings.add(mark)
    return memoryview(mapping)


def drop_received(heavy: Heavy) -> None:
    """A value of another process will not be opened here: its owner may have the memory back."""
    try:
        opened = open_segment(heavy)
    except SegmentGone:
        return
    try:
        os.pwrite(opened, heavy.number.to_bytes(_WORD_BYTES, "little"), _WORD_BYTES)
    finally:
        os.close(opened)


class _Mapping(_Reference):
    """Notices that a mapping is gone."""

    __slots__ = ("heavy",)
    heavy: Heavy | None


_mappings: set[_Mapping] = set()
_released: deque[Heavy] = deque()  # oldest first


def _on_unmapped(mark: _Mapping) -> None:
    # May run in the midst of anything, as finalizers do: single operations on deque and set, and system calls.
    _mappings.discard(mark)
    if mark.heavy is None:
        return
    _released.append(mark.heavy)
    try:
        while sum(heavy.size for heavy in tuple(_released)) > RELEASED_BYTES_MAX:
            _empty(_released.popleft())
    except IndexError:  # another thread took the last one
        pass


def _empty(heavy: Heavy) -> None:
    """Give back the memory of a segment that nobody uses and whose owner has not noticed it yet."""
    try:
        opened = os.open(f"/proc/{heavy.owner}/fd/{heavy.descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return  # its owner is gone, and so is the memory
    try:
        if holds(opened, heavy):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if holds(opened, heavy):
                os.ftruncate(opened, 0)
    except OSError:
        pass  # not a segment any more, or a forked child has it mapped
    finally:
        os.close(opened)


def _read(descriptor: int, size: int) -> mmap.mmap:
    made = mmap.mmap(-1, size)
    with memoryview(made) as target:
        offset = 0
        while offset < size:
            count = os.preadv(descriptor, [target[offset:]], offset)
            if not count:
                raise OSError(errno.EIO, "it is shorter than it was")
            offset += count
    return made
