"""Processes that claim one clock: the claim holds until a message refutes it, and then as few as can be lose it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import IdentityReport, Messages, check_identities
from coeval.clocks import ClockId, Message

CLOCK = ClockId("boot/0/raw")
CLAIMS = {"0": CLOCK, "1": CLOCK, "2": CLOCK}


def message(sender: str, sent_ns: int, receiver: str, received_ns: int, resolution_ns: int = 0) -> Message:
    return Message(ClockId(sender), sent_ns, ClockId(receiver), received_ns, "", 0, resolution_ns)


def check(messages: list[Message], claims: dict[str, ClockId], reference: str | None = None) -> IdentityReport:
    return check_identities(Messages.of(messages), claims, reference=reference)


def test_processes_whose_messages_agree_keep_their_clock_and_are_counted() -> None:
    report = check([message("0", 1, "1", 1), message("1", 2, "0", 9), message("0", 3, "2", 4)], CLAIMS)
    assert report.clock_of == CLAIMS
    assert report.checked == {CLOCK: 3}
    assert report.clashes == ()


def test_a_message_received_before_it_was_sent_splits_the_process_that_is_not_the_reference() -> None:
    proof = message("0", 1000, "1", 400)
    for reference, split, kept in (("0", "1", "0"), ("1", "0", "1")):
        report = check([proof, message("0", 10, "1", 9)], CLAIMS, reference)
        assert report.clock_of[split] == f"{CLOCK}~{split}"
        assert report.clock_of[kept] == CLOCK
        (clash,) = report.clashes
        assert (clash.process, clash.other, clash.message) == (split, kept, proof)
        assert (clash.count, clash.offset_ns_least) == (2, 600)
        assert "COEVAL_CLOCK_ID" in clash.text


def test_without_a_reference_the_one_against_the_most_is_split() -> None:
    report = check([message("0", 10, "1", 5), message("0", 10, "2", 5), message("1", 1, "2", 2)], CLAIMS)
    assert report.clock_of == {"0": f"{CLOCK}~0", "1": CLOCK, "2": CLOCK}
    assert [(clash.process, clash.other) for clash in report.clashes] == [("0", "1"), ("0", "2")]


def test_between_two_the_one_with_fewer_agreeing_messages_is_split() -> None:
    report = check([message("0", 10, "1", 5), message("1", 1, "2", 2)], CLAIMS)
    assert report.clock_of == {"0": f"{CLOCK}~0", "1": CLOCK, "2": CLOCK}


def test_all_else_equal_the_later_claim_is_split() -> None:
    assert check([message("1", 10, "0", 5)], CLAIMS).clock_of["1"] == f"{CLOCK}~1"


def test_a_coarse_receive_stamp_is_no_proof_within_its_grain() -> None:
    assert not check([message("0", 1000, "1", 990, 10)], CLAIMS).clashes
    assert check([message("0", 1001, "1", 990, 10)], CLAIMS).clashes


def test_messages_of_different_claims_of_unclaimed_processes_and_soft_ones_check_nothing() -> None:
    rows = [message("0", 10, "3", 1), message("0", 10, "4", 1), message("0", 10, "1", 1)._replace(hard=False)]
    report = check(rows, {**CLAIMS, "3": ClockId("other")})
    assert report.checked == {}
    assert report.clashes == ()


@given(
    st.lists(st.tuples(st.sampled_from("01234"), st.sampled_from("01234"), st.integers(-5, 50)), max_size=20),
    st.sampled_from(("0", None)),
)
def test_afterwards_no_message_within_one_clock_contradicts_it(
    drawn: list[tuple[str, str, int]], reference: str | None
) -> None:
    messages = [message(first, 0, second, delay) for first, second, delay in drawn if first != second]
    claims = dict.fromkeys("01234", CLOCK)
    report = check(messages, claims, reference)
    for row in messages:
        if report.clock_of[row.sender] == report.clock_of[row.receiver]:
            assert row.sent_ns <= row.received_ns
    split = {process for process, clock in report.clock_of.items() if clock != CLOCK}
    assert split == {clash.process for clash in report.clashes}
    assert reference not in split
    assert report.checked.get(CLOCK, 0) == len(messages)
