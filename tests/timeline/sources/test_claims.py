"""What is said of a clock's offset is evidence at every reading of the data, nearly as narrow as it was said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import Messages
from coeval.clocks import ClockId
from coeval.testing.virtual import Constant, RandomWalk, VirtualClock
from coeval.timeline.sources._claims import ClockSpan, OffsetClaim, claims_on, parse_claim
from coeval.timeline.sources._messages import FoundEvidence
from coeval.timeline.sources._relate import relate

SECOND_NS = 10**9
WEB, DB = ClockId("web"), ClockId("db")


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("web=+3.2s±0.1s", OffsetClaim("web", 3_100_000_000, 3_300_000_000)),
        ("web=3.2s+-100ms", OffsetClaim("web", 3_100_000_000, 3_300_000_000)),
        ("web = -250ms +/- 5ms", OffsetClaim("web", -255_000_000, -245_000_000)),
        ("web=0±1us", OffsetClaim("web", -1000, 1000)),
        ("web.log=+1s±0.5ns@db.log", OffsetClaim("web.log", 999_999_999, 1_000_000_001, "db.log")),
    ],
)
def test_an_offset_is_read(text: str, claim: OffsetClaim) -> None:
    assert parse_claim(text) == claim
    assert parse_claim(claim.text) == claim


@pytest.mark.parametrize(
    "text", ["web", "web=3.2", "web=3.2s", "web=3.2±0.1s", "web=1s±1s@web", "=1s±1s", "web=1s±-1s"]
)
def test_what_is_no_offset_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected CLOCK|has no unit|not ahead of itself"):
        parse_claim(text)


def test_a_claim_of_a_clock_that_is_not_there_is_refused_and_wildcards_mean_several() -> None:
    with pytest.raises(ValueError, match="is about clock 'wbe', and there is none; there are web, db"):
        claims_on([parse_claim("wbe=1s±1s")], [WEB, DB])
    with pytest.raises(ValueError, match="relative to several"):
        claims_on([parse_claim("web=1s±1s@*b")], [WEB, DB])
    assert [claim.clock for claim in claims_on([parse_claim("*b=1s±1s")], [WEB, DB])] == ["web", "db"]


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1.0, 3600.0, 86_400.0, 3e7]),
    st.sampled_from([1_000, 10**6, 50 * 10**6, 5 * SECOND_NS]),
)
def test_a_trusted_clock_is_within_a_hundredth_of_what_is_trusted_and_the_truth_inside(
    seed: int, span_s: float, bound_ns: int
) -> None:
    span_ns = round(span_s * SECOND_NS)
    random = np.random.default_rng(seed)
    # A clock that keeps within the bound, or nearly up to it, and wanders in it as far as its rate allows.
    offset = int(random.integers(-bound_ns // 2, bound_ns // 2))
    limit_ppm = min(50.0, bound_ns / 2 / span_ns * 1e6)
    clock = VirtualClock.of(
        WEB,
        [Constant(offset), RandomWalk(limit_ppm * 1e-8, limit_ppm=limit_ppm, every_ns=max(span_ns // 100, 1))],
        span_ns=span_ns,
        seed=seed,
    )
    true = np.sort(random.integers(0, span_ns, 300))
    readings = clock.readings_ns(true)
    assert (np.abs(readings - true) <= bound_ns).all()
    spans = {WEB: ClockSpan(300, int(readings.min()), int(readings.max())), DB: ClockSpan(1, 5, 5)}
    relation = relate(FoundEvidence(), spans, trust_ns=bound_ns)
    placed = relation.instants(WEB, readings)
    assert relation.reference_label == "UTC" and not relation.unplaced
    assert (placed.earliest_ns <= true + 1).all() and (placed.latest_ns >= true - 1).all()
    assert (placed.latest_ns - placed.earliest_ns <= 2 * bound_ns * 1.01).all()
    # What alignment tells by itself is wider by no more than what is told as slack.
    slack_ns = max(each.slack_ns for each in relation.claims)
    alone = relation.alignment.instants(WEB, readings)
    assert (alone.latest_ns - alone.earliest_ns <= 2 * (bound_ns + slack_ns) + 2).all()
    if bound_ns / (1e-4 * span_ns) > 1 / 80:  # else there are not enough anchors, and the slack says so
        assert slack_ns <= bound_ns / 100 + 1


@settings(deadline=None, max_examples=25)
@given(st.integers(-(10**12), 10**12), st.integers(0, 10**8), st.sampled_from([1, 600]))
def test_an_offset_to_another_clock_places_one_on_the_other(ahead_ns: int, error_ns: int, span_s: int) -> None:
    span_ns = span_s * SECOND_NS
    claim = OffsetClaim("web", ahead_ns - error_ns, ahead_ns + error_ns, "db")
    spans = {DB: ClockSpan(9, 0, span_ns), WEB: ClockSpan(3, ahead_ns, ahead_ns + span_ns)}
    relation = relate(FoundEvidence(), spans, claims=[claim])
    assert (relation.reference_label, len(relation.components)) == ("time of clock db", 1)
    assert [verdict.is_used for verdict in relation.classes] == [True]
    readings = np.linspace(0, span_ns, 50).astype(np.int64)
    placed = relation.alignment.instants(WEB, readings + ahead_ns)
    assert (placed.earliest_ns <= readings - error_ns).all() and (placed.latest_ns >= readings + error_ns).all()
    slack_ns = max(span_ns * 2.1e-4 / 4095, error_ns / 100) + 3
    assert (placed.earliest_ns >= readings - error_ns - slack_ns).all()
    assert (placed.latest_ns <= readings + error_ns + slack_ns).all()


def test_an_offset_to_another_clock_that_messages_contradict_is_not_used_and_said() -> None:
    found = FoundEvidence()
    sent = np.arange(100, dtype=np.int64) * SECOND_NS
    found.hard.add(Messages.between(WEB, DB, sent, sent + 1000))
    found.hard.add(Messages.between(DB, WEB, sent + 2000, sent + 4000))
    spans = {WEB: ClockSpan(9, 0, 100 * SECOND_NS), DB: ClockSpan(9, 0, 100 * SECOND_NS)}
    relation = relate(found, spans, claims=[parse_claim("web=+3.2s±0.1s@db")], reference="web")
    (verdict,) = relation.classes
    assert not verdict.is_used
    assert verdict.text.startswith("said: web=+3200ms±100ms@db: not used, as it cannot be true together")
    assert not len(relation.alignment.rejected)


def test_what_is_said_of_one_clock_goes_before_what_is_trusted_of_all() -> None:
    spans = {WEB: ClockSpan(9, 0, SECOND_NS), DB: ClockSpan(9, 0, SECOND_NS)}
    relation = relate(FoundEvidence(), spans, claims=[parse_claim("web=+5s±1ms")], trust_ns=10**6)
    placed = relation.instants(WEB, np.array([5 * SECOND_NS // 10]))
    assert (placed[0].earliest_ns, placed[0].latest_ns) == (-4_501_000_000, -4_499_000_000)
