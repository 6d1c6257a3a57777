"""
Lines that calls print, labelled with who printed them, and made into events.

    print("half way")    in worker 4711, call 12 of simulate      (simulate call=12 host=node7 pid=4711) half way

A worker's `sys.stdout` and `sys.stderr` get a stream below them that puts the label before each line and writes whole
lines, at once, to where the worker's output goes anyhow. So nothing waits for the call's end, and nothing printed is
lost with a killed worker. What C code or a child process writes to the descriptor goes its own way, without a label.

It is for workers, which run one call at a time, and imports next to nothing.
"""

from __future__ import annotations

import _thread
import io
import os
import sys

from coeval.clocks import SYSTEM_CLOCK
from coeval.recording._capture import running_here
from coeval.recording._event import Event, plain_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from coeval.recording._capture import Running

# A line longer than this is cut in two: somebody prints without ever ending a line, which must not fill the memory.
LINE_BYTES_MAX = 1 << 20

# Lines of one call that become events; the others are counted, and are where the worker's output goes.
# Fewer: a timeline misses lines that somebody wants to see. More: a call that prints for hours fills the memory.
LINES_RECORDED_MAX = 10_000


def label_of(function: str, call: int, host: str, pid: int) -> str:
    """What stands before a line; without function and call where none runs (`call` is -1)."""
    who = f"{function} call={call} " if call >= 0 else ""
    return f"({who}host={host} pid={pid}) "


class _Line:
    """A line that has begun and not ended."""

    __slots__ = ("call", "content", "events", "item", "label")

    def __init__(self, call: int, item: int, label: bytes, events: list[Event] | None) -> None:
        self.call, self.item, self.label, self.events = call, item, label, events
        self.content = bytearray()


class LabelledOutput:
    """
    Labels what this process prints, from now on.

    Args:
        note: also told the running call's number and each line, and the event it became, if it did.

    Attributes:
        function: name of the function whose calls run.
    """

    def __init__(self, note: Callable[[int, str, Event | None], None] | None = None) -> None:
        self.function = ""
        self._note = note
        self._host, self._pid = os.uname().nodename, os.getpid()
        self._counted = (-1, 0)  # of the call that printed last, how many lines became events
        self._skipped: _Line | None = None  # a line's owner of which some did not
        self._skipped_count = 0
        self._streams: list[_LabelledStream] = []
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            try:
                stream.flush()
                below = _LabelledStream(stream.fileno(), name, self)
                above = io.TextIOWrapper(below, stream.encoding, stream.errors, newline="\n", write_through=True)
            except (AttributeError, OSError, ValueError):
                continue  # there is none, or it goes nowhere that a descriptor names
            self._streams.append(below)
            setattr(sys, name, above)

    def end_lines(self) -> None:
        """A batch's calls have ended: what they printed of a line is one."""
        for stream in self._streams:
            stream.end_lines()
        self._tell_skipped()

    def begin_line(self) -> _Line:
        running: Running | None = running_here()
        try:
            if running is not None:
                call, item = running.call, running.item
                return _Line(call, item, self._label(call), running.events)
        except IndexError:
            pass  # a thread that a map's last call left
        return _Line(-1, -1, self._label(-1), None)

    def ended(self, line: _Line, text: str, stream: str) -> None:
        """A whole line has been written."""
        if line.events is None:
            return
        counted_call, count = self._counted
        if counted_call != line.call:
            self._tell_skipped()
            count = 0
        if count >= LINES_RECORDED_MAX:
            self._skipped = line
            self._skipped_count += 1
            event = None
        else:
            self._counted = (line.call, count + 1)
            event = _keep(line, stream, text)
        if self._note is not None:
            self._note(line.call, f"{stream}: {text}", event)

    def _label(self, call: int) -> bytes:
        return label_of(self.function, call, self._host, self._pid).encode(errors="replace")

    def _tell_skipped(self) -> None:
        line, self._skipped = self._skipped, None
        if line is not None:
            _keep(line, "stdout", f"({self._skipped_count} more lines were printed; they are not recorded)")
            self._skipped_count = 0


def _keep(line: _Line, stream: str, text: str) -> Event:
    assert line.events is not None
    event = Event("output", SYSTEM_CLOCK.raw_ns(), None, stream, {"text": plain_field(text)}, line.item)
    line.events.append(event)
    return event


class _LabelledStream(io.RawIOBase):
    """Bytes in, labelled lines out."""

    def __init__(self, fd: int, name: str, output: LabelledOutput) -> None:
        self._fd = fd
        self.name = f"<{name}>"
        self._stream = name
        self._output = output
        self._begun: dict[int, _Line] = {}  # by thread, so that threads do not cut each other's lines
        self._lock = _thread.RLock()  # re-entrant, for what a signal's handler prints
        os.register_at_fork(after_in_child=self._forget_lock)

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = bytes(data)
        with self._lock:
            whole: list[tuple[_Line, bytes]] = []
            *ended, rest = content.split(b"\n")
            for part in ended:
                whole.append(self._end(part))
            if rest:
                line = self._line()
                if line.content and len(line.content) + len(rest) > LINE_BYTES_MAX:
                    whole.append(self._end(b""))
                    line = self._line()
                line.content += rest
            self._put(whole)
        return len(content)

    def end_lines(self) -> None:
        with self._lock:
            lines, self._begun = self._begun, {}
            self._put([(line, bytes(line.content)) for line in lines.values() if line.content])

    def _line(self) -> _Line:
        """The line of this thread that has begun; a call that left one without an end ends it by being over."""
        thread = _thread.get_ident()
        line = self._begun.get(thread)
        if line is None or not line.content:
            line = self._begun[thread] = self._output.begin_line()
            return line
        now = self._output.begin_line()
        if (now.call, now.item) != (line.call, line.item):
            self._put([(line, bytes(line.content))])
            line = self._begun[thread] = now
        return line

    def _end(self, part: bytes) -> tuple[_Line, bytes]:
        line = self._line()
        del self._begun[_thread.get_ident()]
        return line, bytes(line.content) + part

    def _put(self, lines: Sequence[tuple[_Line, bytes]]) -> None:
        if not lines:
            return
        view = memoryview(b"".join(line.label + content + b"\n" for line, content in lines))
        while view:
            view = view[os.write(self._fd, view) :]
        for line, content in lines:
            self._output.ended(line, content.decode(errors="replace"), self._stream)

    def _forget_lock(self) -> None:
        self._lock = _thread.RLock()
