"""
How many messages of one pair of clocks alignment takes in per second.

Ten minutes of traffic both ways between clocks 30 ppm apart, 50 us of flight at least and 100 us of queueing on
average. Timed: from columns of readings to an Alignment that has placed one reading; and placing all readings.

Run: python benchmarks/align_pair.py
"""

from __future__ import annotations

import time

import numpy as np

from coeval.alignment import Messages, align
from coeval.clocks import ClockId

COUNTS = (100_000, 1_000_000, 3_000_000)
REPEATS = 3
SPAN_NS = 600 * 10**9
NEAR, FAR = ClockId("near"), ClockId("far")


def traffic(count: int, generator: np.random.Generator) -> Messages:
    """Half of the messages each way; the far clock is 1e15 ns ahead and 30 ppm fast."""

    def far_ns(true_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return true_ns + (true_ns * 30e-6).astype(np.int64) + 10**15

    sent = np.sort(generator.integers(0, SPAN_NS, count // 2))
    arrived = sent + 50_000 + generator.exponential(100_000, len(sent)).astype(np.int64)
    back_sent = np.sort(generator.integers(0, SPAN_NS, count - count // 2))
    back_arrived = back_sent + 50_000 + generator.exponential(100_000, len(back_sent)).astype(np.int64)
    return Messages.concatenated(
        (
            Messages.between(NEAR, FAR, sent, far_ns(arrived)),
            Messages.between(FAR, NEAR, far_ns(back_sent), back_arrived),
        )
    )


def main() -> None:
    """Print one line per size: the best of some runs."""
    for count in COUNTS:
        messages = traffic(count, np.random.default_rng(1))
        align_s, place_s = float("inf"), float("inf")
        for _ in range(REPEATS):
            start = time.perf_counter()
            aligned = align(messages, reference=NEAR)
            aligned.instants(FAR, messages.sent_ns[-1:])
            align_s = min(align_s, time.perf_counter() - start)
            start = time.perf_counter()
            aligned.instants(FAR, messages.sent_ns, "assumed")
            place_s = min(place_s, time.perf_counter() - start)
        (fit,) = aligned.report()
        print(
            f"{count:>9,} messages: align {align_s:6.3f} s, {count / align_s / 1e6:5.1f} M/s; "
            f"place {place_s:6.3f} s, {count / place_s / 1e6:5.1f} M/s; "
            f"assumed width {fit.assumed.width_ns_least} .. {fit.assumed.width_ns_greatest} ns"
        )


if __name__ == "__main__":
    main()
