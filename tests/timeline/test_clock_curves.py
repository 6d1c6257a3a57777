"""What is drawn of clocks: the truth inside the bands, times and offsets on one axis, gaps at steps."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from coeval import Executor, relate_clocks
from coeval.alignment import UNKNOWN_ESTIMATE
from coeval.timeline._clock_curves import Curves, _curves, _Raw, _thinned_dots, curves_of_messages, curves_of_run

T0 = 1_790_000_000_000_000_000
AHEAD_NS = 2_500_000_000


def drawn(count: int = 200, rate_ppm: int = 40) -> Curves:
    random = Random(3)
    columns: dict[str, list[object]] = {name: [] for name in ("sender", "receiver", "sent_ns", "received_ns")}
    for number in range(count):
        sent = T0 + number * 10**8 + random.randrange(10**6)
        offset = AHEAD_NS + (sent - T0) * rate_ppm // 10**6
        arrived = sent + 100_000 + random.randrange(10**5)
        for name, there, back in (
            ("sender", "a", "b"),
            ("receiver", "b", "a"),
            ("sent_ns", sent, arrived + offset),
            ("received_ns", arrived + offset, arrived + 100_000 + random.randrange(10**5)),
        ):
            columns[name] += [there, back]
    return curves_of_messages(relate_clocks(columns, reference="a"))


def test_the_true_offset_is_inside_the_bands_at_every_moment() -> None:
    curves = drawn()
    (clock,) = curves.clocks
    assert (clock.name, clock.against, curves.reference, curves.is_date) == ("b", "a", "clock a", True)
    truth = AHEAD_NS - clock.base_ns + (clock.at + curves.start_ns - T0) * 40e-6
    for band in (clock.declared, clock.assumed):
        assert (band.least <= truth + 10).all()
        assert (truth - 10 <= band.greatest).all()
        assert (band.least <= band.estimate).all()
        assert (band.estimate <= band.greatest).all()
    assert (np.diff(clock.at) >= 0).all()


def test_no_message_contradicts_the_band_it_supports() -> None:
    (clock,) = drawn().clocks
    for dots in clock.dots:
        near = np.searchsorted(clock.at, dots.at).clip(0, len(clock.at) - 1)
        if dots.is_least:
            assert (dots.offset <= clock.declared.greatest[near] + 1e5).all()
        else:
            assert (dots.offset >= clock.declared.least[near] - 1e5).all()
    assert [len(dots.at) for dots in clock.dots] == [200, 200]


def test_thinned_dots_keep_the_tightest() -> None:
    at = np.arange(100_000, dtype=np.int64) * 1000
    offsets = np.random.default_rng(1).integers(0, 10**6, len(at))
    for sign, tightest in ((1, offsets.min()), (-1, offsets.max())):
        kept_at, kept = _thinned_dots(at, offsets, sign)
        assert tightest in kept
        assert len(kept) <= 2000
        assert (offsets[kept_at // 1000] == kept).all()


def test_an_offset_of_years_is_counted_from_a_round_number_and_loses_no_nanosecond() -> None:
    years = 10**18 + 123_456_789
    at = np.array([T0, T0 + 10, T0 + 20])
    unknown = np.full(3, UNKNOWN_ESTIMATE)
    estimate = years + np.array([0, 7, 3])
    columns = (np.full(3, np.iinfo(np.int64).min), estimate, np.full(3, np.iinfo(np.int64).max))
    (clock,) = _curves([_Raw("b", "a", at, columns, (unknown, unknown, unknown), (), ())], "a", True).clocks
    assert (clock.base_ns + clock.declared.estimate.astype(int)).tolist() == estimate.tolist()
    assert np.isnan(clock.assumed.estimate).all()
    assert np.isnan(clock.declared.least).all()


def test_where_messages_contradict_each_other_they_are_drawn_all_the_same() -> None:
    columns = {
        "sender": ["a", "b"],
        "receiver": ["b", "a"],
        "sent_ns": [T0, T0 + 10**9],
        "received_ns": [T0 + 3 * 10**6, T0 + 2],
    }
    (clock,) = curves_of_messages(relate_clocks(columns, reference="a")).clocks
    assert np.isnan(clock.declared.estimate).all()
    assert [(dots.is_least, (dots.offset + clock.base_ns).tolist()) for dots in clock.dots] == [
        (True, [10**9 - 2]),
        (False, [3 * 10**6]),
    ]


def test_a_line_has_a_gap_where_the_clock_was_set() -> None:
    at = np.array([0, 10, 20, 30])
    value = np.array([1, 1, 9, 9])
    raw = _Raw("b", "a", at, (value, value, value), (value, value, value), (), ((10, 20, 8),))
    (clock,) = _curves([raw], "a", False).clocks
    assert clock.at.tolist() == [0, 10, 15, 20, 30]
    assert np.isnan(clock.declared.estimate).tolist() == [False, False, True, False, False]
    assert [(step.earliest, step.latest, step.size_ns) for step in clock.steps] == [(10, 20, 8)]


def test_a_run_has_a_curve_for_the_wall_clock_of_each_host(tmp_path: Path) -> None:
    with Executor("local:1", run=tmp_path / "run") as executor:
        assert list(executor.map(abs, range(-3, 0))) == [3, 2, 1]
    curves = curves_of_run(executor.timeline)
    (clock,) = curves.clocks
    assert clock.name.startswith("wall clock of ")
    assert curves.reference == executor.timeline.reference_label
    assert np.isfinite(clock.declared.estimate).all()


@pytest.mark.parametrize("count", [0, 1])
def test_without_readings_there_is_no_curve_and_with_one_a_point(count: int) -> None:
    columns = {"sender": ["a"], "receiver": ["b"], "sent_ns": [T0], "received_ns": [T0 + 5]}
    curves = curves_of_messages(relate_clocks(columns, reference="a"))
    (clock,) = curves.clocks
    assert len(clock.at) == 1
    assert np.isnan(clock.declared.least).tolist() == [True]
    assert _curves([], "a", False).clocks == ()
