"""Exchanges that carried no call relate two clocks as calls do, however long calls wait in a queue."""

from __future__ import annotations

from coeval.clocks import ClockId, Stamp
from coeval.recording import Recording
from coeval.recording._rows import ClockRow, ExchangeRow, ExecutorRow, ProcessRow, Row
from coeval.timeline import RunTimeline

AHEAD_NS = 1_000_000_000_000  # the far clock shows this much more

ROWS: list[Row] = [
    ProcessRow(0, "driver", "here", 1, "near", "3.11"),
    ClockRow(0, 100, 1_700_000_000_000_000_000, 0, 110),
    ExecutorRow(0, "dask", 120),
    ProcessRow(1, "worker", "there", 2, "far", "3.11", 0),
    # There in 400 ns, back in 600 ns.
    ExchangeRow(0, 1, 5_000, 5_400 + AHEAD_NS, 5_500 + AHEAD_NS, 6_100),
]


def test_one_exchange_bounds_the_offset_by_its_round_trip() -> None:
    timeline = RunTimeline.of(Recording(ROWS))
    instant = timeline._evidence.alignment.instant(Stamp(ClockId("far"), 5_450 + AHEAD_NS))
    near_of_epoch_ns = 1_700_000_000_000_000_000 - 105
    assert instant.earliest_ns is not None
    assert instant.latest_ns is not None
    assert instant.earliest_ns <= 5_450 + near_of_epoch_ns <= instant.latest_ns
    assert instant.latest_ns - instant.earliest_ns <= 1_000 + 10


def test_half_an_exchange_bounds_one_side_only() -> None:
    there = RunTimeline.of(Recording([*ROWS[:-1], ExchangeRow(0, 1, 5_000, 5_400 + AHEAD_NS, 0, 0)]))
    instant = there._evidence.alignment.instant(Stamp(ClockId("far"), 5_400 + AHEAD_NS))
    assert instant.earliest_ns is not None
    assert instant.latest_ns is None


def test_an_exchange_is_no_call_and_no_event() -> None:
    timeline = RunTimeline.of(Recording(ROWS))
    assert len(timeline.calls) == 0
    assert timeline.problems == ()
