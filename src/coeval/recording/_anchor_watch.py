"""
Ties a recording to UTC while it is made: time servers are asked at its start, now and then, and at its end.

In a thread of its own, so that no call waits for a server. A server that gives no time costs one warning. Whoever names
no time server never imports this file.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat

from coeval.clocks import SYSTEM_CLOCK, Clock, clock_id
from coeval.clocks._host_time import read_host_time
from coeval.clocks._message import Anchor
from coeval.clocks._ntp import QUERY_EVERY_S_MIN, NtpExchange, NtpResult, TimeServer, TimeServers
from coeval.errors import ClockWarning
from coeval.recording._raw_rows import RawRow, anchor_row

# Closer together at first, as of several answers the fastest counts, and a short run should have several.
PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0)
# Then so far apart: at the declared 100 ppm the bound grows by 6 ms until the next answer, and servers are spared.
PAUSE_S = 60.0

# How long the end of a run waits for last answers.
LAST_ANSWER_S_MAX = 0.5
END_S_MAX = 1.0


class AnchorWatch:
    """
    Asks until `finish`, and hands on a row for each answer.

    Args:
        servers: whom to ask.
        append: takes the rows, in a thread of this object's.
        clock: this process's; it is process 0 of the recording.
        pauses_s: between rounds; the last one is repeated.
    """

    def __init__(
        self,
        servers: Sequence[TimeServer],
        append: Callable[[RawRow], object],
        clock: Clock = SYSTEM_CLOCK,
        pauses_s: Sequence[float] = (*PAUSES_S, PAUSE_S),
    ) -> None:
        self._servers = TimeServers(servers, clock)
        self._append = append
        self._clock = clock
        self._clock_id = clock_id(clock)
        self._pauses_s = pauses_s
        self._lock = threading.Lock()
        self._is_over = False
        self._ending = threading.Event()
        self._warned: set[TimeServer] = set()
        self._thread = threading.Thread(target=self._watch, name="coeval-time-servers", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """
        Ask once more, unless that was just done, and end.

        Waits for answers for `END_S_MAX` at most. The thread is gone then, unless it looks up a name, which nothing can
        end; it is left to itself, and hands on nothing more.
        """
        self._ending.set()
        if threading.current_thread() is self._thread:
            return
        self._thread.join(END_S_MAX)
        with self._lock:
            self._is_over = True
        self._thread.join(END_S_MAX)

    def _watch(self) -> None:
        for pause_s in self._pauses():
            asked_ns = self._clock.raw_ns()
            self._keep(read_host_time(self._clock, self._clock_id).anchor)
            self._servers.ask(seen=self._take, give_up=self._is_given_up)
            if self._ending.wait(pause_s):
                break
        if self._clock.raw_ns() - asked_ns >= QUERY_EVERY_S_MIN * 1e9:
            self._keep(read_host_time(self._clock, self._clock_id).anchor)
            # Those that were silent would only be waited for.
            self._servers.answering().ask(LAST_ANSWER_S_MAX, seen=self._take, give_up=self._is_given_up)

    def _is_given_up(self) -> bool:
        return self._is_over

    def _pauses(self) -> Iterator[float]:
        return chain(self._pauses_s, repeat(self._pauses_s[-1]))

    def _take(self, result: NtpResult) -> None:
        if isinstance(result, NtpExchange):
            self._keep(result.anchor(self._clock_id))
        elif result.server not in self._warned and not self._is_over:
            self._warned.add(result.server)
            text = f"time server {result.server.name} gives no time: {result.reason}. The run goes on without it."
            try:
                warnings.warn(text, ClockWarning, stacklevel=2)
            except ClockWarning:  # warnings are errors here; this one may end nobody's work
                sys.stderr.write(f"coeval: {text}\n")

    def _keep(self, anchor: Anchor | None) -> None:
        with self._lock:
            if anchor is not None and not self._is_over:
                self._append(anchor_row(0, *anchor[1:]))
