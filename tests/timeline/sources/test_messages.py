"""Rows of two clocks become messages that are true, whatever is retried, doubled, missing, cut or written late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import Messages
from coeval.clocks import ClockId
from coeval.testing.virtual import Constant, Linear, VirtualClock
from coeval.timeline.readers._reader import NO_READING, EventBatch
from coeval.timeline.sources._claims import ClockSpan
from coeval.timeline.sources._messages import FoundEvidence, LinkCount, messages_of
from coeval.timeline.sources._relate import relate
from coeval.timeline.sources._rows import EvidenceRows, EvidenceWriter, extract, joined
from coeval.timeline.sources._rules import EvidenceRules, PairRule, parse_pair

SECOND_NS = 10**9


def batch(
    readings: Sequence[int],
    columns: Mapping[str, Any],
    *,
    ends: Sequence[int] | None = None,
    resolution_ns: int = 0,
    folds: Sequence[int] | None = None,
    clocks: Sequence[str | None] | None = None,
) -> EventBatch:
    return EventBatch(
        np.arange(len(readings), dtype=np.int64),
        np.array(readings, dtype=np.int64),
        resolution_ns,
        pa.RecordBatch.from_pydict(dict(columns)),
        None if clocks is None else pa.array(clocks, pa.string()).dictionary_encode(),
        None if ends is None else np.array(ends, dtype=np.int64),
        None if folds is None else np.array(folds, dtype=np.int64),
    )


def found_in(logs: Mapping[str, EventBatch], *pairs: PairRule) -> FoundEvidence:
    rules = EvidenceRules(pairs)
    return messages_of([extract(log, rules, clock=clock, source=clock) for clock, log in logs.items()], rules)


def told(messages: Messages) -> set[tuple[str, int, str, int]]:
    """Each message by its ends: sent, and arrived by."""
    rows = (messages[number] for number in range(len(messages)))
    return {(each.sender, each.sent_ns, each.receiver, each.received_ns + each.receiver_resolution_ns) for each in rows}


IN_ORDER = parse_pair("id", order="web,app")


# Pairs ----------------------------------------------------------------------------------------------------------------


def test_one_send_and_one_receive_of_an_id_are_a_message() -> None:
    logs = {"web.log": batch([1, 5], {"id": ["a", "b"]}), "app.log": batch([11, 15], {"id": ["b", "a"]})}
    found = found_in(logs, IN_ORDER)
    assert told(found.hard.messages()) == {("web.log", 1, "app.log", 15), ("web.log", 5, "app.log", 11)}
    assert found.counts == (LinkCount("id: web -> app", 2, 2, 2, 0, 0, 0),)


def test_of_retries_the_first_send_precedes_the_first_receive_and_the_rest_is_counted() -> None:
    logs = {"web": batch([9, 5, 7], {"id": ["a"] * 3}), "app": batch([18, 12], {"id": ["a"] * 2})}
    found = found_in(logs, IN_ORDER)
    assert told(found.hard.messages()) == {("web", 5, "app", 12)}
    assert found.counts == (LinkCount("id: web -> app", 1, 3, 2, 3, 0, 0),)


def test_what_several_clocks_sent_is_ambiguous_and_not_used() -> None:
    logs = {
        "web1": batch([1, 2], {"id": ["a", "b"]}),
        "web2": batch([1], {"id": ["a"]}),
        "app": batch([5, 6], {"id": ["a", "b"]}),
    }
    found = found_in(logs, parse_pair("id", order="web*,app"))
    assert told(found.hard.messages()) == {("web1", 2, "app", 6)}
    assert found.counts == (LinkCount("id: web* -> app", 1, 3, 2, 0, 3, 0),)


def test_what_several_clocks_received_was_sent_before_each_of_them() -> None:
    logs = {"web": batch([1], {"id": ["a"]}), "app1": batch([50], {"id": ["a"]}), "app2": batch([7], {"id": ["a"]})}
    found = found_in(logs, parse_pair("id", order="web,app*"))
    assert told(found.hard.messages()) == {("web", 1, "app1", 50), ("web", 1, "app2", 7)}
    assert found.counts == (LinkCount("id: web -> app*", 2, 1, 2, 0, 0, 0),)


def test_empty_and_missing_ids_and_ids_with_one_side_are_no_evidence() -> None:
    logs = {"web": batch([1, 2, 3], {"id": ["", None, "z"]}), "app": batch([1, 2, 3], {"id": ["", None, "y"]})}
    found = found_in(logs, IN_ORDER)
    assert not len(found.hard.messages())
    assert found.counts == (LinkCount("id: web -> app", 0, 1, 1, 0, 0, 2),)


def test_any_number_of_ids_with_one_side_are_counted() -> None:
    """Of more than 127 of them a sorted query of DuckDB 2.0 made an error: it takes the sums to fit one byte."""
    ids = [f"i{number}" for number in range(300)]
    logs = {"web": batch([1], {"other": ["x"]}), "app": batch(list(range(11, 311)), {"id": ids})}
    assert found_in(logs, IN_ORDER).counts == (LinkCount("id: web -> app", 0, 0, 300, 0, 0, 300),)


def test_a_way_over_three_clocks_holds_where_the_middle_one_logged_nothing() -> None:
    logs = {"web": batch([1], {"id": ["a"]}), "app": batch([1], {"id": ["q"]}), "db": batch([9], {"id": ["a"]})}
    assert told(found_in(logs, parse_pair("id", order="web>app>db")).hard.messages()) == {("web", 1, "db", 9)}


def test_conditions_tell_sends_from_receives_in_one_source() -> None:
    columns = {"id": ["a", "a", "b", "b"], "text": ["ask a", "got a", "ask b", "other"]}
    logs = {"all": batch([1, 12, 3, 14], columns, clocks=["x", "y", "x", "y"])}
    pair = parse_pair("id", sent="text~^ask", received="text~^got")
    assert told(found_in(logs, pair).hard.messages()) == {("x", 1, "y", 12)}
    pair = parse_pair("id", sent="clock=x", received="text~^o")
    assert told(found_in(logs, pair).hard.messages()) == {("x", 3, "y", 14)}


def test_ids_may_stand_in_text_and_in_columns_of_different_names() -> None:
    logs = {"web": batch([1], {"message": ["GET / req=77 ok"]}), "app": batch([9], {"message": ["start req=77"]})}
    assert told(found_in(logs, parse_pair(r"message~req=(\d+)", order="web,app")).hard.messages()) == {
        ("web", 1, "app", 9)
    }
    logs = {"web": batch([1], {"message": ["req=77 a|b"]}), "app": batch([9], {"rid": ["77"]})}
    assert told(found_in(logs, parse_pair(r"rid|message~req=(\d+) (?:a|b)", order="web,app")).hard.messages()) == {
        ("web", 1, "app", 9)
    }
    logs = {"web": batch([1], {"rid": [7]}), "app": batch([9], {"request_id": ["7"]})}
    assert told(found_in(logs, parse_pair("request_id|rid", order="web,app")).hard.messages()) == {("web", 1, "app", 9)}


def test_answers_come_back_where_somebody_says_which_rows_are_written_then() -> None:
    logs = {
        "web": batch([1, 30], {"id": ["a", "a"], "event": ["start", "done"]}),
        "app": batch([111], {"id": ["a"], "event": ["start"]}),
    }
    pair = parse_pair("id:order=web>app,answered=event=done")
    assert told(found_in(logs, pair).hard.messages()) == {("web", 1, "app", 111), ("app", 111, "web", 30)}
    logs = {"web": batch([1], {"id": ["a"]}, ends=[30]), "app": batch([111], {"id": ["a"]}, ends=[NO_READING])}
    pair = parse_pair("id:order=web>app,answered=end")
    assert told(found_in(logs, pair).hard.messages()) == {("web", 1, "app", 111), ("app", 111, "web", 30)}


def test_an_answer_counts_only_where_there_was_one_request() -> None:
    logs = {
        "web": batch([1, 30, 40], {"id": ["a", "a", "a"], "event": ["start", "done", "start"]}),
        "app": batch([145], {"id": ["a"], "event": ["start"]}),  # of the second try; of the first nothing was written
    }
    found = found_in(logs, parse_pair("id:order=web>app,answered=event=done"))
    assert told(found.hard.messages()) == {("web", 1, "app", 145)}
    assert [count.ambiguous for count in found.counts] == [0, 2]


def test_every_pair_says_what_became_of_its_rows_also_one_that_no_row_has() -> None:
    logs = {"web": batch([1, 2, 3], {"id": ["a", "a", "b"]}), "app": batch([9], {"id": ["a"]})}
    assert [count.text for count in found_in(logs, IN_ORDER).counts] == [
        "id: web -> app: 1 message; rows not used: 1 repeated, 1 alone"
    ]
    misspelt = found_in(logs, parse_pair("ids", order="web,app"))
    assert [count.text for count in misspelt.counts] == ["ids: web -> app: no row has such a value"]


def test_a_row_that_may_be_written_late_sends_that_much_earlier() -> None:
    logs = {"web": batch([1000], {"id": ["a"]}), "app": batch([2000], {"id": ["a"]})}
    messages = found_in(logs, parse_pair("id:order=web>app,late=300ns")).hard.messages()
    assert told(messages) == {("web", 700, "app", 2000)}
    assert messages.sender_resolution_ns.tolist() == [300]


def test_resolutions_and_folds_go_into_messages() -> None:
    logs = {
        "web": batch([1000], {"id": ["a"]}, resolution_ns=100, folds=[3600]),
        "app": batch([9000], {"id": ["a"]}, resolution_ns=10),
    }
    found = found_in(logs, IN_ORDER)
    message = found.hard.messages()[0]
    assert (message.sent_ns, message.sender_resolution_ns) == (1000, 3700)
    assert (message.received_ns, message.receiver_resolution_ns) == (9000, 10)
    assert found.folded is not None
    assert (found.folded.sender_fold_ns.tolist(), found.folded.receiver_fold_ns.tolist()) == ([3600], [0])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**31),
    st.integers(1, 40),
    st.sampled_from([0, 1000, 10**6, SECOND_NS]),
    st.sampled_from([0.0, 0.3]),
)
def test_the_truth_is_inside_after_retries_duplicates_missing_sides_and_cut_stamps(
    seed: int, requests: int, grain_ns: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    span_ns = 100 * SECOND_NS
    ids = {"web": ClockId("web"), "app": ClockId("app")}
    clocks = {
        "web": VirtualClock.of(ids["web"], [Constant(0)], span_ns=span_ns, seed=seed),
        "app": VirtualClock.of(
            ids["app"],
            [Constant(int(random.integers(-(10**13), 10**13))), Linear(float(random.uniform(-80, 80)))],
            span_ns=span_ns,
            seed=seed,
        ),
    }
    rows: dict[str, list[tuple[int, str, str]]] = {"web": [], "app": []}
    for number in range(requests):
        sent = int(random.integers(0, span_ns * 9 // 10))
        for _ in range(1 + int(random.uniform() < share)):  # a retry under the same id, a while later
            came = sent + int(random.exponential(10**6)) + 1000
            back = came + int(random.exponential(10**6)) + 1000
            rows["web"].append((sent, str(number), "ask"))
            if random.uniform() >= share:  # else the server wrote nothing
                rows["app"] += [(came, str(number), "got")] * (1 + int(random.uniform() < share))
            if random.uniform() >= share:
                rows["web"].append((back, str(number), "done"))
            sent += int(random.exponential(10**7))
    logs = {}
    for name, clock in clocks.items():
        order = random.permutation(len(rows[name]))
        said = [rows[name][place] for place in order]
        true = np.array([row[0] for row in said], dtype=np.int64)
        # A send is stamped down and a receive up, as in real life a stamp is taken before it goes and after it came.
        down, up = (clock.readings_ns(true, rounded=how) if len(true) else true for how in ("down", "up"))
        is_send = np.array([row[2] == "ask" for row in said], dtype=np.bool_)
        read = down if grain_ns else np.where(is_send, down, up)
        if grain_ns:
            read = read // grain_ns * grain_ns
        columns = {
            "id": pa.array([row[1] for row in said], pa.string()),
            "kind": pa.array([row[2] for row in said], pa.string()),
        }
        logs[name] = batch(read.tolist(), columns, resolution_ns=grain_ns)
    found = found_in(logs, parse_pair("id:order=web>app,answered=kind=done"))
    messages = found.hard.messages()
    spans = {ids[name]: ClockSpan(len(log), 0, span_ns) for name, log in logs.items()}
    relation = relate(found, spans, reference="web", unplaced="aside", rate_bound_ppm=100)
    assert not len(relation.alignment.rejected) and not relation.alignment.steps
    for count in found.counts:
        used = count.messages * 2
        assert used + count.repeated + count.ambiguous + count.alone == count.sends + count.receives
    if not len(messages):
        return
    true = np.sort(random.integers(0, span_ns, 50))
    readings = clocks["app"].readings_ns(true)
    placed = relation.alignment.instants(ids["app"], readings)
    assert (placed.earliest_ns <= clocks["web"].readings_ns(true, rounded="up")).all()
    assert (placed.latest_ns >= clocks["web"].readings_ns(true - 2)).all()


# Spans ----------------------------------------------------------------------------------------------------------------


def span_log(rows: Sequence[tuple[str, str | None, str, int, int]], clock: str) -> dict[str, EventBatch]:
    columns = {
        "trace_id": ["t"] * len(rows),
        "span_id": [row[0] for row in rows],
        "parent_span_id": pa.array([row[1] for row in rows], pa.string()),
        "span_kind": [row[2] for row in rows],
    }
    return {clock: batch([row[3] for row in rows], columns, ends=[row[4] for row in rows])}


def test_a_child_begins_after_its_parent_and_a_server_is_likely_to_end_before_its_client() -> None:
    logs = span_log([("1", None, "SERVER", 100, 900), ("2", "1", "SPAN_KIND_CLIENT", 200, 300)], "web")
    logs |= span_log([("3", "2", "server", 1210, 1290), ("4", "3", "INTERNAL", 1220, 1230)], "app")
    found = found_in(logs)
    assert told(found.hard.messages()) == {("web", 200, "app", 1210)}
    assert {name: told(each.messages()) for name, each in found.likely.items()} == {
        "ends of spans: app -> web": {("app", 1290, "web", 300)}
    }


@pytest.mark.parametrize(
    ("parent", "child"), [("PRODUCER", "CONSUMER"), ("INTERNAL", "INTERNAL"), ("SERVER", "SERVER")]
)
def test_of_spans_that_nobody_waits_for_only_the_begins_are_evidence(parent: str, child: str) -> None:
    logs = span_log([("1", "0000000000000000", parent, 100, 900)], "web") | span_log(
        [("2", "1", child, 150, 200)], "app"
    )
    found = found_in(logs)
    assert told(found.hard.messages()) == {("web", 100, "app", 150)}
    assert not found.likely


def test_a_client_and_a_server_that_share_a_span_id_are_parent_and_child() -> None:
    logs = span_log([("1", None, "CLIENT", 100, 900)], "web")
    logs |= span_log([("1", None, "SERVER", 1150, 1200), ("2", "1", "CLIENT", 1160, 1190)], "app")
    logs |= span_log([("3", "1", "INTERNAL", 50, 60)], "other")  # the client's or the server's? nobody knows
    found = found_in(logs)
    assert told(found.hard.messages()) == {("web", 100, "app", 1150)}
    assert set(found.likely) == {"ends of spans: app -> web"}
    assert found.counts[0].ambiguous == 2


def test_a_span_that_was_exported_twice_is_one() -> None:
    logs = span_log([("1", None, "CLIENT", 100, 900)] * 2, "web") | span_log(
        [("2", "1", "SERVER", 150, 200)] * 2, "app"
    )
    found = found_in(logs)
    assert told(found.hard.messages()) == {("web", 100, "app", 150)}
    assert found.counts[0].repeated == 2


# Vector clocks and flows ----------------------------------------------------------------------------------------------

VECTORS = {
    "a": [{"a": 1}, {"a": 2}, {"a": 3, "b": 2}],
    "b": [{"b": 1, "a": 2}, {"b": 2, "a": 2}, {"b": 3, "a": 2}],
}


@pytest.mark.parametrize("how", ["json", "map", "struct"])
def test_a_component_of_a_vector_clock_is_an_event_that_was_before(how: str) -> None:
    import json

    def column(rows: list[dict[str, int]]) -> pa.Array:
        if how == "json":
            return pa.array([json.dumps(row) for row in rows])
        if how == "map":
            return pa.array([list(row.items()) for row in rows], pa.map_(pa.string(), pa.int64()))
        return pa.array(rows)

    logs = {
        "a": batch([10, 20, 30], {"vector_clock": column(VECTORS["a"])}),
        "b": batch([115, 125, 135], {"vector_clock": column(VECTORS["b"])}),
    }
    # What is not new in a vector was said by an earlier event.
    assert told(found_in(logs).hard.messages()) == {("a", 20, "b", 115), ("b", 125, "a", 30)}


def test_executions_in_one_log_count_for_themselves() -> None:
    columns = {"vector_clock": ['{"a": 1}', '{"b": 1, "a": 1}'] * 2, "execution": ["x", "x", "y", "y"]}
    log = batch([10, 115, 30, 135], {**columns, "host": ["a", "b"] * 2}, clocks=["x: a", "x: b", "y: a", "y: b"])
    assert told(found_in({"log": log}).hard.messages()) == {("x: a", 10, "x: b", 115), ("y: a", 30, "y: b", 135)}


def test_a_flow_goes_from_the_slice_it_starts_in_to_where_it_ends() -> None:
    columns = {
        "kind": ["span", "span", "span", "flow start", "flow start", "flow end", "flow step"],
        "id": [None, None, None, "7", "8", "7", "8"],
        "category": [None, None, None, "net", "net", "net", "net"],
        "pid": ["1", "1", "1", "1", "1", "2", "2"],
        "tid": ["1", "1", "1", "1", "9", "1", "1"],
    }
    clocks = ["a", "a", "a", "a", "a", "b", "b"]
    none = NO_READING
    log = batch([10, 20, 28, 30, 31, 540, 541], columns, ends=[90, 40, 29, none, none, none, none], clocks=clocks)
    # Slice 20..40 is the innermost around 30; the track of the other start has none.
    assert told(found_in({"trace": log}).hard.messages()) == {("a", 20, "b", 540), ("a", 31, "b", 541)}


# Parts and files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_files", [False, True])
def test_rows_of_many_parts_are_joined_wherever_they_were_kept(tmp_path: Path, in_files: bool) -> None:
    rules = EvidenceRules((IN_ORDER,))
    rows = []
    for part in range(6):
        clock, shift = ("web", 0) if part % 2 == 0 else ("app", 500)
        names = [str(number) for number in range(part // 2 * 10, part // 2 * 10 + 10)]
        batches = [
            batch([shift + 10 * int(name) for name in chosen], {"id": chosen}) for chosen in (names[:5], names[5:])
        ]
        found = [extract(each, rules, clock=clock, part=part) for each in batches]
        if in_files:
            with EvidenceWriter(tmp_path / f"part{part}'s") as writer:
                for each in found:
                    writer.add(each)
            rows.append(writer.close())
        else:
            rows.append(joined(found))
    assert all(isinstance(each.points, str) for each in rows) is in_files
    messages = messages_of(rows, rules, folder=str(tmp_path)).hard
    assert (messages.statistics().seen, len(told(messages.messages()))) == (30, messages.statistics().kept)
    assert told(messages.messages()) <= {("web", 10 * n, "app", 500 + 10 * n) for n in range(30)}


def test_messages_that_a_source_has_as_such_come_along() -> None:
    given = Messages.between(ClockId("a"), ClockId("b"), [1], [2])
    assert told(messages_of([EvidenceRows()], EvidenceRules(), [given]).hard.messages()) == {("a", 1, "b", 2)}
