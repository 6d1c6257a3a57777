"""
The slate: memory in which a worker notes what must be readable also while it hangs and after it died.

    the worker writes                                       the pool reads
    the stacks of all its threads, when it gets a signal    whenever somebody asks what hangs
    the Python stack of a crash in C code                   when it has died
    what the running call logged                            when it has died

The first two are written by CPython's `faulthandler`, in C, whatever the worker is doing; it needs a file that is open
before. It is a file in memory, one for each worker, which the pool makes and the worker opens by the pool's number for
it. A call that logs nothing, hangs nowhere and crashes never pays nothing.
"""

from __future__ import annotations

import binascii
import faulthandler
import marshal
import os
import select

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines.local._channel import raised
from coeval.recording._event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from coeval.engines._engine import RunningItem
    from coeval.recording._event import JsonScalar

# A signal that nobody else uses: calls may have handlers of their own for SIGUSR1, as batch systems want it. (64 is
# Valgrind's.) `signal` brings `enum`, so it is a number.
STACKS_SIGNAL = 62

# What is kept of a call's log; where it is more, the newer part, and the count of the rest.
LINES_BYTES_MAX = 1 << 20
LINE_BYTES_MAX = 1_000

# Stacks that were asked for stay; with more than this the slate is begun anew.
SLATE_BYTES_MAX = 4 << 20

# Lines that the dead worker's error shows.
LAST_LINES_MAX = 10

# A worker writes its stacks within a millisecond, if it can: one that is stopped cannot.
ANSWER_S_MAX = 2.0
LOOK_EVERY_MS = 1

# A call's head, a line of its log, and the same as an event. `faulthandler` begins no line so.
_HEAD, _LINE, _EVENT = "\x01call ", "\x02", "\x03"
_CRASH = "Fatal Python error: "

# What `faulthandler` writes of.
_CRASH_SIGNALS = ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "SIGILL")

# The frame that every call has below it.
_BELOW_CALLS = '/coeval/engines/_attempt.py"'


class Slate:
    """
    The worker's side; made before it takes a call.

    Args:
        pid, fd: the pool's process, and the slate's descriptor there.
    """

    def __init__(self, pid: int, fd: int) -> None:
        try:
            # To append, so that truncating is all it takes to begin anew.
            self._fd = os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            # The pool is not ours to look into. The signal must be handled all the same, or it would end the worker.
            self._fd = os.memfd_create("coeval-slate")
        self._call = -1
        self._bytes = 0
        self._events = self._dropped = 0
        faulthandler.register(STACKS_SIGNAL, file=self._fd, all_threads=True, chain=False)
        if not faulthandler.is_enabled():  # else somebody wants crashes on stderr
            faulthandler.enable(file=self._fd, all_threads=True)

    def note(self, call: int, line: str, event: Event | None = None) -> None:
        """Keep a line of a call's log, and the event it became; those of the call before are dropped."""
        text = line.replace("\n", f"\n{_LINE}")[:LINE_BYTES_MAX]
        data = f"{_LINE}{text}\n".encode(errors="replace")
        if event is not None:
            data += _EVENT.encode() + binascii.b2a_base64(marshal.dumps(_plain(event)))
        if call != self._call:
            self._dropped = 0
        elif self._bytes + len(data) > LINES_BYTES_MAX:
            self._dropped += self._events
        if call != self._call or self._bytes + len(data) > LINES_BYTES_MAX:
            os.ftruncate(self._fd, 0)
            self._call, self._bytes, self._events = call, 0, 0
            data = f"{_HEAD}{call} {self._dropped}\n".encode() + data
        self._bytes += len(data)
        self._events += event is not None
        os.write(self._fd, data)


def _plain(event: Event) -> tuple[str | int | dict[str, JsonScalar] | None, ...]:
    kind, reading_ns, end_ns, name, fields, item = event
    return kind, reading_ns, end_ns, name, dict(fields), item


def _event_of(line: str) -> Event | None:
    try:
        return Event(*marshal.loads(binascii.a2b_base64(line)))
    except (ValueError, EOFError, TypeError):
        return None  # cut, or a call wrote into what is not its own


class LastWords:
    """
    What a slate shows of a worker that is gone.

    Attributes:
        call: number of the call that logged; -1: none did.
        lines: what it logged last, oldest first.
        events: all that it logged, oldest first.
        dropped: so many earlier events are not there, as they were too many.
        crash: the Python stack of a crash; "" if there was none. (One that is there all the same is that of a process
            which a call had forked.)
    """

    __slots__ = ("call", "crash", "dropped", "events", "lines")

    def __init__(self, text: str, has_crashed: bool = False) -> None:
        body, found, crash = text.rpartition(_CRASH) if _CRASH in text else (text, "", "")
        self.crash = calls_own(found + crash).strip() if has_crashed else ""
        self.call, self.dropped = -1, 0
        lines: list[str] = []
        events: list[Event] = []
        for line in body.splitlines():
            if line.startswith(_HEAD):
                call, _, dropped = line.removeprefix(_HEAD).partition(" ")
                self.call, self.dropped = int(call), int(dropped or 0)
                lines.clear()
                events.clear()
            elif line.startswith(_EVENT):
                event = _event_of(line.removeprefix(_EVENT))
                if event is not None:
                    events.append(event)
            elif line.startswith(_LINE):
                lines.append(line.removeprefix(_LINE))
        self.lines = tuple(lines[-LAST_LINES_MAX:])
        self.events = tuple(events)


class SlateView:
    """
    The pool's side; made before the worker is started.

    Attributes:
        place: what the worker finds it by: `Slate`'s arguments.

    Raises:
        OSError: there are no descriptors.
    """

    def __init__(self) -> None:
        self._fd = raised(os.memfd_create("coeval-slate"))
        self.place = (os.getpid(), self._fd)

    def ask(self, pid: int) -> StackRequest:
        """
        Ask the worker, which is ready and not reaped yet, for its stacks.

        Raises:
            OSError: it has ended, or there are no descriptors.
        """
        if os.fstat(self._fd).st_size > SLATE_BYTES_MAX:
            os.ftruncate(self._fd, 0)
        return StackRequest(pid, os.dup(self._fd))

    def last_words(self, signal: str) -> LastWords:
        """What it noted last, when it was ended by this signal ("": by none)."""
        return LastWords(_read(self._fd, 0), signal in _CRASH_SIGNALS)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


class StackRequest:
    """Stacks that a worker was asked for. Owns its descriptor until `close`."""

    def __init__(self, pid: int, fd: int) -> None:
        self._pid, self._fd = pid, fd
        try:
            self._before = os.fstat(fd).st_size
            self._blocked_before = _signal_state(pid)[1]
            os.kill(pid, STACKS_SIGNAL)
        except BaseException:
            os.close(fd)
            raise

    def is_answered(self) -> bool:
        """
        Has the worker written all of it?

        `faulthandler` marks no end, but the kernel knows: the signal waits no more, and no thread is in its handler,
        in which it is blocked.
        """
        try:
            pending, blocked = _signal_state(self._pid)
        except OSError:
            return True  # it has ended
        return not pending and blocked <= self._blocked_before and os.fstat(self._fd).st_size != self._before

    def text(self) -> str:
        """What there is of it by now."""
        size = os.fstat(self._fd).st_size
        text = _read(self._fd, self._before if size >= self._before else 0)
        return calls_own("\n".join(line for line in text.splitlines() if not line.startswith((_HEAD, _LINE, _EVENT))))

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


def calls_own(stacks: str) -> str:
    """Leave out the frames below the call, which are ours and always the same."""
    kept = []
    is_ours = False
    for line in stacks.split("\n"):
        is_ours = line.startswith("  File ") and (is_ours or _BELOW_CALLS in line)
        if not is_ours:
            kept.append(line)
    return "\n".join(kept)


def _read(fd: int, begin: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, max(0, size - begin), begin).decode(errors="replace")


def _signal_state(pid: int) -> tuple[bool, set[str]]:
    """Does the signal wait to be taken, and which threads have it blocked?"""
    bit = 1 << (STACKS_SIGNAL - 1)
    is_pending = False
    blocked = set()
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # `pathlib` is not free
        try:
            with open(f"/proc/{pid}/task/{thread}/status", "rb", buffering=0) as file:
                text = file.read(8192)
        except OSError:  # it has ended meanwhile
            continue
        masks = {name: int(text.partition(b"\n" + name + b":")[2].split(None, 1)[0], 16) for name in _MASKS}
        is_pending = is_pending or bool((masks[b"SigPnd"] | masks[b"ShdPnd"]) & bit)
        if masks[b"SigBlk"] & bit:
            blocked.add(thread)
    return is_pending, blocked


_MASKS = (b"SigPnd", b"ShdPnd", b"SigBlk")


def state_of(pid: int) -> str:
    """What the kernel says of a process, such as "T (stopped)"; "" if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            return file.read(512).partition(b"\nState:")[2].partition(b"\n")[0].strip().decode()
    except OSError:
        return ""


def answers(asked: Sequence[tuple[RunningItem, StackRequest | str]]) -> list[tuple[RunningItem, str]]:
    """Wait for what several workers were asked for, at most `ANSWER_S_MAX` for all of them; else say why it is none."""
    deadline_ns = SYSTEM_CLOCK.raw_ns() + round(ANSWER_S_MAX * 1e9)
    told: list[tuple[RunningItem, str]] = []
    nothing = select.poll()
    for item, request in asked:
        if isinstance(request, str):
            told.append((item, request))
            continue
        try:
            while not (is_answered := request.is_answered()) and SYSTEM_CLOCK.raw_ns() < deadline_ns:
                nothing.poll(LOOK_EVERY_MS)
            text = request.text()
        finally:
            request.close()
        if not is_answered:
            state = state_of(item.worker.pid)
            text += f"its worker does not answer: the kernel says {state}" if state else "its worker has ended"
        told.append((item, text or "its worker has ended"))
    return told
