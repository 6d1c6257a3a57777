"""More than half of the sources of UTC must agree; a false one is named, and truth that the majority holds stays."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import Agreement, agree, utc_bounds
from coeval.clocks import Anchor, ClockId

NEAR, FAR = ClockId("near"), ClockId("far")
NOW = 1_800_000_000 * 10**9
MS = 10**6
BOUND = Fraction(100, 1_000_000)


def anchor(source: str, offset_ns: int, bound_ns: int = MS, reading_ns: int = 0, clock: ClockId = NEAR) -> Anchor:
    utc = NOW + reading_ns + offset_ns
    return Anchor(clock, reading_ns, utc - bound_ns, utc + bound_ns, source)


def verdicts(found: Agreement) -> dict[str, str]:
    return {verdict.source: verdict.verdict for verdict in found.verdicts}


# Who is believed ------------------------------------------------------------------------------------------------------


def test_no_sources_agree_on_nothing() -> None:
    assert agree([]) == Agreement((), ())


def test_one_source_alone_is_taken_at_its_word_and_that_is_said() -> None:
    given_ = (anchor("a", 0), anchor("a", 5, reading_ns=10**9))
    found = agree(given_)
    assert found.anchors == given_
    assert verdicts(found) == {"a": "alone"}
    assert found.verdicts[0].anchor_count == 2
    assert "only source" in found.verdicts[0].text
    assert found.problems == ()


def test_a_false_one_of_three_is_named_with_how_far_it_is_off_and_not_used() -> None:
    found = agree([anchor("a", 0), anchor("false", 250 * MS), anchor("b", MS)])
    assert verdicts(found) == {"a": "agrees", "b": "agrees", "false": "false"}
    assert found.anchors == (Anchor(NEAR, 0, NOW, NOW + MS, "a and b"),)
    (problem,) = found.problems
    assert problem.startswith(
        "false is false: it is at least 248.000 ms ahead of what a and b agree on (2 of 3 sources)"
    )


def test_one_that_is_behind_is_said_to_be_behind() -> None:
    found = agree([anchor("a", 0), anchor("b", 0), anchor("c", -5 * MS)])
    assert "at least 3.000 ms behind" in found.problems[0]


def test_of_two_that_disagree_both_are_named_and_nothing_is_used() -> None:
    found = agree([anchor("a", 0), anchor("b", 250 * MS)])
    assert found.anchors == ()
    assert verdicts(found) == {"a": "disputed", "b": "disputed"}
    (problem,) = found.problems
    assert "a and b: b is at least 248.000 ms ahead of a" in problem


def test_two_against_two_is_no_majority() -> None:
    found = agree([anchor("a", 0), anchor("b", 0), anchor("c", 250 * MS), anchor("d", 250 * MS)])
    assert found.anchors == ()
    assert set(verdicts(found).values()) == {"disputed"}


def test_two_false_ones_of_five_are_named_also_where_they_agree_with_each_other() -> None:
    found = agree([anchor(name, 9 * MS if name in "de" else 0) for name in "abcde"])
    assert [name for name, verdict in verdicts(found).items() if verdict == "false"] == ["d", "e"]


def test_a_narrow_one_inside_wide_ones_narrows_nothing_as_it_may_be_the_false_one() -> None:
    found = agree([anchor("a", 0, 20 * MS), anchor("b", 0, 20 * MS), anchor("narrow", 5 * MS, MS)])
    assert set(verdicts(found).values()) == {"agrees"}
    (only,) = found.anchors
    assert (only.earliest_ns, only.latest_ns) == (NOW - 20 * MS, NOW + 20 * MS)


def test_who_only_touches_agrees() -> None:
    found = agree([anchor("a", 0), anchor("b", 2 * MS)])
    assert found.anchors == (Anchor(NEAR, 0, NOW + MS, NOW + MS, "a and b"),)
    apart = agree([anchor("a", 0), anchor("b", 2 * MS + 1)])
    assert apart.anchors == ()


def test_anchors_at_other_times_are_compared_within_the_rate_bound() -> None:
    """In 100 s a clock within 100 ppm is off by 10 ms: so far the two may differ, and no further."""
    assert verdicts(agree([anchor("a", 0, 0), anchor("b", 9_998_000, 0, 100 * 10**9)])) == {
        "a": "agrees",
        "b": "agrees",
    }
    assert verdicts(agree([anchor("a", 0, 0), anchor("b", 10_002_000, 0, 100 * 10**9)])) == dict.fromkeys(
        "ab", "disputed"
    )
    tight = agree([anchor("a", 0, 0), anchor("b", 9_998_000, 0, 100 * 10**9)], rate_bound_ppm=50)
    assert verdicts(tight) == dict.fromkeys("ab", "disputed")


def test_a_source_that_is_false_once_has_no_voice_at_any_time() -> None:
    later = 10 * 10**9
    given_ = [anchor(name, 0, MS, at) for name in "ab" for at in (0, later)]
    found = agree([*given_, anchor("c", 0, MS, 0), anchor("c", 30 * MS, MS, later)])
    assert verdicts(found)["c"] in ("false", "contradicts itself")
    assert [one.source for one in found.anchors] == ["a and b", "a and b"]


def test_a_source_that_contradicts_itself_is_named_and_the_other_is_alone() -> None:
    found = agree([anchor("set", 0), anchor("set", 250 * MS, reading_ns=10**9), anchor("steady", 0)])
    assert verdicts(found) == {"set": "contradicts itself", "steady": "alone"}
    assert [one.source for one in found.anchors] == ["steady"]
    assert len(found.problems) == 1


def test_where_all_contradict_themselves_it_is_rather_the_clock() -> None:
    found = agree([anchor(name, at * MS, reading_ns=at * MS) for name in "ab" for at in (0, 250)])
    assert found.anchors == ()
    assert "rather the clock near" in found.problems[0]


def test_across_a_split_nothing_is_compared() -> None:
    given_ = [anchor(name, offset, MS, at) for name in "ab" for offset, at in ((0, 0), (250 * MS, 10**9))]
    found = agree(given_, splits={NEAR: [10**9 // 2]})
    assert [verdict.verdict for verdict in found.verdicts] == ["agrees"] * 4
    assert len(found.anchors) == 2


def test_each_clock_is_judged_by_itself() -> None:
    found = agree([anchor("a", 0), anchor("b", 0), anchor("a", 0, clock=FAR), anchor("b", 9 * MS, clock=FAR)])
    assert {(verdict.clock, verdict.verdict) for verdict in found.verdicts} == {(NEAR, "agrees"), (FAR, "disputed")}
    assert {one.clock for one in found.anchors} == {NEAR}


def test_a_negative_rate_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="give 0 or more"):
        agree([], rate_bound_ppm=-1)


# Properties -----------------------------------------------------------------------------------------------------------


@st.composite
def systems(draw: st.DrawFn) -> tuple[list[Anchor], dict[int, int], set[str]]:
    """
    Right sources, more than half of them, and false ones that say anything; the truth at each reading; who is right.

    UTC goes on with the clock, at a rate within its bound that may change at each reading; truth is integer here, each
    step of it within the bound.
    """
    readings = sorted(draw(st.sets(st.integers(0, 10**12), min_size=1, max_size=6)))
    truth = {readings[0]: NOW}
    for before, after in pairwise(readings):
        passed = after - before
        least, greatest = ceil(passed / (1 + BOUND)), floor(passed * (1 + BOUND))
        truth[after] = truth[before] + draw(st.integers(min(least, greatest), greatest))
    right_count = draw(st.integers(1, 4))
    false_count = draw(st.integers(0, right_count - 1))
    anchors = []
    for number in range(right_count):
        for reading in draw(st.sets(st.sampled_from(readings), min_size=1)):
            early, late = draw(st.integers(0, 10**8)), draw(st.integers(0, 10**8))
            anchors.append(Anchor(NEAR, reading, truth[reading] - early, truth[reading] + late, f"right {number}"))
    for number in range(false_count):
        for reading in draw(st.sets(st.sampled_from(readings), min_size=1)):
            at, width = draw(st.integers(-(10**9), 10**9)), draw(st.integers(0, 10**8))
            anchors.append(Anchor(NEAR, reading, truth[reading] + at, truth[reading] + at + width, f"false {number}"))
    return anchors, truth, {f"right {number}" for number in range(right_count)}


@given(systems())
def test_a_truth_that_the_majority_holds_is_always_inside_and_no_right_source_is_called_false(
    system: tuple[list[Anchor], dict[int, int], set[str]],
) -> None:
    anchors, truth, right = system
    found = agree(anchors)
    assert found.anchors
    for one in found.anchors:
        assert one.earliest_ns <= truth[one.reading_ns] <= one.latest_ns
    for verdict in found.verdicts:
        assert verdict.source not in right or verdict.verdict in ("agrees", "alone")
    for reading, (earliest, latest) in zip(truth, utc_bounds(found.anchors, truth), strict=True):
        assert earliest <= truth[reading] <= latest


@given(systems())
def test_a_false_source_that_overlaps_no_right_one_at_some_reading_is_always_named(
    system: tuple[list[Anchor], dict[int, int], set[str]],
) -> None:
    anchors, _, right = system
    named = {verdict.source for verdict in agree(anchors).verdicts if verdict.verdict not in ("agrees", "alone")}
    for source in {one.source for one in anchors} - right:
        for said in (one for one in anchors if one.source == source):
            spans = [
                utc_bounds([one for one in anchors if one.source == other], [said.reading_ns])[0] for other in right
            ]
            if all(latest < said.earliest_ns or said.latest_ns < earliest for earliest, latest in spans):
                assert source in named


@given(systems(), st.randoms(use_true_random=False))
def test_the_order_of_anchors_is_irrelevant(
    system: tuple[list[Anchor], dict[int, int], set[str]], shuffler: random.Random
) -> None:
    anchors = system[0]
    shuffled = anchors.copy()
    shuffler.shuffle(shuffled)
    assert agree(shuffled) == agree(anchors)


@given(systems())
def test_the_count_of_depths_is_that_of_the_definition(system: tuple[list[Anchor], dict[int, int], set[str]]) -> None:
    """The hull of all UTC that more than half allow, found by trying each end of each source that is believed."""
    anchors, _, _ = system
    found = agree(anchors)
    voices = [verdict.source for verdict in found.verdicts if verdict.verdict != "contradicts itself"]
    believed = [verdict.source for verdict in found.verdicts if verdict.verdict == "agrees"]
    if not believed:
        return
    for one in found.anchors:
        spans = [utc_bounds([a for a in anchors if a.source == s], [one.reading_ns])[0] for s in believed]
        common = [
            utc for span in spans for utc in span if 2 * sum(low <= utc <= high for low, high in spans) > len(voices)
        ]
        assert (one.earliest_ns, one.latest_ns) == (min(common), max(common))


# Bounds at a reading --------------------------------------------------------------------------------------------------

near_readings = st.integers(-(10**12), 10**12)


@given(
    st.lists(st.tuples(near_readings, st.integers(-(10**9), 10**9), st.integers(0, 10**9)), min_size=1, max_size=6),
    st.lists(near_readings, min_size=1, max_size=6),
    st.sampled_from([0.0, 0.1, 100.0, 12345.678]),
)
def test_bounds_are_exactly_those_of_the_definition_rounded_outward(
    said: list[tuple[int, int, int]], readings: list[int], rate_ppm: float
) -> None:
    anchors = [Anchor(NEAR, at, NOW + at + off, NOW + at + off + width, "a") for at, off, width in said]
    grown = 1 + Fraction(rate_ppm) / 1_000_000
    for reading, found in zip(readings, utc_bounds(anchors, readings, rate_ppm), strict=True):
        latest, earliest = [], []
        for one in anchors:
            passed = reading - one.reading_ns
            latest.append(one.latest_ns + passed * (grown if passed > 0 else 1 / grown))
            earliest.append(one.earliest_ns + passed * (1 / grown if passed > 0 else grown))
        assert found == (floor(max(earliest)), ceil(min(latest)))


def test_days_of_anchors_are_judged_in_a_time_that_grows_with_their_number_and_not_its_square() -> None:
    """4 x 5000 here, which is 3.5 days of one a minute: half a second; their square would be minutes."""
    anchors = [anchor(name, 0, MS, at * 60 * 10**9) for name in "abcd" for at in range(5000)]
    assert len(agree(anchors).anchors) == 5000
