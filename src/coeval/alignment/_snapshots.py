"""
What a host's own snapshots say: when its wall clock was set, when the host was suspended, and anchors to UTC.

A snapshot reads the wall clock between two readings of the raw clock, which nothing sets or slews. So "wall minus raw"
is known up to the width of that sandwich, and a change of it that slewing cannot explain is a step. It is read off,
not inferred, and needs no other host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Literal

from coeval.alignment._rate import ppm
from coeval.clocks import Anchor, ClockId, Snapshot

# What ntpd and adjtime add to a wall clock's rate to slew it. Its frequency correction comes on top, and chrony may use
# 83 333 ppm while it corrects a large offset: such a slew is reported as steps unless it is declared.
SLEW_BOUND_PPM_DEFAULT = 500.0

# The boot clock is slewed along with the wall clock, by a tenth at most (adjtimex lets a tick be off by so much). Only
# what goes beyond that is a suspend.
_BOOT_SLEW_BOUND = Fraction(11, 100)

# The raw clock itself, while a sandwich lasts: far beyond any oscillator, and still less than a nanosecond for one
# microsecond.
_RAW_RATE_BOUND = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class WallStep:
    """
    The wall clock jumped, or the host slept, between two snapshots.

    Attributes:
        kind: "step": the wall clock was set. "suspend": the raw clock stood still and the boot clock went on.
        raw_earliest_ns, raw_latest_ns: it happened between these readings of the raw clock.
        size_ns_least, size_ns_greatest: how far forward (positive) or back the wall clock was set, or how long the
            host slept; the truth is between.
    """

    kind: Literal["step", "suspend"]
    raw_earliest_ns: int
    raw_latest_ns: int
    size_ns_least: int
    size_ns_greatest: int


def wall_clock_steps(
    snapshots: Sequence[Snapshot], slew_bound_ppm: float = SLEW_BOUND_PPM_DEFAULT
) -> tuple[WallStep, ...]:
    """
    Find the steps of one host's wall clock, and its suspends.

    Between two successive snapshots, an interval that contains the change of wall minus raw is compared with the most
    that slewing explains over that time. Only an interval wholly outside is a step, so noise never is one, and of two
    steps that cancel within one gap nothing is seen. Across a suspend the wall clock is compared with the boot clock
    instead, so that sleeping alone is not a step.

    Args:
        snapshots: of one clock, in any order.
        slew_bound_ppm: how fast the wall clock may be slewed against the raw clock.

    Raises:
        ValueError: The bound is negative.
    """
    if not slew_bound_ppm >= 0:
        raise ValueError(f"slew_bound_ppm is {slew_bound_ppm}: give 0 or more, such as 500")
    found: list[WallStep] = []
    for first, second in pairwise(sorted(snapshots, key=lambda each: (each.raw_before_ns, each.raw_after_ns))):
        booted_ns = second.boottime_ns - first.boottime_ns
        passed_ns = max(second.raw_after_ns - first.raw_before_ns, booted_ns)
        slewed_ns = ceil(ppm(slew_bound_ppm) * passed_ns)
        slept = None
        if first.boottime_ns and second.boottime_ns:
            slept = _unexplained(
                _against_raw(first, first.boottime_ns),
                _against_raw(second, second.boottime_ns),
                max(slewed_ns, ceil(_BOOT_SLEW_BOUND * (second.raw_after_ns - first.raw_before_ns))),
            )
        if slept is not None and slept[0] > 0:
            found.append(WallStep("suspend", first.raw_before_ns, second.raw_after_ns, *slept))
            stepped = _unexplained(_against_boot(first), _against_boot(second), slewed_ns)
        else:
            stepped = _unexplained(
                _against_raw(first, first.realtime_ns), _against_raw(second, second.realtime_ns), slewed_ns
            )
        if stepped is not None:
            found.append(WallStep("step", first.raw_before_ns, second.raw_after_ns, *stepped))
    return tuple(found)


def anchors_from(snapshots: Iterable[Snapshot], clock: ClockId, max_error_ns: int, source: str) -> tuple[Anchor, ...]:
    """
    Turn snapshots of a host whose wall clock is synchronised into anchors of its raw clock.

    UTC was within `max_error_ns` of what the wall clock showed; the raw clock's reading is known up to the width of
    the sandwich, which is added.

    Args:
        clock: the raw clock's id.
        max_error_ns: the wall clock's greatest error against UTC at every one of these snapshots.
        source: who says so, such as "kernel".

    Raises:
        ValueError: `max_error_ns` is negative.
    """
    if max_error_ns < 0:
        raise ValueError(f"max_error_ns is {max_error_ns}: give 0 or more; leave snapshots without a bound out")
    anchors = []
    for snapshot in snapshots:
        width_ns = snapshot.raw_after_ns - snapshot.raw_before_ns
        reading_ns = snapshot.raw_before_ns + width_ns // 2
        error_ns = max_error_ns + ceil((1 + _RAW_RATE_BOUND) * (width_ns - width_ns // 2))
        anchors.append(
            Anchor(clock, reading_ns, snapshot.realtime_ns - error_ns, snapshot.realtime_ns + error_ns, source)
        )
    return tuple(anchors)


def _against_raw(snapshot: Snapshot, reading_ns: int) -> tuple[int, int]:
    return reading_ns - snapshot.raw_after_ns, reading_ns - snapshot.raw_before_ns


def _against_boot(snapshot: Snapshot) -> tuple[int, int]:
    # The two were read one after the other somewhere in the sandwich; which came first is not promised.
    width_ns = snapshot.raw_after_ns - snapshot.raw_before_ns
    difference_ns = snapshot.realtime_ns - snapshot.boottime_ns
    return difference_ns - width_ns, difference_ns + width_ns


def _unexplained(before: tuple[int, int], after: tuple[int, int], slewed_ns: int) -> tuple[int, int] | None:
    """The change of a difference less what slewing explains, as an interval; None where slewing explains it."""
    least, greatest = after[0] - before[1], after[1] - before[0]
    if least <= slewed_ns and greatest >= -slewed_ns:
        return None
    return least - slewed_ns, greatest + slewed_ns
