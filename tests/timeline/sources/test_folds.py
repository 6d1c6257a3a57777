"""A stamp from the hour that local time ran twice is settled by messages that only one of its readings can keep."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import Messages, align
from coeval.clocks import ClockId
from coeval.timeline.sources._folds import SettledFolds, settle_folds
from coeval.timeline.sources._messages import FoldedMessages

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
A, B = ClockId("a"), ClockId("b")


def settled(rows: SettledFolds) -> dict[tuple[int, int], bool]:
    return {
        (part, line): is_later
        for part, line, is_later in zip(rows.part.tolist(), rows.line.tolist(), rows.is_later.tolist(), strict=True)
    }


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 30))
def test_what_is_settled_is_true_and_messages_both_ways_settle_everything(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    ahead = int(random.integers(-(10**13), 10**13))
    quiet = np.arange(50, dtype=np.int64) * 60 * SECOND_NS - 10 * HOUR_NS
    # Before the ambiguous hours both clocks are well known to each other.
    clear = [
        Messages.between(A, B, quiet, quiet + ahead + 10**6),
        Messages.between(B, A, quiet + ahead + 2 * 10**6, quiet + 4 * 10**6),
    ]
    # b writes local time; its rows lie in either of two hours and show the first.
    is_later = random.uniform(size=count) < 0.5
    shown = np.sort(random.integers(0, HOUR_NS, count))
    true = shown + is_later * HOUR_NS
    fold = np.full(count, HOUR_NS)
    none = np.zeros(count, dtype=np.int64)
    lines = np.arange(count, dtype=np.int64)
    there = Messages.between(A, B, true - 10**6, shown + ahead, receiver_resolution_ns=HOUR_NS)
    back = Messages.between(B, A, shown + ahead, true + 10**6, sender_resolution_ns=HOUR_NS)
    messages = Messages.concatenated((there, back))
    folded = FoldedMessages(
        messages,
        np.concatenate((none, fold)),
        np.concatenate((fold, none)),
        np.concatenate((none, none + 7)),
        np.concatenate((lines, lines)),
        np.concatenate((none + 7, none)),
        np.concatenate((lines, lines)),
    )
    alignment = align(Messages.concatenated((*clear, messages)), reference=A)
    rows = settle_folds(alignment, folded)
    assert settled(rows) == {(7, line): later for line, later in enumerate(is_later.tolist())}
    assert (rows.open, rows.contradicted) == (0, 0)
    # One way alone settles only what it contradicts, and that truly.
    one_way = FoldedMessages(there, none, fold, none, lines, none + 7, lines)
    rows = settle_folds(align(Messages.concatenated((*clear, there)), reference=A), one_way)
    assert settled(rows) == {(7, line): True for line in np.flatnonzero(is_later).tolist()}
    assert rows.open == int((~is_later).sum())


def test_without_evidence_nothing_is_settled() -> None:
    assert settled(settle_folds(align(Messages.of(()), reference=A), None)) == {}
    one = Messages.between(A, B, [0], [5], receiver_resolution_ns=HOUR_NS)
    zero, fold = np.array([0]), np.array([HOUR_NS])
    rows = settle_folds(align(one, reference=A), FoldedMessages(one, zero, fold, zero, zero, zero, zero))
    assert (settled(rows), rows.open) == ({}, 1)
