"""
Starters: where worker processes come from, how they are ended, and how one learns that they have ended.

    method    a worker is                                      for
    server    forked from a process that imported ahead        the default: quick, small, safe with threads
    fork      forked from the caller's process                 those who ask: it has all that the caller has
    spawn     an interpreter of its own                        those who ask: it shares nothing

What is common: each worker leads a process group; the pool holds its pidfd, so that a signal never hits a stranger
who got the same number later; a lifeline ends it when the pool's process does (`_lifeline.py`). It needs Linux: memfd,
pidfd, epoll and `/proc`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` brings `enum`
import _socket
import contextlib
import errno
import fcntl
import gc
import os
import select
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque

from coeval.clocks._named_tuple import NamedTuple
from coeval.engines.local import _channel
from coeval.engines.local._channel import raised
from coeval.engines.local._child import (
    be_worker,
    changes_between,
    flush_standard_streams,
    limit_native_threads,
)
from coeval.engines.local._cores import usable_cores
from coeval.engines.local._launch import (
    ENTRY,
    LaunchedServer,
    is_open,
    is_stream,
    launch,
    pipe_above_standard_streams,
    read_surroundings,
)
from coeval.engines.local._pool_state import Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, Protocol, TypeAlias

    Method: TypeAlias = Literal["server", "fork", "spawn"]
    News: TypeAlias = "Started | Ended | Reaped | NotStarted"
else:
    Protocol = object

# How long `close` lets an idle server reap its workers, and waits for a worker whose start had not been told yet.
# Shorter: zombies are left to whoever inherits them, on a machine that stands still for a moment. Longer: nothing is
# gained, as all of them have been killed.
CLOSE_S_MAX = 1.0

# A signal for the whole group behind a pidfd (Linux 6.9), also when its leader has been reaped.
_PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2


class Started(NamedTuple):
    """The process of a worker exists, and goes to its entry point."""

    number: int
    pid: int


class Ended(NamedTuple):
    """A worker that had started is gone. What it left in its group can still be killed until it is reaped."""

    number: int
    how: Exit


class Reaped(NamedTuple):
    """
    A worker that ended was reaped. Only now does the kernel tell its most resident memory, in bytes; None: it does not.
    """

    number: int
    memory_bytes_peak: int | None


class NotStarted(NamedTuple):
    """
    A worker could not be started. Nothing of it is left; but where a fork server died between its fork and its answer,
    a worker nobody knows of ends when the caller closes its commands.
    """

    number: int
    reason: str


class Starter(Protocol):
    """
    Starts workers and tells what becomes of them. Any thread may call any method; only `close` waits.

    Attributes:
        fd: readable when `events` has something to tell; the same for as long as the starter lives.
    """

    fd: int

    def start(self, number: int, descriptors: Sequence[int], cell: int) -> None:
        """
        Begin to start a worker; `Started` or `NotStarted` follows, also where it fails at once.

        Args:
            number: never used before.
            descriptors: what the entry point is called with. The caller closes its own when this returns.
            cell: passed on: where on the board the worker's cells begin.
        """

    def preload(self, names: Sequence[str]) -> None:
        """Import modules before the next worker is started, where workers share what was imported."""

    def events(self) -> list[News]:
        """What happened since the last time."""

    def kill(self, number: int) -> None:
        """
        SIGKILL a worker and its process group, whatever it does. `Ended` follows.

        One that has not started yet is killed when it has. One that is reaped, or was never started, is passed over.
        """

    def reap(self, number: int) -> None:
        """Forget a worker whose `Ended` was told; its process id may be used again from now on. `Reaped` follows."""

    def close(self) -> None:
        """End all workers and whatever helps to start them; they are gone when it returns. May be called again."""


def starter_of(
    method: Method,
    *,
    preload: Sequence[str] = (),
    workers_max: int | None = None,
    entry: str = ENTRY,
    server: LaunchedServer | None = None,
) -> Starter:
    """
    Make a starter.

    Args:
        method: "server", "fork" or "spawn".
        preload: modules that a fork server imports before it forks.
        workers_max: native libraries in each worker use at most usable cores / `workers_max` threads, unless the
            environment says otherwise; None: one.
        entry: "module:function" of what workers run, called with the descriptors that they are started with, the
            cell, and the armed lifeline.
        server: one that was launched earlier, with the same arguments.

    Raises:
        ValueError: no such method.
        OSError: there are no descriptors. (A server that cannot be launched is `NotStarted` later.)
    """
    starter: _Starter
    if method == "server":
        starter = _ServerStarter(preload, workers_max, entry, server)
    elif method == "fork":
        starter = _ForkStarter(workers_max, entry)
    elif method == "spawn":
        starter = _SpawnStarter(workers_max, entry)
    else:
        raise ValueError(f"start method {method!r}: it is one of 'server', 'fork' and 'spawn'")
    _starters.add(starter)
    return starter


class _Process:
    """One process that leads a group, by its pidfd."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.is_held = True  # somebody keeps its pid from being used again
        self.is_over = False  # its end was told

    def kill(self) -> None:
        """End the process and its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL)  # first, as a call may have left the group
        try:
            _signal.pidfd_send_signal(self.pidfd, _signal.SIGKILL, None, _PIDFD_SIGNAL_PROCESS_GROUP)
        except (ProcessLookupError, PermissionError):
            return
        except OSError:  # an older kernel
            if self.is_held:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, _signal.SIGKILL)

    def look(self) -> Exit | None:
        """How our own child ended, without reaping it; None: it runs."""
        try:
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:  # the caller ignores SIGCHLD or waits for any child; or it was an orphan
            self.is_held = False
            return Exit("", None)
        return None if ended is None else exit_of(ended.si_code, ended.si_status)

    def reap(self) -> int | None:
        """
        Let go of a process that ended; its zombie too, if it is our child.

        Returns:
            The most memory it ever had, in bytes; None: the kernel does not tell, or it is not our child.
        """
        peak = None
        with contextlib.suppress(ChildProcessError):
            # By its pidfd, so that no stranger is reaped; the number is safe to use while the zombie is there.
            if self.is_held and os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                _, _, usage = os.wait4(self.pid, os.WNOHANG)
                peak = usage.ru_maxrss * 1024
            else:
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
        os.close(self.pidfd)
        return peak

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended; False: it has not."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


def exit_of(code: int, status: int) -> Exit:
    """Say how a process ended, from what waitid(2) gives."""
    if code == os.CLD_EXITED:
        return Exit("", status)
    return Exit(_signal_names().get(status, f"signal {status}"), None)


def _signal_names() -> dict[int, str]:
    """As `signal.Signals` has them, without its import, for which the next worker would wait."""
    names = (name for name in dir(_signal) if name.startswith("SIG") and not name.startswith("SIG_"))
    return {getattr(_signal, name): name for name in sorted(names, reverse=True)}


class _Starter(ABC):
    """What the three have in common: workers by number, their ends by pidfd, and news for whoever asks."""

    def __init__(self, workers_max: int | None, entry: str) -> None:
        self._workers_max = workers_max
        self._cores = usable_cores()  # once, as it reads some files
        self._entry = entry
        self._lock = threading.RLock()
        self._is_closed = False
        self._workers: dict[int, _Process] = {}
        self._numbers: dict[int, int] = {}  # of the workers whose ends this process watches, by the pidfd
        self._news: list[News] = []
        self._epoll = select.epoll()
        try:
            if self._epoll.fileno() <= 2:
                self._epoll = select.epoll.fromfd(raised(os.dup(self._epoll.fileno())))
            self._bell = raised(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        except BaseException:
            self._epoll.close()
            raise
        self.fd = self._epoll.fileno()
        self._epoll.register(self._bell, select.EPOLLIN)

    def start(self, number: int, descriptors: Sequence[int], cell: int) -> None:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the starter is closed; make another one")
            copies: list[int] = []
            try:
                # In the worker the numbers of the standard streams are those streams'.
                self._begin(number, [fd if fd > 2 else _raised_copy(fd, copies) for fd in descriptors], cell)
            except OSError as error:
                self._tell(NotStarted(number, _reason(error)))
            finally:
                _close_all(copies)

    def preload(self, names: Sequence[str]) -> None:
        return  # a fork has what the caller has, and an own interpreter shares nothing

    def events(self) -> list[News]:
        with self._lock:
            if self._is_closed:
                return []
            for fd, _ in self._epoll.poll(0):
                self._look(fd)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            news, self._news = self._news, []
        return news

    def kill(self, number: int) -> None:
        with self._lock:
            worker = self._workers.get(number)
            if worker is not None:
                worker.kill()

    def reap(self, number: int) -> None:
        with self._lock:
            self._tell(Reaped(number, self._peak_of(self._workers.pop(number).reap())))

    def close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            for worker in self._workers.values():
                worker.kill()
            self._end_helpers()
            for worker in self._workers.values():
                worker.wait()
                worker.reap()
            self._workers.clear()
            self._close_descriptors()
        _starters.discard(self)

    def abandon(self) -> None:
        """In a forked child: close what is the parent's, end nothing. No lock, which another thread may have held."""
        self._is_closed = True
        self._close_descriptors()
        for worker in self._workers.values():
            os.close(worker.pidfd)
        self._workers.clear()

    # For the kinds ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, number: int, descriptors: Sequence[int], cell: int) -> None:
        """Start a worker; news of it come later."""

    def _peak_of(self, reaped_bytes: int | None) -> int | None:
        """From what the kernel says of a reaped child to what the worker had."""
        return reaped_bytes

    def _end_helpers(self) -> None:
        return

    def _close_descriptors(self) -> None:
        os.close(self._bell)
        self._epoll.close()

    def _tell(self, news: News) -> None:
        self._news.append(news)
        os.eventfd_write(self._bell, 1)

    def _add(self, number: int, pid: int, pidfd: int) -> None:
        self._workers[number] = _Process(pid, pidfd)
        self._tell(Started(number, pid))

    def _watch(self, number: int) -> None:
        """Notice by ourselves when this worker ends."""
        pidfd = self._workers[number].pidfd
        self._numbers[pidfd] = number
        self._epoll.register(pidfd, select.EPOLLIN)

    def _look(self, fd: int) -> None:
        number = self._numbers.get(fd)
        if number is None:
            return
        how = self._workers[number].look()
        if how is not None:
            self._epoll.unregister(fd)
            del self._numbers[fd]
            self._tell_end(number, how)

    def _tell_end(self, number: int, how: Exit) -> None:
        self._workers[number].is_over = True
        self._tell(Ended(number, how))

    def _native_limits(self) -> dict[str, str]:
        return limit_native_threads(os.environ, self._workers_max, self._cores)


class _ChildStarter(_Starter):
    """Workers that are children of the caller's process."""

    def __init__(self, workers_max: int | None, entry: str) -> None:
        super().__init__(workers_max, entry)
        try:
            self._lifeline_read, self._lifeline = pipe_above_standard_streams()
        except BaseException:
            super()._close_descriptors()
            raise

    def _close_descriptors(self) -> None:
        os.close(self._lifeline)
        os.close(self._lifeline_read)
        super()._close_descriptors()


class _ForkStarter(_ChildStarter):
    """Forks the caller's process as it is."""

    def _begin(self, number: int, descriptors: Sequence[int], cell: int) -> None:
        import warnings

        changes = {"environment": self._native_limits()}
        lifeline = raised(os.dup(self._lifeline_read))  # in the child all of the starter's own descriptors are closed
        is_frozen = gc.get_freeze_count() > 0  # by the caller, who may count on it
        flush_standard_streams()
        if not is_frozen:
            gc.freeze()
        try:
            with warnings.catch_warnings():
                if any(action == "error" for action, *_ in warnings.filters):
                    # Who asks for fork while threads run is warned, and not refused halfway: by then the child exists.
                    warnings.filterwarnings("default", ".*multi-threaded.*", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                self._be_worker(descriptors, cell, lifeline, changes)
        finally:
            if not is_frozen:
                gc.unfreeze()
            os.close(lifeline)
        try:
            pidfd = raised(os.pidfd_open(pid))
        except OSError:
            os.kill(pid, _signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            raise
        self._add(number, pid, pidfd)
        self._watch(number)

    def _be_worker(self, descriptors: Sequence[int], cell: int, lifeline: int, changes: Mapping[str, Any]) -> None:
        try:
            import atexit

            atexit._clear()  # those are the caller's
            _begin_anew_in_multiprocessing()
            null = raised(os.open(os.devnull, os.O_RDWR))
            for fd in (0, 1, 2):
                if fd == 0 or not is_open(fd):
                    os.dup2(null, fd)
            _forget_unwritten(null)
            os.close(null)
            be_worker(self._entry, descriptors, cell, lifeline, changes)
        finally:
            os._exit(1)


def _forget_unwritten(null: int) -> None:
    """In a forked worker: what another thread printed between flush and fork is the caller's, who writes it."""
    streams = [(fd, raised(os.dup(fd))) for fd in (1, 2)]
    for fd, _ in streams:
        os.dup2(null, fd)
    flush_standard_streams()
    for fd, stream in streams:
        os.dup2(stream, fd)
        os.close(stream)


def _begin_anew_in_multiprocessing() -> None:
    """
    Do in a forked worker what `multiprocessing` does in its own: the caller's children and finalizers are not its, what
    it inherited (queues, locks) is made fit for a child, and what it puts on a queue is written before it ends.
    """
    process: Any = sys.modules.get("multiprocessing.process")
    util: Any = sys.modules.get("multiprocessing.util")
    if process is None or util is None:
        return  # a call that imports it finds it new
    import atexit

    process._children = set()
    util._finalizer_registry.clear()
    util._run_after_forkers()
    atexit.register(util._exit_function)


class _SpawnStarter(_ChildStarter):
    """Starts an interpreter of its own for each worker."""

    def _begin(self, number: int, descriptors: Sequence[int], cell: int) -> None:
        surroundings = read_surroundings()
        state = {
            "path": surroundings["path"],
            "argv": surroundings["argv"],
            "main": "coeval.engines.local._spawned",
            "entry": self._entry,
            "descriptors": descriptors,
            "cell": cell,
            "lifeline": self._lifeline_read,
        }
        environment = {**os.environ, **self._native_limits()}
        pid, pidfd = launch(state, (*descriptors, self._lifeline_read), environment)
        self._add(number, pid, pidfd)
        self._watch(number)

    def _peak_of(self, reaped_bytes: int | None) -> int | None:
        # Until it was another program the new process lived in this one's memory, and the kernel counts that too.
        import resource

        own_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return reaped_bytes if reaped_bytes is not None and reaped_bytes > own_bytes else None


class _ServerStarter(_Starter):
    """
    Has a fork server start workers.

    A server that dies leaves its workers as orphans: they go on, and their ends are noticed here by their pidfds,
    though nobody can say how they ended. What it was asked and had not answered is not started. The next start launches
    another one; without preloading, if this one never started anything, as it may be a module that killed it.
    """

    def __init__(
        self, preload: Sequence[str], workers_max: int | None, entry: str, server: LaunchedServer | None
    ) -> None:
        super().__init__(workers_max, entry)
        self._preload = list(preload)
        self._server: LaunchedServer | None = None
        self._server_process: _Process | None = None
        self._lifelines: list[int] = []  # of all servers, as their workers may have outlived them
        self._unsent: deque[tuple[tuple[Any, ...], list[int]]] = deque()
        self._unanswered: set[int] = set()  # starts
        self._doomed: set[int] = set()  # to be killed when they have started
        self._unreaped: set[int] = set()  # the server is about to reap them
        self._preloads_unanswered = 0
        self._has_started_any = False
        if server is not None:
            self._adopt(server)
        else:
            with contextlib.suppress(OSError):  # the first start tries again, and says why it fails
                self._launch()

    def preload(self, names: Sequence[str]) -> None:
        with self._lock:
            new = [name for name in dict.fromkeys(names) if name not in self._preload]
            self._preload += new
            if new and self._server is not None and not self._is_closed:
                self._preloads_unanswered += 1
                self._send(("preload", new))

    def kill(self, number: int) -> None:
        with self._lock:
            if number in self._unanswered:
                self._doomed.add(number)
            else:
                super().kill(number)

    def reap(self, number: int) -> None:
        with self._lock:
            worker = self._workers[number]
            if self._server is None or not worker.is_held:
                super().reap(number)
                return
            self._workers.pop(number).reap()
            self._unreaped.add(number)
            self._send(("reap", number))

    def abandon(self) -> None:
        if self._server_process is not None:
            os.close(self._server_process.pidfd)
        super().abandon()

    def _begin(self, number: int, descriptors: Sequence[int], cell: int) -> None:
        if self._server is None:
            self._launch()
        assert self._server is not None
        changes = changes_between(self._server.surroundings, read_surroundings())
        changes["environment"] = {**self._native_limits(), **changes.get("environment", {})}
        with contextlib.ExitStack() as at_once:
            streams = []
            for fd in (1, 2):
                if not is_stream(fd):
                    fd = raised(os.open(os.devnull, os.O_WRONLY))
                    at_once.callback(os.close, fd)
                streams.append(fd)
            self._send(("start", number, cell, changes), [*descriptors, *streams])
        self._unanswered.add(number)

    # The server -------------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._adopt(LaunchedServer(self._preload, workers_max=self._workers_max, entry=self._entry))

    def _adopt(self, server: LaunchedServer) -> None:
        server.adopt()
        self._server = server
        self._server_process = _Process(server.pid, server.pidfd)
        self._lifelines.append(server.lifeline)
        self._epoll.register(server.channel.fileno(), select.EPOLLIN)
        self._preloads_unanswered = 1  # what it was launched with
        self._has_started_any = False

    def _send(self, message: tuple[Any, ...], descriptors: Sequence[int] = ()) -> None:
        """Send now, or when the server takes it: it may be busy importing."""
        if self._server is None:
            return
        if not self._unsent and self._try_send(message, descriptors):
            return
        kept: list[int] = []
        try:
            for fd in descriptors:
                kept.append(raised(os.dup(fd)))
        except OSError:
            _close_all(kept)
            raise
        self._unsent.append((message, kept))
        self._epoll.modify(self._server.channel.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _try_send(self, message: tuple[Any, ...], descriptors: Sequence[int]) -> bool:
        assert self._server is not None
        try:
            _channel.send(self._server.channel, message, descriptors, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # the server has ended; that is noticed when its last answers are read
        except OSError as error:
            # So many descriptors are under way that the kernel takes no more until the server has taken some.
            if error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS) and self._unanswered:
                return False
            raise
        return True

    def _look(self, fd: int) -> None:
        if self._server is None or fd != self._server.channel.fileno():
            super()._look(fd)
            return
        self._hear_all()
        self._send_rest()

    def _send_rest(self) -> None:
        while self._server is not None and self._unsent:
            message, kept = self._unsent[0]
            try:
                if not self._try_send(message, kept):
                    return
            except OSError as error:
                if message[0] == "start":
                    self._refuse(message[1], _reason(error))
            self._unsent.popleft()
            _close_all(kept)
            if not self._unsent:
                self._epoll.modify(self._server.channel.fileno(), select.EPOLLIN)

    def _hear_all(self) -> None:
        assert self._server is not None
        try:
            while True:
                try:
                    message, descriptors = _channel.receive(self._server.channel, _socket.MSG_DONTWAIT)
                except _channel.DescriptorsLost as error:
                    self._hear_without_descriptor(error.message)
                else:
                    self._hear(message, descriptors)
        except BlockingIOError:
            return
        except (EOFError, ConnectionError):
            self._server_gone()

    def _hear(self, message: tuple[Any, ...], descriptors: Sequence[int]) -> None:
        match message:
            case ("started", int(number), int(pid)):
                self._unanswered.discard(number)
                self._has_started_any = True
                [pidfd] = descriptors
                self._add(number, pid, pidfd)
                if number in self._doomed:
                    self._doomed.remove(number)
                    self._workers[number].kill()
            case ("not started", int(number), str(reason)):
                self._refuse(number, reason)
            case ("ended", int(number), int(code), int(status)):
                if number in self._workers:
                    self._tell_end(number, exit_of(code, status))
            case ("reaped", int(number), int(peak)):
                self._tell_reaped(number, peak)
            case ("preloaded",):
                self._preloads_unanswered -= 1
            case ("not imported", str(name), str(reason)):
                _log().warning(
                    "module %s was not imported ahead: %s. A worker that needs it imports it by itself.", name, reason
                )

    def _hear_without_descriptor(self, message: tuple[Any, ...]) -> None:
        """A worker has started, and this process has no descriptor left to hold it by."""
        _, number, pid = message
        os.kill(pid, _signal.SIGKILL)  # the server keeps the pid until it is told to reap
        self._send(("reap", number))
        self._refuse(number, "Too many open files")

    def _tell_reaped(self, number: int, peak: int | None) -> None:
        if number in self._unreaped:
            self._unreaped.remove(number)
            self._tell(Reaped(number, peak))

    def _refuse(self, number: int, reason: str) -> None:
        self._unanswered.discard(number)
        self._doomed.discard(number)
        self._tell(NotStarted(number, reason))

    def _server_gone(self) -> None:
        assert self._server is not None
        assert self._server_process is not None
        self._server_process.kill()
        self._server_process.wait()
        how = self._server_process.look()
        self._forget_server()
        _log().warning("the fork server %s; its workers go on, and the next start launches another one", how)
        for number in sorted(self._unanswered):
            self._refuse(number, f"the fork server {how}")
        for number in sorted(self._unreaped):
            self._tell_reaped(number, None)
        for number, worker in self._workers.items():
            if worker.is_held and not worker.is_over:
                self._watch(number)
            worker.is_held = False
        if not self._has_started_any:
            self._preload.clear()

    def _forget_server(self) -> None:
        assert self._server is not None
        assert self._server_process is not None
        self._server_process.reap()
        self._epoll.unregister(self._server.channel.fileno())
        self._server.channel.close()
        self._server = self._server_process = None
        for _, kept in self._unsent:
            _close_all(kept)
        self._unsent.clear()

    def _end_helpers(self) -> None:
        if self._server is None:
            return
        assert self._server_process is not None
        is_idle = not (self._unanswered or self._preloads_unanswered or self._unsent)
        if is_idle:
            self._server.channel.shutdown(_socket.SHUT_RDWR)  # it reaps its workers and leaves
        if not is_idle or not self._server_process.wait(CLOSE_S_MAX):
            self._server_process.kill()
            self._server_process.wait()
            self._end_untold()
        self._forget_server()

    def _end_untold(self) -> None:
        """End workers that the server forked, but did not live to tell of."""
        assert self._server is not None
        for lifeline in self._lifelines:
            with contextlib.suppress(BrokenPipeError):  # nobody is left
                os.write(lifeline, b"x")
        if self._unanswered:
            # Its write end has an error when nobody holds a read end any more.
            poll = select.poll()
            poll.register(self._server.lifeline, 0)
            poll.poll(CLOSE_S_MAX * 1000)

    def _close_descriptors(self) -> None:
        if self._server is not None:
            self._server.channel.close()
        for _, kept in self._unsent:
            _close_all(kept)
        _close_all(self._lifelines)
        super()._close_descriptors()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _raised_copy(fd: int, copies: list[int]) -> int:
    copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))
    return copies[-1]


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _log() -> logging.Logger:
    import logging  # only who has something to tell

    return logging.getLogger("coeval.engines.local")


_starters: weakref.WeakSet[_Starter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for starter in list(_starters):
        starter.abandon()
    _starters.clear()  # a child of this child must not close these numbers again: they may be other files' by then


os.register_at_fork(after_in_child=_after_fork_in_child)
