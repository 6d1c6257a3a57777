"""No known before is contradicted: simulated logs with coarse stamps, merged, against the truth about them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.timeline.merge import merge

MILLISECOND = 10**6
START = 1_760_000_000 * 10**9


class Event(NamedTuple):
    """
    What really happened, and where.

    Attributes:
        request: "" where the event is no message's end.
    """

    true_ns: int
    clock: int
    sends: bool
    request: str


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Event], list[int], list[int]]:
    """Events, and each clock's offset and grain: messages that take less than a grain, in bursts, back and forth."""
    clocks = draw(st.integers(2, 4))
    offsets = [draw(st.integers(-5_000, 5_000)) * MILLISECOND for _ in range(clocks)]
    grains = [draw(st.sampled_from([1, MILLISECOND, 1000 * MILLISECOND])) for _ in range(clocks)]
    events: list[Event] = []
    now = 0
    for number in range(draw(st.integers(1, 40))):
        now += draw(st.integers(1, 400)) * MILLISECOND // 7
        at = draw(st.integers(0, clocks - 1))
        kind = draw(st.sampled_from(["alone", "message", "message"]))
        if kind == "alone":
            events.append(Event(now, at, False, ""))
            continue
        other = (at + draw(st.integers(1, clocks - 1))) % clocks
        events.append(Event(now, at, True, f"r{number}"))
        now += draw(st.integers(1, 30)) * MILLISECOND // 11
        events.append(Event(now, other, False, f"r{number}"))
    return events, offsets, grains


def written(folder: Path, events: list[Event], offsets: list[int], grains: list[int]) -> list[str]:
    """The logs that the clocks' owners write, one for each clock, in the order of what they see."""
    paths = []
    for clock, (offset, grain) in enumerate(zip(offsets, grains, strict=True)):
        own = [event for event in sorted(events) if event.clock == clock]
        stamps = [(event.true_ns + offset + START) // grain * grain for event in own]
        path = folder / f"c{clock}.parquet"
        table = pa.table(
            {
                "ts": pa.array(stamps, pa.timestamp("ns", "UTC")),
                "id": pa.array([event.request or None for event in own], pa.string()),
                "kind": pa.array(["send" if event.sends else "receive" for event in own], pa.string()),
                "true_ns": pa.array([event.true_ns for event in own], pa.int64()),
            }
        )
        pq.write_table(table, path)
        resolution = "" if grain == 1 else f",resolution={grain}ns"
        paths.append(f"{path}:time=ts{resolution}")
    return paths


@settings(deadline=None, max_examples=60)
@given(worlds())
def test_every_sender_stands_before_its_receiver_and_each_clock_in_its_own_order(
    tmp_path_factory: pytest.TempPathFactory, world: tuple[list[Event], list[int], list[int]]
) -> None:
    events, offsets, grains = world
    folder = tmp_path_factory.mktemp("world")
    paths = written(folder, events, offsets, grains)
    timeline = merge(paths, pair=["id:sent=kind=send,received=kind=receive"], unplaced="last")
    table = timeline.arrow()
    rows = [row for row in table.to_pylist() if row["estimate_ns"] is not None]
    assert table.num_rows == len(events)
    place = {(row["id"], row["kind"]): number for number, row in enumerate(rows) if row["id"]}
    for request in {event.request for event in events if event.request}:
        ends = place.get((request, "send")), place.get((request, "receive"))
        if None not in ends:
            assert ends[0] < ends[1], request  # type: ignore[operator]
    for clock in {row["clock"] for row in rows}:
        lines = [row["line"] for row in rows if row["clock"] == clock]
        assert lines == sorted(lines)
    for row, following in itertools.pairwise(rows):
        assert row["estimate_ns"] <= following["estimate_ns"]
    for row in rows:
        for side, sign in (("earliest_ns", 1), ("latest_ns", -1)):
            assert row[side] is None or sign * row[side] <= sign * row["estimate_ns"]


def test_an_event_between_two_of_one_second_follows_the_one_that_a_message_lifted(tmp_path: Path) -> None:
    """Seconds on one side, nanoseconds on the other: what stands below the receive in its log stays below it."""
    events = [
        Event(0, 0, True, "first"),
        Event(1, 1, False, "first"),
        Event(400 * MILLISECOND, 0, True, "second"),
        Event(401 * MILLISECOND, 1, False, "second"),
        Event(402 * MILLISECOND, 1, False, ""),
        Event(500 * MILLISECOND, 1, True, "back"),
        Event(501 * MILLISECOND, 0, False, "back"),
        Event(3000 * MILLISECOND, 1, True, "late"),
        Event(3001 * MILLISECOND, 0, False, "late"),
    ]
    paths = written(tmp_path, events, [0, 0], [1, 1000 * MILLISECOND])
    table = merge(paths, pair=["id:sent=kind=send,received=kind=receive"]).arrow()
    assert table.column("true_ns").to_pylist() == sorted(event.true_ns for event in events)
    estimates = np.array(table.column("estimate_ns").to_pylist())
    assert bool((np.diff(estimates) >= 0).all())


def test_a_message_without_a_delay_orders_two_events_of_one_estimate(tmp_path: Path) -> None:
    """Exact evidence in both directions leaves no room: both events are at one nanosecond, and the message tells."""
    stamps = np.array([0, 10, 20], dtype=np.int64) * MILLISECOND + START
    for name in ("a", "z"):
        table = pa.table({"ts": pa.array(stamps, pa.timestamp("ns", "UTC")), "who": [f"{name}{n}" for n in range(3)]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    messages = {
        "sender": ["z", "a", "z"],
        "receiver": ["a", "z", "a"],
        "sent_ns": stamps.tolist(),
        "received_ns": stamps.tolist(),
    }
    paths = [f"{tmp_path / name}.parquet:time=ts,clock={name},resolution=0ns" for name in ("a", "z")]
    table = merge(paths, messages=messages).arrow()
    assert table.column("who").to_pylist() == ["z0", "a0", "a1", "z1", "z2", "a2"]
