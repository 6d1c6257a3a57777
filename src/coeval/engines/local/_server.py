"""
The fork server: a process between the pool and its workers, which imports once what all of them need.

    the pool's process                      the server                              a worker
    ──────────────────                      ──────────                              ────────
    posix_spawn ───────────────────────>    imports the worker's runtime
    "start" + the worker's ends ────────>  fork ────────────────────────────────>  its own process group, lifeline,
    <────────── "started", pid + pidfd                                              environment; then the entry point
    "preload", names ──────────────────>    imports them, for the next fork
    <────────── "ended", how                pidfd: it ended; its pid stays taken  <──  exits, is killed
    "reap" ────────────────────────────>    wait4
    <────────── "reaped", its most memory

It has one thread, waits in one poll, and never wakes up by itself. It runs nothing of the caller's `__main__`.
Requests are done in the order in which they came; each "start" and each "preload" has one answer.

The collector is off here, and what exists is frozen before a fork: a collection in a worker would write into the
header of every object, and so copy every page of what the workers share.
"""

from __future__ import annotations

import _socket
import _thread
import gc
import marshal
import os
import select
import sys

from coeval.engines.local import _channel
from coeval.engines.local._child import (
    be_worker,
    flush_standard_streams,
    keep_only,
    limit_native_threads,
    reset_signals,
)
from coeval.engines.local._lifeline import hold

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn


def main(state: dict[str, Any]) -> NoReturn:
    """
    Serve until the pool closes the channel or ends.

    Args:
        state: `entry`, `preload`, `workers_max`, `channel`, `lifeline`; after the server began anew also `dropped`
            (modules not to import) and `members` (process ids by worker's number).
    """
    gc.disable()
    keep_only((state["channel"], state["lifeline"]))
    armed = hold(state["lifeline"])
    reset_signals()
    _Server(state, armed).serve()


class _Server:
    """The loop, and the workers that it has forked and not reaped."""

    def __init__(self, state: dict[str, Any], armed: int) -> None:
        self._state = state
        self._armed = armed
        self._channel = _socket.socket(fileno=state["channel"])
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)
        self._pids: dict[int, int] = {}
        self._numbers: dict[int, int] = {}  # of workers whose end was not told yet, by the pidfd
        for number, pid in state.get("members", {}).items():
            self._watch(number, pid)

    def serve(self) -> NoReturn:
        _import_pickler()
        self._import(self._state["entry"].partition(":")[0])
        self._read_what_stays()
        self._preload(self._state.pop("preload"))
        while True:
            for fd, _ in self._poll.poll():
                if fd != self._channel.fileno():
                    self._tell_end(fd)
                    continue
                try:
                    message, descriptors = _channel.receive(self._channel)
                except _channel.DescriptorsLost as error:
                    self._tell("not started", error.message[1], f"the fork server has no descriptors left: {error}")
                except (EOFError, ConnectionError):
                    self._leave()
                else:
                    self._hear(message, descriptors)

    def _read_what_stays(self) -> None:
        """Once, what each worker would read of this machine."""
        from coeval.clocks import SYSTEM_CLOCK, clock_id

        clock_id(SYSTEM_CLOCK)

    def _hear(self, message: tuple[Any, ...], descriptors: list[int]) -> None:
        match message:
            case ("start", int(number), int(cell), dict(changes)):
                self._start(number, cell, changes, descriptors)
            case ("preload", list(names)):
                self._preload(names)
            case ("reap", int(number)):
                self._reap(number)

    # Workers ----------------------------------------------------------------------------------------------------------

    def _start(self, number: int, cell: int, changes: dict[str, Any], descriptors: list[int]) -> None:
        flush_standard_streams()
        gc.freeze()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell("not started", number, f"fork: {error.strerror}")
        else:
            if pid == 0:
                self._be_worker(cell, changes, descriptors)
            self._announce(number, pid)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _be_worker(self, cell: int, changes: dict[str, Any], descriptors: list[int]) -> NoReturn:
        try:
            self._channel.close()
            for fd in (self._armed, *self._numbers):
                os.close(fd)
            *own, out, error = descriptors
            os.dup2(out, 1)
            os.dup2(error, 2)
            os.close(out)
            os.close(error)
            be_worker(self._state["entry"], own, cell, self._state["lifeline"], changes)
        finally:
            os._exit(1)

    def _announce(self, number: int, pid: int) -> None:
        try:
            pidfd = self._watch(number, pid)
        except OSError as error:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            self._tell("not started", number, f"the fork server has no descriptors left: {error.strerror}")
        else:
            self._tell("started", number, pid, descriptors=(pidfd,))

    def _watch(self, number: int, pid: int) -> int:
        pidfd = os.pidfd_open(pid)
        self._pids[number] = pid
        self._numbers[pidfd] = number
        self._poll.register(pidfd, select.POLLIN)
        return pidfd

    def _tell_end(self, pidfd: int) -> None:
        if pidfd not in self._numbers:  # reaped by a request that came in the same poll
            return
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        self._tell("ended", self._unwatch(pidfd), ended.si_code, ended.si_status)

    def _unwatch(self, pidfd: int) -> int:
        self._poll.unregister(pidfd)
        os.close(pidfd)
        return self._numbers.pop(pidfd)

    def _reap(self, number: int) -> None:
        for pidfd in [pidfd for pidfd, watched in self._numbers.items() if watched == number]:
            self._unwatch(pidfd)  # killed and given up before it was known to have ended
        _, _, usage = os.wait4(self._pids.pop(number), 0)
        self._tell("reaped", number, usage.ru_maxrss * 1024)

    def _leave(self) -> NoReturn:
        """The pool has closed the channel, and killed the workers before that."""
        for pid in self._pids.values():
            os.waitpid(pid, 0)
        os._exit(0)

    # Modules ----------------------------------------------------------------------------------------------------------

    def _preload(self, names: Sequence[str]) -> None:
        dropped: list[str] = self._state.setdefault("dropped", [])
        if names:  # whose libraries read this as they are imported; a worker is told by the pool
            from coeval.engines.local._cores import usable_cores

            os.environ.update(limit_native_threads(os.environ, self._state["workers_max"], usable_cores()))
        for position, name in enumerate(names):
            if name in dropped:
                continue
            self._import(name)
            if _thread._count():
                # A thread that holds a lock at the moment of the fork leaves it locked in the worker for ever.
                self._tell("not imported", name, "it starts a thread, and a server with threads cannot fork safely")
                dropped.append(name)
                self._begin_anew([*self._state["imported"], *names[position + 1 :]])
            self._state.setdefault("imported", []).append(name)
        if "logging" in sys.modules:  # then every worker begins with that
            self._import("coeval.recording._log_capture")
        self._tell("preloaded")

    def _import(self, name: str) -> None:
        try:
            __import__(name)
        except BaseException as error:  # whatever it is, the worker that needs the module meets it again and says so
            self._tell("not imported", name, f"{type(error).__name__}: {error}")

    def _begin_anew(self, names: list[str]) -> NoReturn:
        """Run this program again in the same process: its threads are gone then, and its workers stay its children."""
        from coeval.engines.local._launch import interpreter_command

        state = {**self._state, "preload": names, "imported": [], "members": self._pids}
        told = _channel.memory_file(marshal.dumps(state))
        for fd in (told, self._channel.fileno(), self._state["lifeline"]):
            os.set_inheritable(fd, True)
        flush_standard_streams()
        command = interpreter_command(told)
        os.execve(command[0], command, os.environ)

    def _tell(self, *message: Any, descriptors: Sequence[int] = ()) -> None:
        try:
            _channel.send(self._channel, message, descriptors)
        except ConnectionError:
            self._leave()


def _import_pickler() -> None:
    """
    Import `_pickle`, which asks `functools` for `partial` when it is imported. That would bring `collections` and more,
    and take 2 ms of a first call, where `_functools` has the very same object.
    """
    if "functools" in sys.modules:
        return
    import _functools  # type: ignore[import-not-found]

    sys.modules["functools"] = _functools
    try:
        import _pickle  # noqa: F401
    finally:
        del sys.modules["functools"]
