"""
Dask workers on hosts with wrong clocks, one set in mid-run, over uneven, jittery and lossy links: once by coeval's own
stamps, once by the wall clocks alone, as foreign logs have them. The truth is read off this machine's real clocks.
"""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

import coeval
from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_LATEST, Alignment, Messages, align
from coeval.clocks import ClockId, Grade, Message, Stamp
from coeval.testing import SkewedClock
from coeval.testing._network import why_no_network
from examples import rough_network
from examples.rough_network import SET_BY_NS, SET_HOST, Ran, Seen

pytestmark = pytest.mark.skipif(why_no_network() is not None, reason=f"{why_no_network()}")

# Wall clocks are slewed; these are off by at most 80 ppm.
WALL_RATE_BOUND_PPM = 200.0
# The least round trip is 7 ms; what jitter, Dask and a busy machine add is three times that.
WIDTH_NS_MAX = 50_000_000
# Before the first and after the last message, bounds grow with the declared rate, and still hold.
BEYOND_NS = 60 * 10**9
HEAD_WALL = ClockId("head/wall")


class Judged(NamedTuple):
    """
    The bounds on a clock's offset against the truth, at 10 000 times evenly over a while, in both grades.

    Attributes:
        outside_ns: true times at which the true offset was outside.
        unknown_ns: readings at which a side was unknown.
        width_ns: the widest interval of the others.
    """

    outside_ns: list[int]
    unknown_ns: list[int]
    width_ns: int


def judged(alignment: Alignment, clock: ClockId, truth: SkewedClock, first_ns: int, last_ns: int) -> Judged:
    """The reference must be a true clock, and the times are by it."""
    true_ns = np.linspace(first_ns, last_ns, 10_000).astype(np.int64)
    shown_ns = np.array([truth.shown(moment_ns) for moment_ns in true_ns.tolist()])
    result = Judged([], [], 0)
    grades: tuple[Grade, ...] = ("declared", "assumed")
    for grade in grades:
        offsets = alignment.offset(clock, shown_ns, grade)
        outside = (shown_ns - true_ns < offsets.least_ns) | (offsets.greatest_ns < shown_ns - true_ns)
        unknown = (offsets.least_ns == UNKNOWN_EARLIEST) | (offsets.greatest_ns == UNKNOWN_LATEST)
        widths_ns = (offsets.greatest_ns - offsets.least_ns)[~unknown]
        result = Judged(
            result.outside_ns + true_ns[outside].tolist(),
            result.unknown_ns + shown_ns[unknown].tolist(),
            max(result.width_ns, int(widths_ns.max(initial=0))),
        )
    return result


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return rough_network.ran_on_a_rough_network(tmp_path_factory.mktemp("rough"), rough_network.SECONDS)


def test_the_network_was_as_bad_as_asked_for(ran: Ran) -> None:
    assert len(ran.seen) > 200
    ways = list(itertools.chain.from_iterable(ran.traffic.values()))
    sent, lost = sum(way.sent for way in ways), sum(way.lost for way in ways)
    assert abs(lost - 0.01 * sent) < 5 * math.sqrt(0.01 * sent), "more than five standard deviations from 1 %"
    assert {seen.host for seen in ran.seen} == set(ran.hosts)
    for seen in ran.seen:
        wall = ran.hosts[seen.host].truth.wall
        # The head's wall clock is the true one. Calls pass the scheduler, on the head too.
        assert min(wall.trues(seen.began_ns)) - seen.sent_ns >= 6_000_000
        assert seen.received_ns - max(wall.trues(seen.ended_ns)) >= 1_000_000


# By coeval's own stamps -----------------------------------------------------------------------------------------------


def test_by_raw_stamps_every_offset_is_inside_its_interval_and_the_step_is_found_and_dated(ran: Ran) -> None:
    timeline = coeval.open_run(ran.folder / "run")
    assert list(rough_network.wrong_claims(timeline, ran)) == []
    # The head's raw clock is the reference, and true.
    first_ns, last_ns = (
        limit(seen.true_before_ns for seen in ran.seen) + beyond_ns
        for limit, beyond_ns in ((min, -BEYOND_NS), (max, BEYOND_NS))
    )
    for host in ran.hosts.values():
        clock = timeline._evidence.alignment, host.clock_id, host.truth.raw
        assert judged(*clock, first_ns, last_ns)[:2] == ([], [])
        assert judged(*clock, first_ns + BEYOND_NS, last_ns - BEYOND_NS).width_ns < WIDTH_NS_MAX


def test_the_example_says_that_no_claim_is_wrong() -> None:
    # Workers read their wall clocks every five seconds, so the half after the step must be longer.
    command = [sys.executable, rough_network.__file__, "16"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    # The wall clock that is 2.5 s ahead, and no other: 40 ms and 300 ms are tolerated.
    assert re.findall(r"\w+Warning: the wall clock of (\w+)", done.stderr) == ["node1"], done.stderr
    assert done.stderr.count("Warning") == 1, done.stderr
    assert " marks checked: intervals are up to " in done.stdout
    assert re.search(r"^node3: the wall clock was set by .*, truly \+300\.000$", done.stdout, re.MULTILINE)


# By wall clocks alone -------------------------------------------------------------------------------------------------


def by_wall_clocks(ran: Ran, hosts: set[str]) -> Alignment:
    messages = itertools.chain.from_iterable(both_ways(seen) for seen in ran.seen if seen.host in hosts)
    return align(Messages.of(messages), reference=HEAD_WALL, rate_bound_ppm=WALL_RATE_BOUND_PPM)


def both_ways(seen: Seen) -> Iterator[Message]:
    there = wall_clock_of(seen.host)
    yield Message(HEAD_WALL, seen.sent_ns, there, seen.began_ns, f"{seen.number} there")
    yield Message(there, seen.ended_ns, HEAD_WALL, seen.received_ns, f"{seen.number} back")


def judged_wall(alignment: Alignment, ran: Ran, host: str) -> Judged:
    # The head's wall clock is the true one.
    first_ns, last_ns = min(seen.sent_ns for seen in ran.seen), max(seen.received_ns for seen in ran.seen)
    return judged(alignment, wall_clock_of(host), ran.hosts[host].truth.wall, first_ns, last_ns)


def wall_clock_of(host: str) -> ClockId:
    return ClockId(f"{host}/wall")


def reversed_messages(alignment: Alignment, ran: Ran, hosts: set[str]) -> list[Message]:
    """What was received before it was sent, by the estimates."""
    found = []
    for message in itertools.chain.from_iterable(both_ways(seen) for seen in ran.seen if seen.host in hosts):
        sent = alignment.instant(Stamp(message.sender, message.sent_ns)).estimate_ns
        received = alignment.instant(Stamp(message.receiver, message.received_ns)).estimate_ns
        assert sent is not None
        assert received is not None
        if received < sent:
            found.append(message)
    return found


def test_by_wall_stamps_alone_every_offset_of_the_clocks_that_were_not_set_is_inside_its_interval(ran: Ran) -> None:
    hosts = set(ran.hosts) - {SET_HOST}
    alignment = by_wall_clocks(ran, hosts)
    assert alignment.findings == ()
    for host in hosts:
        outside_ns, unknown_ns, width_ns = judged_wall(alignment, ran, host)
        assert (outside_ns, unknown_ns) == ([], [])
        assert width_ns < WIDTH_NS_MAX
    assert reversed_messages(alignment, ran, hosts) == []


def test_by_wall_stamps_alone_the_step_is_found_and_dated_and_every_offset_is_inside_its_interval(ran: Ran) -> None:
    hosts = set(ran.hosts)
    alignment = by_wall_clocks(ran, hosts)
    (step,) = alignment.steps
    assert step.clock == wall_clock_of(SET_HOST)
    wall = ran.hosts[SET_HOST].truth.wall
    set_at_ns = wall.pieces[-1].since_ns
    assert step.earliest_ns <= wall.shown(set_at_ns - 1)
    assert wall.shown(set_at_ns) <= step.latest_ns
    assert step.size_ns_least is not None
    assert step.size_ns_greatest is not None
    assert step.size_ns_least <= SET_BY_NS <= step.size_ns_greatest
    assert len(alignment.rejected) == 0, "every message was true"
    for host in hosts:
        outside_ns, unknown_ns, _ = judged_wall(alignment, ran, host)
        assert outside_ns == []
        # Between the last message before the step and the first after it, the offset may be either.
        assert [at for at in unknown_ns if host != SET_HOST or not step.earliest_ns <= at <= step.latest_ns] == []
    # Messages of which nobody can tell on which side of the step they were narrow nothing, and are not held to it.
    for message in reversed_messages(alignment, ran, hosts):
        there, reading_ns = (
            (message.receiver, message.received_ns)
            if message.sender == HEAD_WALL
            else (message.sender, message.sent_ns)
        )
        assert there == step.clock
        assert step.earliest_ns <= reading_ns <= step.latest_ns
