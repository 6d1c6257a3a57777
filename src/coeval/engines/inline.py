"""
The caller's own thread as an engine, for pdb, coverage and profilers.

Arguments and results are pickled as everywhere, so that what works here works on a cluster, and a call cannot reach
into its caller's objects. What a process of its own gives is not to be had: a call that ends its process ends the
caller's, nothing can be stopped from outside, and no time limit holds.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from coeval.clocks import SYSTEM_CLOCK, Clock, clock_id
from coeval.engines._attempt import Piece, load_function, run_batch
from coeval.engines._engine import Batch, Capabilities, Failure, Outcome, Stamps, Worker
from coeval.engines._payload import settle
from coeval.engines._protocol import Deliver
from coeval.engines._segments import Heavy, Segments
from coeval.engines._shares import forget, resolve
from coeval.recording import LogCapture


def _is_interrupt(failure: Failure | None) -> bool:
    return failure is not None and failure.type_name == "KeyboardInterrupt"


class InlineEngine:
    """Runs each batch in `send`, in the thread that sends it."""

    name = "inline"
    segments = None
    capabilities = Capabilities(
        separate_process=False, stops_running_work=False, time_limit=False, names_signal=False, same_host=True
    )

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._worker = Worker(0, socket.gethostname(), os.getpid(), clock_id(clock), platform.python_version())
        self._capture = LogCapture(clock, alone_on_root=False)
        self._capture_users = 0
        self._lock = threading.Lock()
        self._share_segments: Segments | None = None  # from the first object on
        self._is_closed = False

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def window(self) -> int:
        # No bound: a batch is done when `send` returns, and a call that itself submits must not wait for its own end.
        return sys.maxsize

    def send(self, batch: Batch) -> None:
        handed_over_ns = self._clock.raw_ns()
        self._capture_logs(+1)
        try:
            function = load_function(batch.function.body)
            for piece in run_batch(function, batch.items, batch.calls, batch.attempt, clock=self._clock):
                settle()
                self._bring(batch, piece, handed_over_ns)
                if _is_interrupt(piece.failure):
                    self._interrupt(batch, piece.first + piece.item_count, handed_over_ns)
        finally:
            self._capture_logs(-1)

    def _bring(self, batch: Batch, piece: Piece, handed_over_ns: int) -> None:
        stamps = Stamps(handed_over_ns, piece.started_ns, piece.finished_ns, self._clock.raw_ns())
        self._deliver(
            Outcome(
                batch.id,
                piece.first,
                piece.item_count,
                piece.values,
                piece.failure,
                stamps,
                self._worker,
                piece.events,
                piece.item_stamps,
            )
        )

    def _interrupt(self, batch: Batch, first: int, handed_over_ns: int) -> NoReturn:
        """Ctrl-C meant the caller's own thread: what is left does not run, and the caller hears of it."""
        left = len(batch.items) - first
        if left:
            now_ns = self._clock.raw_ns()
            stopped = Failure("stopped", message="its caller was interrupted")
            self._bring(batch, Piece(first, left, (), stopped, now_ns, now_ns, (), ()), handed_over_ns)
        raise KeyboardInterrupt

    def _capture_logs(self, change: int) -> None:
        # The handler is on the root logger only while something runs: it is the caller's process, and the caller's
        # logging.
        with self._lock:
            before, self._capture_users = self._capture_users, self._capture_users + change
            if before == 0:
                logging.getLogger().addHandler(self._capture)
            elif self._capture_users == 0:
                logging.getLogger().removeHandler(self._capture)

    def pump(self, is_wanted: Callable[[], bool], timeout_s: float | None) -> None:
        return

    def stop(self, batch: int, item: int) -> bool:
        return False

    def call_back(self, batch: int) -> None:
        return  # what was sent is done

    def workers(self) -> Sequence[Worker]:
        return (self._worker,)

    def close(self) -> None:
        with self._lock:
            segments, self._share_segments, self._is_closed = self._share_segments, None, True
        if segments is not None:
            segments.close()

    # Shared objects ---------------------------------------------------------------------------------------------------

    @property
    def share_segments(self) -> Segments:
        with self._lock:
            if self._share_segments is None:
                self._share_segments = Segments(self._clock, idle_bytes_max=0)
                if self._is_closed:
                    self._share_segments.close()
            return self._share_segments

    def publish(self, heavy: Heavy) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return resolve, (heavy,)

    def withdraw(self, heavy: Heavy) -> None:
        forget(heavy)
