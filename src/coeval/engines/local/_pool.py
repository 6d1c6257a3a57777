"""
The local engine: processes, their pipes, and the one thread that serves them.

    any thread          the pool's thread                                    a worker (own process group)
    ──────────          ─────────────────                                    ────────────────────────────
    send, stop ─────>   inbox ─> PoolState ─> actions
      (wake pipe)                               HandOver  ── commands ──────> read_frame
                                                deliver  <── results ──────── write_frame
                        pidfd: it ended  <─────────────────────────────────── exits, is killed
                        board (shared page, read when it matters) <────────── item, start
                        lifeline: held open; the kernel kills the worker's group when this process ends

Only the pool's thread touches the state and the pipes, so nothing here is locked but the inbox. What to do is decided
in `_pool_state.py`; this file does it.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from coeval.clocks import SYSTEM_CLOCK, Clock, ClockId
from coeval.engines._engine import Batch, Capabilities, Deliver, Outcome, Stamps, Worker
from coeval.engines.local import _boot
from coeval.engines.local._board import BLANK, Board, above_standard_streams
from coeval.engines.local._cores import usable_cores
from coeval.engines.local._frames import READ_BYTES_MAX, FrameReader, frame
from coeval.engines.local._pool_state import (
    Action,
    DeliverOutcome,
    EndWorker,
    Exit,
    HandOver,
    PoolState,
    StartWorker,
)
from coeval.recording import Event

# A worker that is idle when the pool is closed may run its atexit functions (coverage writes its data there) this long.
CLOSE_GRACE_S = 1.0

# Function bodies that one worker keeps. A program that makes a new lambda for each call, or binds an array to each,
# must not fill it.
FUNCTIONS_KEPT_MAX = 256
FUNCTION_BYTES_KEPT_MAX = 1 << 26


class LocalEngine:
    """
    Workers that are processes of this machine.

    Workers start when there is work for them, at most `max_workers`; one that ends is replaced when it is needed again.
    """

    name = "local"
    capabilities = Capabilities(
        separate_process=True, stops_running_work=True, time_limit=True, names_signal=True, same_host=True
    )

    def __init__(self, max_workers: int | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.workers_max = max_workers or usable_cores()
        self._clock = clock
        self._inbox: deque[Callable[[], list[Action]]] = deque()
        self._state = PoolState(self.workers_max)
        self._processes: dict[int, _Process] = {}
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._closing = False
        self._lock = threading.Lock()

    # The contract -----------------------------------------------------------------------------------------------------

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def window(self) -> int:
        # What waits is better off with the executor, where it can be cancelled.
        return self.workers_max

    def send(self, batch: Batch) -> None:
        self._ask(lambda: self._state.batch_sent(batch))

    def pump(self, timeout_s: float | None) -> None:
        return  # the pool's thread carries

    def stop(self, batch: int, item: int) -> bool:
        answer: Future[bool] = Future()

        def look() -> list[Action]:
            boards = {number: process.board.read() for number, process in self._processes.items()}
            actions = self._state.stop_asked(batch, item, boards, self._clock.raw_ns())
            answer.set_result(bool(actions))
            return actions

        if threading.current_thread() is self._thread:  # a future's callback asks: nobody else would answer
            self._do(look())
            return answer.result()
        try:
            self._ask(look)
        except RuntimeError:  # closed: nothing is here any more
            return False
        return answer.result()

    def workers(self) -> Sequence[Worker]:
        return self._state.workers()

    def close(self) -> None:
        with self._lock:
            thread, self._closing = self._thread, True
            self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # The pool's thread ------------------------------------------------------------------------------------------------

    def _ask(self, request: Callable[[], list[Action]]) -> None:
        with self._lock:
            if self._closing:
                raise RuntimeError("the local pool is closed")
            if self._thread is None:
                self._start_thread()
            self._inbox.append(request)
            self._wake()

    def _start_thread(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        thread = threading.Thread(target=self._serve, name="coeval-local-pool", daemon=True)
        _pools.add(self)
        try:
            thread.start()
        except RuntimeError:  # there are too many threads, or the interpreter is shutting down
            self._close_wake_pipe()
            raise
        self._thread = thread

    def _wake(self) -> None:
        """Called with the lock held: after the pipe is closed its number may be another file's."""
        with contextlib.suppress(OSError):  # full: it is awake anyway; closed: it is gone
            os.write(self._wake_write, b"w")

    def _close_wake_pipe(self) -> None:
        for end in (self._wake_read, self._wake_write):
            os.close(end)
        self._wake_read = self._wake_write = -1

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._serve_once()
        except BaseException:
            # Our own broken invariant. Nobody must wait for ever for calls that nobody serves.
            logging.getLogger("coeval.engines.local").critical(
                "the local pool failed; please report this", exc_info=True
            )
            with self._lock:
                self._closing = True  # from now on `send` refuses
            self._hear_the_rest()  # what was sent but not looked at yet must fail with the others
            for action in self._state.failed("the local pool failed; its log says why", self._clock.raw_ns()):
                with contextlib.suppress(Exception):  # each by itself
                    self._do([action])
        finally:
            self._end_everything()

    def _serve_once(self) -> None:
        while self._inbox:
            self._do(self._inbox.popleft()())
        look_ns = self._state.next_look_ns()
        # Rounded up: waking a millisecond late costs nothing, waking early costs a second look.
        timeout_ms = None if look_ns is None else max(0, (look_ns - self._clock.raw_ns()) // 1_000_000 + 1)
        ready = dict(self._poll.poll(timeout_ms))
        if self._wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
        for number, process in list(self._processes.items()):
            if process.results in ready:
                self._read(number, process)
            if process.commands in ready:
                self._write(process)
            if process.pidfd in ready:
                self._bury(number, process)
        now_ns = self._clock.raw_ns()
        due = self._state.looks_due(now_ns)
        if due:
            self._do(self._state.time_passed(now_ns, {number: self._processes[number].board.read() for number in due}))

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case DeliverOutcome(outcome):
                    self._deliver(outcome)
                case HandOver(number, batch):
                    self._hand_over(number, self._processes[number], batch)
                case StartWorker(number):
                    self._start(number)
                case EndWorker(number):
                    self._processes[number].kill()

    def _start(self, number: int) -> None:
        try:
            process = _Process()
        except Exception as error:  # no memory, no more processes or descriptors: as if it had ended at once
            logging.getLogger("coeval.engines.local").warning("a worker cannot be started: %s", error)
            how = Exit("", None, f"{type(error).__name__}: {error}")
            self._do(self._state.worker_gone(number, how, BLANK, self._clock.raw_ns()))
            return
        self._processes[number] = process
        self._poll.register(process.results, select.POLLIN)
        self._poll.register(process.pidfd, select.POLLIN)
        self._write(process)

    def _hand_over(self, number: int, process: _Process, batch: Batch) -> None:
        function = batch.function
        body = None
        if function.number not in process.functions:
            body = function.body
            process.function_bytes += len(body)
            if len(process.functions) >= FUNCTIONS_KEPT_MAX or process.function_bytes > FUNCTION_BYTES_KEPT_MAX:
                process.functions.clear()
                process.function_bytes = len(body)
                process.unwritten += frame(("forget",))
            process.functions.add(function.number)
        process.unwritten += frame(
            ("batch", batch.id, batch.attempt, function.number, body, tuple(batch.items), tuple(batch.calls))
        )
        self._state.handed_over(number, self._clock.raw_ns())
        self._write(process)

    def _write(self, process: _Process) -> None:
        try:
            while process.unwritten:
                written = os.write(process.commands, memoryview(process.unwritten)[:READ_BYTES_MAX])
                del process.unwritten[:written]
        except BlockingIOError:
            self._poll.register(process.commands, select.POLLOUT)
            return
        except BrokenPipeError:
            process.unwritten.clear()  # it has ended; its pidfd tells the rest
        with contextlib.suppress(KeyError):
            self._poll.unregister(process.commands)

    def _read(self, number: int, process: _Process) -> None:
        while True:
            try:
                data = os.read(process.results, READ_BYTES_MAX)
            except BlockingIOError:
                return
            if not data:  # closed: its pidfd tells the rest
                self._poll.unregister(process.results)
                process.results_closed = True
                return
            process.reader.feed(data)
            try:
                messages = list(process.reader.frames())
            except Exception:  # a call wrote into a pipe that is not its own
                logging.getLogger("coeval.engines.local").warning("a worker sent what is no frame", exc_info=True)
                self._poll.unregister(process.results)
                process.results_closed = True
                process.kill()
                return
            for message in messages:
                self._take(number, message)

    def _take(self, number: int, message: tuple[object, ...]) -> None:
        match message:
            case ("piece", int(batch), piece):
                self._do(self._state.piece_arrived(number, batch, piece, self._clock.raw_ns()))  # type: ignore[arg-type]
            case ("ready", str(host), int(pid), str(clock), str(python), Event() as snapshot):
                worker = Worker(number, host, pid, ClockId(clock), python)
                # No item belongs to it: a batch id of -1 says so. Its snapshot was taken before it was sent, so the two
                # are a message between our clocks.
                stamps = Stamps(0, 0, snapshot.end_ns or 0, self._clock.raw_ns())
                self._deliver(Outcome(-1, 0, 0, (), None, stamps, worker, (snapshot,)))
                self._do(self._state.worker_ready(number, worker))
            case _:
                raise AssertionError(f"a worker sent {message!r}")

    def _bury(self, number: int, process: _Process) -> None:
        if not process.results_closed:
            self._read(number, process)
        self._forget(process)
        how, board = process.end(), process.board.read()
        process.close()
        del self._processes[number]
        self._do(self._state.worker_gone(number, how, board, self._clock.raw_ns()))

    def _forget(self, process: _Process) -> None:
        for fd in (process.results, process.commands, process.pidfd):
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)

    def _hear_the_rest(self) -> None:
        """Whoever asked gets an answer, also when nothing is done about it any more."""
        while self._inbox:
            with contextlib.suppress(Exception):
                self._inbox.popleft()()

    def _end_everything(self) -> None:
        self._hear_the_rest()
        leaving: dict[int, _Process] = {}
        for number, process in self._processes.items():
            if self._state.is_idle(number):
                process.close_commands()
                leaving[process.pidfd] = process
            else:
                process.kill()
        # Idle workers may leave by themselves.
        poll = select.poll()
        for pidfd in leaving:
            poll.register(pidfd, select.POLLIN)
        deadline_ns = self._clock.raw_ns() + round(CLOSE_GRACE_S * 1e9)
        while leaving:
            left_ms = (deadline_ns - self._clock.raw_ns()) // 1_000_000
            ended = poll.poll(left_ms) if left_ms > 0 else []
            if not ended:
                break
            for pidfd, _ in ended:
                poll.unregister(pidfd)
                del leaving[pidfd]
        for process in self._processes.values():
            process.kill()
            process.end()
            process.close()
        self._processes.clear()
        with self._lock:
            self._close_wake_pipe()
        _pools.discard(self)

    def close_in_forked_child(self) -> None:
        """After `os.fork` the child must not hold the lifelines: they would outlive this pool's own process."""
        self._closing = True
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._thread = None
        if self._wake_read >= 0:
            self._close_wake_pipe()
        for process in self._processes.values():
            process.abandon()


_pools: weakref.WeakSet[LocalEngine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool.close_in_forked_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Process:
    """One worker process with its four descriptors; only `pid`, pipes and signals, no decisions."""

    def __init__(self) -> None:
        hello = frame({"path": list(sys.path), "levels": _logger_levels()})
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
            commands_read, self.commands = _pipe(theirs, undo)
            self.results, results_write = _pipe(undo, theirs)
            lifeline_read, self.lifeline = _pipe(theirs, undo)
            self.board = Board.create()
            undo.callback(self.board.close)
            fds = (commands_read, results_write, lifeline_read, self.board.fd)
            self._popen = subprocess.Popen(
                [
                    sys.executable,
                    *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # as multiprocessing does
                    *_boot_arguments(),
                    *map(str, fds),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                process_group=0,
            )
            undo.callback(self._popen.wait)
            undo.callback(self._popen.kill)
            # Readable when the process ended, also where a child of a call still holds its pipes.
            self.pidfd = os.pidfd_open(self._popen.pid)
            undo.pop_all()
        os.set_blocking(self.commands, False)
        os.set_blocking(self.results, False)
        self.reader = FrameReader()
        self.results_closed = False
        self.functions: set[int] = set()
        self.function_bytes = 0
        self.unwritten = bytearray(hello)

    def kill(self) -> None:
        """End the worker and whatever its calls started."""
        # Until it is reaped (`end`), the number of its group cannot belong to anybody else.
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._popen.pid, signal.SIGKILL)  # a call may have left the group

    def end(self) -> Exit:
        """Reap a worker that ended, after ending what its calls left behind."""
        self.kill()
        self._popen.returncode = 0  # reaped here, as a `Popen` takes what somebody else reaped for a success
        try:
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        except ChildProcessError:  # the caller ignores SIGCHLD, or waits for any child
            return Exit("", None)
        assert ended is not None
        if ended.si_code == os.CLD_EXITED:
            return Exit("", ended.si_status)
        try:
            return Exit(signal.Signals(ended.si_status).name, None)
        except ValueError:
            return Exit(f"signal {ended.si_status}", None)

    def close_commands(self) -> None:
        """Tell the worker to leave when it is idle."""
        if self.commands >= 0:
            os.close(self.commands)
            self.commands = -1

    def close(self) -> None:
        """Give every descriptor back."""
        self.close_commands()
        for fd in (self.results, self.lifeline, self.pidfd):
            os.close(fd)
        self.board.close()

    def abandon(self) -> None:
        """In a forked child: close what is the parent's business, end nothing."""
        for fd in (self.commands, self.results, self.lifeline, self.pidfd):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._popen.returncode = 0  # else its destructor would reap (or warn of) a process that is not ours


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed by these."""
    read, write = os.pipe()
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, write)
        read = above_standard_streams(read)
        reader.callback(os.close, read)
        undo.pop_all()
    write = above_standard_streams(write)
    writer.callback(os.close, write)
    return read, write


def _boot_arguments() -> list[str]:
    path = Path(_boot.__file__)
    # In a zipped application there is no file that the interpreter could run.
    return [str(path)] if path.is_file() else ["-P", "-c", inspect.getsource(_boot)]


def _logger_levels() -> dict[str, int]:
    """The levels that the caller set, so that a worker makes the records which the caller would, and no others."""
    levels = {"": logging.getLogger().level}
    for name, logger in list(logging.getLogger().manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            levels[name] = logger.level
    return levels
