"""
The worker's side of the local pool: one batch at a time, from the command pipe to the result pipe.

Two things end a worker whatever it is doing: the pool kills it, or the lifeline does. The lifeline is a pipe whose
other end only the pool holds. When the pool's process ends in whichever way, the kernel closes that end and sends
SIGKILL to the worker's process group: no thread of ours has to run for it, so it also ends work that sits in C code and
holds the GIL. (Rejected: prctl(PR_SET_PDEATHSIG), which fires when the *thread* that started the worker ends, not the
process.)
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines._attempt import load_function, run_batch
from coeval.engines._engine import Failure
from coeval.engines.local._board import Board
from coeval.engines.local._frames import read_frame, write_frame
from coeval.recording import LogCapture, clock_event

# A worker adds a snapshot of its clocks to an outcome when the last one is older than this.
CLOCK_EVERY_NS = 5_000_000_000


def work(commands: int, results: int, lifeline: int, board_fd: int, hello: dict[str, Any]) -> None:
    """
    Run batches until the command pipe is closed.

    Args:
        commands, results, lifeline, board_fd: descriptors that the pool made.
        hello: the caller's `path`, and the levels of its loggers (`levels`; "" is the root).
    """
    # No child of a call may keep the pool's pipes open.
    for fd in (commands, results, lifeline, board_fd):
        os.set_inheritable(fd, False)
    _end_with_the_pool(lifeline)
    # A worker has a process group of its own, so a terminal's Ctrl-C is the caller's business. Somebody who sends
    # SIGINT to the worker itself wants it to end; a traceback out of the middle of our loop would be noise.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name, level in hello["levels"].items():
        logging.getLogger(name or None).setLevel(level)
    capture = LogCapture()

    own_pid = os.getpid()

    def begin(item: int, started_ns: int) -> None:
        if os.getpid() != own_pid:
            _end_forked_child(None)
        board.begin(item, started_ns)

    board = Board(board_fd)
    clock = SYSTEM_CLOCK
    functions: dict[int, Callable[..., Any] | Failure] = {}
    snapshot = clock.snapshot()
    write_frame(
        results,
        ("ready", socket.gethostname(), os.getpid(), clock_id(clock), platform.python_version(), clock_event(snapshot)),
    )
    while True:
        try:
            message = read_frame(commands)
        except EOFError:
            _flush_standard_streams()
            return
        if message[0] == "forget":
            functions.clear()
            continue
        _, batch, attempt, number, body, items, calls = message
        board.take(batch)
        if body is not None:
            functions[number] = load_function(body)
        if capture not in logging.getLogger().handlers:  # a call may have set up logging anew
            logging.getLogger().addHandler(capture)
        for piece in run_batch(
            functions[number], items, calls, attempt, clock=clock, on_start=begin, whole_process=True
        ):
            if os.getpid() != own_pid:
                _end_forked_child(piece.failure)
            if piece.finished_ns - snapshot.raw_before_ns > CLOCK_EVERY_NS:
                snapshot = clock.snapshot()
                piece = piece._replace(events=[*piece.events, clock_event(snapshot)])
            # What a call printed belongs before what the caller prints on seeing its result.
            _flush_standard_streams()
            write_frame(results, ("piece", batch, piece))
        # An idle worker keeps nothing of what it was sent and what it made.
        del message, body, items, piece


def _end_with_the_pool(lifeline: int) -> None:
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
        # The pool may have ended before the signal was armed.
        poll = select.poll()
        poll.register(lifeline, select.POLLIN)
        if poll.poll(0):
            os._exit(1)
    else:
        threading.Thread(target=_wait_for_the_end, args=(lifeline,), daemon=True, name="coeval-lifeline").start()


def _wait_for_the_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def _end_forked_child(failure: Failure | None) -> NoReturn:
    """
    End a child that a call forked and that came back here, by returning or raising: pipes and board are its parent's.
    It ends as a program would.
    """
    code = 0
    if failure is not None and failure.kind == "exited":
        code = failure.exit_code if failure.exit_code is not None else bool(failure.message)
    elif failure is not None:
        code = 1
        with contextlib.suppress(Exception):
            sys.stderr.write(failure.traceback)
    _flush_standard_streams()
    os._exit(code)


def _flush_standard_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a call may have closed it, or put anything in its place
            stream.flush()
