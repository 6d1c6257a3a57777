"""What chronyd's command port says is read as its protocol has it, and the host's own anchor holds."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import SYSTEM_CLOCK, ClockId, Snapshot
from coeval.clocks._chrony import ChronyTracking, NoTracking, read_chrony, read_tracking, tracking_request
from coeval.clocks._host import Synchronisation
from coeval.clocks._host_time import anchor_between, read_host_time

HERE = ClockId("here")
REFUSED = Synchronisation("no", None, "")


def chrony_float(value: float) -> int:
    """chrony's own format, as its util.c makes it: 7 bits of exponent, 25 of coefficient, two's complements."""
    exponent = -64 + 25
    while abs(round(value * 2.0 ** (25 - exponent))) >= 2**24:
        exponent += 1
    coefficient = round(value * 2.0 ** (25 - exponent))
    return (exponent & 0x7F) << 25 | coefficient & 0x1FFFFFF


def tracking(
    sequence: int,
    correction_s: float = 0.0,
    delay_s: float = 0.0,
    dispersion_s: float = 0.0,
    *,
    leap: int = 0,
    reference: int = 0xC0000201,
    status: int = 0,
    reply: int = 5,
) -> bytes:
    head = struct.pack(">BBBBHHHHHHIII", 6, 2, 0, 0, 33, reply, status, 0, 0, 0, sequence, 0, 0)
    numbers = [correction_s, 0, 0, 0, 0, 0, delay_s, dispersion_s, 1]
    body = struct.pack(">I20sHH3I", reference, bytes(20), 2, leap, 0, 0, 0)
    return head + body + struct.pack(">9I", *map(chrony_float, numbers))


def test_the_question_is_as_long_as_the_answer() -> None:
    assert len(tracking_request(7)) == len(tracking(7)) == 104


@given(st.floats(-100, 100), st.floats(0, 2), st.floats(0, 2))
def test_its_bound_is_the_correction_the_dispersion_and_half_the_delay_rounded_up(
    correction_s: float, delay_s: float, dispersion_s: float
) -> None:
    found = read_tracking(tracking(7, correction_s, delay_s, dispersion_s), 7)
    true_ns = (abs(correction_s) + delay_s / 2 + dispersion_s) * 1e9
    assert true_ns * (1 - 1e-6) <= found.max_error_ns
    assert found.max_error_ns <= true_ns * (1 + 1e-6) + 2
    assert found.stratum == 2


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "0 bytes"),
        (tracking(8), "not chronyd"),
        (b"\5" + tracking(7)[1:], "not chronyd"),
        (tracking(7, status=2), "refused to tell"),
        (tracking(7)[:60], "refused to tell"),
        (tracking(7, leap=3), "no time yet"),
        (tracking(7, reference=0x7F7F0101), "this host's own clock"),
        (tracking(7, dispersion_s=-1), "root dispersion of -1"),
    ],
)
def test_what_gives_no_bound_says_why(datagram: bytes, reason: str) -> None:
    with pytest.raises(NoTracking, match=reason):
        read_tracking(datagram, 7)


@given(st.binary(max_size=120))
def test_no_datagram_does_anything_but_be_read_or_refused(datagram: bytes) -> None:
    for one in (datagram, tracking(7)[:28] + datagram.ljust(76)):
        with suppress(NoTracking):
            read_tracking(one, 7)


# The host's own anchor ------------------------------------------------------------------------------------------------


@contextmanager
def chronyd(answers: bool = True) -> Iterator[int]:
    """Something that answers as chronyd does; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def serve() -> None:
            request, address = listener.recvfrom(2048)
            if answers and request != b"end":
                (sequence,) = struct.unpack_from(">I", request, 8)
                listener.sendto(tracking(sequence, dispersion_s=1e-3), address)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"end", listener.getsockname())
            thread.join()


def test_chrony_is_asked_first_and_its_anchor_holds_the_wall_clock() -> None:
    with chronyd() as port:
        before = SYSTEM_CLOCK.snapshot()
        found = read_host_time(SYSTEM_CLOCK, HERE, chrony_port=port, kernel=lambda: REFUSED)
    assert found.asked == "chrony"
    assert found.anchor is not None
    assert found.anchor.source.startswith("chrony of ")
    wall_ns = before.realtime_ns + found.anchor.reading_ns - before.raw_before_ns
    assert found.anchor.earliest_ns <= wall_ns <= found.anchor.latest_ns
    assert 2_000_000 <= found.anchor.latest_ns - found.anchor.earliest_ns < 4_000_000


def test_without_chrony_it_is_the_kernels_bound_and_without_that_there_is_no_anchor() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    found = read_host_time(SYSTEM_CLOCK, HERE, chrony_port=port, kernel=lambda: Synchronisation("yes", 10**6, ""))
    assert found.asked == "kernel"
    assert found.anchor is not None
    assert 2_000_000 <= found.anchor.latest_ns - found.anchor.earliest_ns < 4_000_000
    for state, reason in (("no", "is not synchronised"), ("yes", "tells no bound"), ("unknown", "cannot be asked")):
        told = Synchronisation(state, None, "")  # type: ignore[arg-type]
        found = read_host_time(SYSTEM_CLOCK, HERE, chrony_port=port, kernel=partial(Synchronisation, *told))
        assert (found.anchor, found.asked) == (None, "")
        assert found.reasons == (
            f"no chronyd answers at port {port} (Connection refused)",
            f"the kernel's clock {reason}",
        )


def test_a_chronyd_that_says_nothing_is_waited_for_only_shortly() -> None:
    with chronyd(answers=False) as port, pytest.raises(NoTracking, match=r"within 0\.05 s"):
        read_chrony(SYSTEM_CLOCK, port, 0.05)


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 5000), st.floats(-1, 1))
def test_the_anchor_holds_wherever_between_the_snapshots_the_bound_was_told(
    moved_ns: int, bound_ns: int, when: float, width_ns: int, share: float
) -> None:
    """The wall clock moves evenly against the raw clock, as in a slew; true UTC goes on as the raw clock does."""
    before = Snapshot(0, 10**18, 0, width_ns)
    length_ns = 10**6
    after = Snapshot(length_ns, 10**18 + length_ns + moved_ns, 0, length_ns + width_ns)
    # At the moment of the answer the wall clock was off by some share of the bound.
    at_ns = round(when * length_ns)
    utc_less_raw = 10**18 + moved_ns * at_ns / length_ns + share * bound_ns
    anchor = anchor_between(before, after, HERE, bound_ns, "test")
    assert anchor.earliest_ns - 1 <= anchor.reading_ns + utc_less_raw <= anchor.latest_ns + 1


def test_chrony_trackings_are_values() -> None:
    assert read_tracking(tracking(7), 7) == ChronyTracking(2, 1)
