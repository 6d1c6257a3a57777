"""Clocks are related by what holds together; what nothing relates is said in a table, with what can be done."""

from __future__ import annotations

import numpy as np
import pytest

from coeval.alignment import Evidence, Messages
from coeval.clocks import Anchor, ClockId
from coeval.errors import ClocksNotRelated
from coeval.timeline.sources._claims import ClockSpan
from coeval.timeline.sources._messages import FoundEvidence
from coeval.timeline.sources._relate import relate
from coeval.timeline.sources._unrelated_text import component_lines

SECOND_NS = 10**9
WEB, APP, DB, OLD = (ClockId(name) for name in ("web.log", "app.jsonl", "db.csv", "web.log.1"))
SENT = np.arange(200, dtype=np.int64) * SECOND_NS // 4


def span(events: int) -> ClockSpan:
    return ClockSpan(events, 0, 50 * SECOND_NS)


def evidence(*parts: Messages) -> FoundEvidence:
    found = FoundEvidence()
    for messages in parts:
        found.hard.add(messages)
    return found


def both_ways(one: ClockId, other: ClockId, ahead_ns: int = 0) -> tuple[Messages, Messages]:
    return (
        Messages.between(one, other, SENT, SENT + ahead_ns + 5000),
        Messages.between(other, one, SENT + ahead_ns + 9000, SENT + 15_000),
    )


def test_clocks_that_nothing_relates_are_an_error_with_a_table_and_next_steps() -> None:
    found = evidence(*both_ways(WEB, APP), Messages.between(WEB, DB, SENT[:3], SENT[:3]))
    spans = {WEB: span(1000), APP: span(20), DB: span(5), OLD: span(1_234_567), ClockId("x" * 90): span(1)}
    with pytest.raises(ClocksNotRelated) as caught:
        relate(found, spans, reference="web.log")
    text = str(caught.value)
    assert max(map(len, text.splitlines())) <= 80
    assert "3 groups of clocks are related by nothing" in text
    long = f"{'x' * 29}…"
    assert text.splitlines()[3:9] == [
        f"group     events  {'clock':30}  placed by",
        f"1          1,000  {'web.log':30}  403 messages",
        f"              20  {'app.jsonl':30}  as above",
        f"               5  {'db.csv':30}  as above; only its earliest t…",
        f"2      1,234,567  {'web.log.1':30}  nothing links it to others",
        f"3              1  {long}  nothing links it to others",
    ]
    for step in ("--pair", "--clock", "--trust-clocks", "--unplaced aside", "--source 'web.log*:clock=NAME'"):
        assert step in text


def test_what_cannot_be_placed_is_left_to_whoever_allowed_it() -> None:
    spans = {WEB: span(10), APP: span(5), DB: span(90)}
    relation = relate(evidence(*both_ways(WEB, APP)), spans, reference="web", unplaced="aside")
    assert relation.unplaced == (DB,)
    assert [state.clock for state in relation.components[0].clocks] == [WEB, APP]
    with pytest.raises(ClocksNotRelated, match=r"clock db\.csv is not placed"):
        relation.instants(DB, np.array([1]))
    assert relation.instants(APP, np.array([SECOND_NS]))[0].earliest_ns is not None


def test_one_clock_needs_no_evidence_and_the_busiest_is_the_reference() -> None:
    relation = relate(FoundEvidence(), {WEB: span(3)})
    assert (relation.reference_label, relation.unplaced) == ("time of clock web.log", ())
    assert relation.instants(WEB, np.array([77]))[0].estimate_ns == 77
    relation = relate(evidence(*both_ways(WEB, APP)), {WEB: span(3), APP: span(4)})
    assert relation.reference_label == "time of clock app.jsonl"
    with pytest.raises(ValueError, match="'wbe' is no clock; there are"):
        relate(FoundEvidence(), {WEB: span(3)}, reference="wbe")


def test_clocks_that_count_events_show_no_time_and_are_not_placed() -> None:
    one, other = ClockId("a/logical"), ClockId("b/logical")
    counts = np.arange(1, 100, dtype=np.int64)
    found = evidence(Messages.between(one, other, counts, counts // 3), *both_ways(WEB, APP))
    spans = {WEB: span(9), APP: span(8), one: ClockSpan(3, 1, 99), other: ClockSpan(3, 1, 99)}
    relation = relate(found, spans, unplaced="last", trust_ns=10**9)
    assert relation.unplaced == (one, other)
    assert [part.why for part in relation.components[1:]] == ["counts events, shows no time"] * 2
    assert not len(relation.alignment.rejected)


def test_anchors_relate_clocks_that_no_message_does() -> None:
    anchors = [Anchor(clock, reading, reading - 9, reading + 9, "ntp") for clock in (WEB, DB) for reading in (0, 10**9)]
    relation = relate(FoundEvidence(), {WEB: span(3), DB: span(4)}, anchors=anchors)
    assert (relation.reference_label, len(relation.components)) == ("UTC", 1)
    assert relation.components[0].why == "UTC known on 2"


def test_anchors_that_contradict_each_other_are_an_error() -> None:
    anchors = [Anchor(WEB, 0, 0, 9, "one"), Anchor(WEB, 1, 5000, 5009, "two")]
    with pytest.raises(ClocksNotRelated, match="cannot all be true") as failed:
        relate(FoundEvidence(), {WEB: span(3)}, anchors=anchors)
    lines = str(failed.value).splitlines()
    assert max(map(len, lines)) <= 80
    said = lines[lines.index("  two") :][:3]
    assert said == [
        "  two",
        f"    {WEB} showed 1970-01-01 00:00:00.000000001",
        "    when it was 1970-01-01 00:00:00.000005004Z ±5 ns",
    ]


def ends(server: ClockId, client: ClockId, late_ns: int) -> tuple[str, Evidence]:
    found = Evidence()
    found.add(Messages.between(server, client, SENT + 9000 + late_ns, SENT + 15_000))
    return f"ends of spans: {server} -> {client}", found


def test_ends_of_spans_are_used_where_they_contradict_nothing() -> None:
    found = evidence(Messages.between(WEB, APP, SENT, SENT + 5000))
    found.likely.update([ends(APP, WEB, 0)])
    relation = relate(found, {WEB: span(3), APP: span(4)}, reference="web")
    assert [(verdict.is_used, verdict.messages) for verdict in relation.classes] == [(True, 200)]
    assert "is an assumption" in relation.classes[0].text
    assert [state.sides for state in relation.components[0].clocks] == ["both", "both"]


def test_ends_that_begins_contradict_are_dropped_whole_and_no_other_class_with_them() -> None:
    found = evidence(Messages.between(WEB, APP, SENT, SENT + 5000), Messages.between(WEB, DB, SENT, SENT + 5000))
    # Servers that end their spans 33 ms after the client has its answer, as real ones do, now and then.
    found.likely.update([ends(APP, WEB, 33 * 10**6 * 0), ends(DB, WEB, 33 * 10**6)])
    relation = relate(found, {WEB: span(3), APP: span(4), DB: span(4)}, reference="web")
    assert {verdict.name: verdict.is_used for verdict in relation.classes} == {
        "ends of spans: app.jsonl -> web.log": True,
        "ends of spans: db.csv -> web.log": False,
    }
    assert not len(relation.alignment.rejected) and not relation.alignment.steps
    sides = {state.clock: state.sides for state in relation.components[0].clocks}
    assert sides == {WEB: "both", APP: "both", DB: "earliest"}


def test_the_table_of_components_shows_who_is_placed_from_one_side_only() -> None:
    relation = relate(evidence(Messages.between(WEB, APP, SENT, SENT)), {WEB: span(3), APP: span(4)}, reference="web")
    assert component_lines(relation.components) == [
        "group  events  clock      placed by",
        "1           4  app.jsonl  200 messages; only its earliest times are known",
        "            3  web.log    as above",
    ]


def test_rates_are_found_by_name_and_the_later_word_counts() -> None:
    found = evidence(*both_ways(WEB, APP))
    wide = relate(found, {WEB: span(3), APP: span(4)}, reference="web", rates_ppm={"*": 100.0, "app": 5000.0})
    narrow = relate(found, {WEB: span(3), APP: span(4)}, reference="web", rates_ppm={"app": 5000.0, "*": 100.0})
    at = np.array([200 * SECOND_NS])

    def width(relation: object) -> int:
        placed = relation.instants(APP, at)[0]  # type: ignore[attr-defined]
        return int(placed.latest_ns - placed.earliest_ns)

    assert width(wide) > 10 * width(narrow)
