"""What NTP servers say becomes evidence that holds; what is malformed, hostile or useless is refused with a reason."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import SYSTEM_CLOCK, ClockId
from coeval.clocks._ntp import (
    NoExchange,
    NotAnAnswer,
    NoTime,
    NtpExchange,
    NtpResult,
    TimeServer,
    TimeServers,
    new_cookie,
    parse_time_server,
    parse_time_servers,
    query_packet,
    read_reply,
)
from tests.ntp_server import Answer, NtpServer, cookie_of, honest, ntp_stamp, reply

HERE = ClockId("here")
SERVER = TimeServer("ntp.example.org")
NOW = 1_795_708_963_000_000_000


def said(**fields: object) -> bytes:
    return reply(7, **{"arrived_ns": NOW, "replied_ns": NOW, **fields})  # type: ignore[arg-type]


def asked(server: NtpServer, timeout_s: float = 5) -> NtpResult:
    (result,) = TimeServers([TimeServer("127.0.0.1", server.port)]).ask(timeout_s)
    return result


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ntp.example.org", "ntp.example.org", 123),
        (" 192.0.2.1:1123 ", "192.0.2.1", 1123),
        ("::1", "::1", 123),
        ("[2001:db8::7]", "2001:db8::7", 123),
        ("[2001:db8::7]:124", "2001:db8::7", 124),
    ],
)
def test_a_server_is_named_by_host_and_port(text: str, host: str, port: int) -> None:
    server = parse_time_server(text)
    assert server == (host, port)
    assert parse_time_server(server.name) == server


@pytest.mark.parametrize("text", ["", ":123", "a:", "a:x", "a:0", "a:65536", "[::1", "[::1]7", "a b", "ntp://a", "a,b"])
def test_what_names_no_server_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_time_server(text)


def test_one_text_is_one_server_and_the_same_one_counts_once() -> None:
    assert parse_time_servers("a") == (("a", 123),)
    assert parse_time_servers(["a", "b:123", "a:123"]) == (("a", 123), ("b", 123))
    with pytest.raises(ValueError, match="at most 32"):
        parse_time_servers(map(str, range(33)))


# Datagrams ------------------------------------------------------------------------------------------------------------


def test_a_query_tells_nothing_but_a_random_cookie() -> None:
    cookies = {new_cookie() for _ in range(100)}
    assert len(cookies) == 100
    packet = query_packet(0x0123456789ABCDEF)
    assert packet == b"\x23" + bytes(39) + bytes.fromhex("0123456789abcdef")


def test_an_answer_is_read_to_the_nanosecond_and_its_error_rounded_up() -> None:
    found = read_reply(said(replied_ns=NOW + 5000, root_delay_s=0.5, root_dispersion_s=0.25, precision=-20, leap=1), 7)
    assert (found.leap, found.stratum) == (1, 2)
    assert found.precision_ns == 954
    assert found.root_distance_ns == 500_000_000
    assert abs(found.arrived_ns - NOW) <= 1
    assert abs(found.replied_ns - NOW - 5000) <= 1


@pytest.mark.parametrize("years", [0, 5, 12, 60, 130])
def test_times_after_2036_when_the_seconds_wrapped_are_read_as_such(years: int) -> None:
    then = NOW + years * 31_557_600 * 10**9
    assert abs(read_reply(said(arrived_ns=then, replied_ns=then), 7).arrived_ns - then) <= 1


def test_the_second_of_the_wrap_itself_is_read_on_both_sides() -> None:
    wrap = (2**32 - 2_208_988_800) * 10**9
    assert ntp_stamp(wrap) == 0
    for then in (wrap - 10**9, wrap + 10**9):
        assert abs(read_reply(said(arrived_ns=then, replied_ns=then), 7).arrived_ns - then) <= 1


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "0 bytes"),
        (said()[:47], "47 bytes"),
        (said(mode=3), "mode 3"),
        (said(mode=5), "mode 5"),
        (said(mode=6), "mode 6"),
        (reply(8, arrived_ns=NOW, replied_ns=NOW), "not ours"),
        (reply(0, arrived_ns=NOW, replied_ns=NOW), "not ours"),
    ],
)
def test_what_is_no_answer_to_our_query_is_told_apart(datagram: bytes, reason: str) -> None:
    with pytest.raises(NotAnAnswer, match=reason):
        read_reply(datagram, 7)


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (said(version=0), "version 0"),
        (said(version=5), "version 5"),
        (said(leap=3), "not synchronised"),
        (said(stratum=16), "not synchronised"),
        (said(stratum=255), "not synchronised"),
        (said(root_delay_s=40), "20.0 s off by its own word"),
        (said(root_dispersion_s=16), "16.0 s off by its own word"),
        (said(precision=4), "s off by its own word"),
        (said(precision=127), "s off by its own word"),
        (said(replied_ns=NOW - 1000), "before it was asked"),
        (said()[:32] + bytes(8) + said()[40:], "zero"),
        (said()[:40] + bytes(8), "zero"),
    ],
)
def test_an_answer_without_a_usable_time_is_refused_with_its_reason(datagram: bytes, reason: str) -> None:
    with pytest.raises(NoTime, match=reason) as error:
        read_reply(datagram, 7)
    assert not error.value.kiss


@pytest.mark.parametrize(
    ("code", "reason"), [(b"RATE", "too often"), (b"DENY", "denies"), (b"X\xff\n\0", r"code 'X\??")]
)
def test_a_kiss_of_death_is_told_by_its_code(code: bytes, reason: str) -> None:
    with pytest.raises(NoTime, match=reason) as error:
        read_reply(said(stratum=0, reference=code), 7)
    assert error.value.kiss
    assert str(error.value).isprintable()


@given(st.binary(max_size=100), st.integers(1, 2**64 - 1))
def test_no_datagram_at_all_does_anything_but_be_read_or_refused(datagram: bytes, cookie: int) -> None:
    for one in (datagram, datagram[:24].ljust(24) + cookie.to_bytes(8, "big") + datagram[32:].ljust(16)):
        try:
            found = read_reply(one, cookie)
            NtpExchange(SERVER, "", 0, 10**6, found).anchor(HERE)
        except (NotAnAnswer, NoTime):
            pass


# What an exchange proves ----------------------------------------------------------------------------------------------

short = st.integers(0, 3 * 10**8)
spans = st.tuples(short, short, short)


@given(
    spans,
    st.integers(-(10**15), 10**15),
    st.integers(0, 10**9),
    st.fractions(-1, 1),
    st.integers(-100, 100),
    st.integers(-32, -10),
)
def test_utc_is_inside_whatever_the_paths_the_servers_error_and_our_rate(
    durations: tuple[int, int, int], origin: int, distance_ns: int, share: Fraction, rate_ppm: int, precision: int
) -> None:
    """True UTC goes on as our raw clock does, times 1 + rate; the server is off by at most what it says."""
    there, kept, back = durations
    root_dispersion_s = -(-distance_ns * 65536 // 10**9) / 65536
    off_ns = int(share * distance_ns)
    # True durations; our raw clock counts them with its rate.
    sent = origin
    received = origin + (there + kept + back) * (1_000_000 + rate_ppm) // 1_000_000
    datagram = reply(
        7,
        arrived_ns=NOW + there + off_ns,
        replied_ns=NOW + there + kept + off_ns,
        root_dispersion_s=root_dispersion_s,
        precision=precision,
    )
    anchor = NtpExchange(SERVER, "", sent, received, read_reply(datagram, 7)).anchor(HERE)
    true_ns = NOW + Fraction((anchor.reading_ns - sent) * 1_000_000, 1_000_000 + rate_ppm)
    assert anchor.earliest_ns <= true_ns <= anchor.latest_ns
    width_least = there + back + 2 * distance_ns
    assert anchor.latest_ns - anchor.earliest_ns <= 1.003 * (width_least + kept / 300) + 5e6


def test_a_query_that_was_kept_longer_than_everything_took_is_refused() -> None:
    exchange = NtpExchange(SERVER, "", 0, 10**6, read_reply(said(replied_ns=NOW + 5 * 10**8), 7))
    with pytest.raises(NoTime, match=r"kept our query for 0\.500000 s, and all took 0\.001000 s"):
        exchange.anchor(HERE)


# A real server, over sockets ------------------------------------------------------------------------------------------


def test_true_utc_is_inside_what_a_right_server_proves() -> None:
    with NtpServer() as server:
        before = SYSTEM_CLOCK.snapshot()
        result = asked(server)
        after = SYSTEM_CLOCK.snapshot()
    assert isinstance(result, NtpExchange)
    assert before.raw_after_ns <= result.sent_ns < result.received_ns <= after.raw_before_ns
    anchor = result.anchor(HERE)
    true_ns = before.realtime_ns + anchor.reading_ns - before.raw_before_ns
    # The server has this host's wall clock; nothing slews it by more than this in a moment.
    tolerance = before.raw_after_ns - before.raw_before_ns + 100_000
    assert anchor.earliest_ns - tolerance <= true_ns <= anchor.latest_ns + tolerance
    assert anchor.source == f"ntp 127.0.0.1:{server.port}"
    assert anchor.latest_ns - anchor.earliest_ns <= 1.01 * result.round_trip_ns + 1000


def test_each_query_has_a_cookie_of_its_own_and_no_time_of_ours() -> None:
    with NtpServer() as server:
        servers = TimeServers([TimeServer("127.0.0.1", server.port)])
        for _ in range(5):
            servers.ask(5)
    assert len({cookie_of(query) for query in server.queries}) == 5
    assert {query[:40] for query in server.queries} == {b"\x23" + bytes(39)}


def forged(query: bytes) -> bytes:
    return reply(cookie_of(query) ^ 1, arrived_ns=NOW, replied_ns=NOW)


@pytest.mark.parametrize(
    "before",
    [
        lambda query: [forged(query)] * 20,
        lambda query: [honest(query)[:40]],
        lambda query: [b""],
        lambda query: [query],
        lambda query: [honest(query, mode=5)],
        lambda query: [bytes(48), b"\xff" * 48],
    ],
    ids=["wrong cookie", "truncated", "empty", "our own query", "broadcast", "noise"],
)
def test_what_comes_before_the_answer_and_is_none_does_not_stand_in_its_way(before: Answer) -> None:
    with NtpServer(lambda query: [*before(query), honest(query)]) as server:
        assert isinstance(asked(server), NtpExchange)


def test_forged_answers_alone_are_none_and_are_counted() -> None:
    with NtpServer(lambda query: [forged(query)] * 3) as server:
        result = asked(server, 0.1)
    assert isinstance(result, NoExchange)
    assert result.kind == "silent"
    assert result.reason == (
        "no answer from 127.0.0.1 within 0.1 s; 3 datagrams came that are none (it answers a query that is not ours)"
    )


def test_a_replayed_answer_to_an_earlier_query_is_none() -> None:
    first: list[bytes] = []

    def replay(query: bytes) -> list[bytes]:
        first[:] = first or [honest(query)]
        return first

    with NtpServer(replay) as server:
        servers = TimeServers([TimeServer("127.0.0.1", server.port)])
        (good,), (bad,) = servers.ask(5), servers.ask(0.1)
    assert isinstance(good, NtpExchange)
    assert isinstance(bad, NoExchange)
    assert "not ours" in bad.reason


def test_a_server_that_sends_us_away_is_not_asked_again() -> None:
    with NtpServer(lambda query: [honest(query, stratum=0, reference=b"RATE")]) as server:
        servers = TimeServers([TimeServer("127.0.0.1", server.port)])
        results = [servers.ask(5)[0] for _ in range(3)]
    assert len(server.queries) == 1
    assert results[0] == results[2]
    assert isinstance(results[0], NoExchange)
    assert results[0].kind == "kiss"


def test_a_server_that_is_not_synchronised_is_refused_and_may_be_asked_again() -> None:
    with NtpServer(lambda query: [honest(query, leap=3)]) as server:
        servers = TimeServers([TimeServer("127.0.0.1", server.port)])
        kinds = [result.kind for _ in range(2) for result in servers.ask(5) if isinstance(result, NoExchange)]
    assert kinds == ["refused", "refused"]
    assert len(server.queries) == 2


def test_a_server_whose_clock_jumps_while_it_answers_is_refused() -> None:
    def jump(query: bytes) -> list[bytes]:
        now = time.time_ns()
        return [reply(cookie_of(query), arrived_ns=now, replied_ns=now + 250_000_000)]

    with NtpServer(jump) as server:
        result = asked(server)
    assert isinstance(result, NoExchange)
    assert "kept our query" in result.reason


def test_nobody_listening_is_told_at_once_and_a_silent_one_within_the_limit() -> None:
    with NtpServer(lambda _: []) as silent:
        with NtpServer() as gone:
            pass
        began_ns = SYSTEM_CLOCK.raw_ns()
        results = TimeServers([TimeServer("127.0.0.1", gone.port), TimeServer("127.0.0.1", silent.port)]).ask(0.1)
        took_ns = SYSTEM_CLOCK.raw_ns() - began_ns
    assert [result.kind for result in results if isinstance(result, NoExchange)] == ["silent", "silent"]
    assert "nobody answers at 127.0.0.1 (Connection refused)" in results[0].reason  # type: ignore[union-attr]
    assert took_ns >= 100_000_000


def test_a_silent_server_takes_nothing_from_the_others() -> None:
    told: list[NtpResult] = []
    with NtpServer(lambda _: []) as silent, NtpServer() as good:
        servers = TimeServers([TimeServer("127.0.0.1", server.port) for server in (silent, good)])
        results = servers.ask(0.2, seen=told.append)
        assert told == results[::-1], "the answer was not handed on before the silence was certain"
        assert [type(result) for result in servers.answering().ask(5)] == [NtpExchange]


def test_a_name_that_nobody_knows_is_a_reason_not_an_error() -> None:
    (result,) = TimeServers([TimeServer("nowhere.invalid")]).ask(0.1)
    assert isinstance(result, NoExchange)
    assert "name is not known" in result.reason


def test_one_server_under_two_names_has_one_voice() -> None:
    with NtpServer() as server:
        results = TimeServers([TimeServer("127.0.0.1", server.port), TimeServer("localhost", server.port)]).ask(5)
    assert isinstance(results[0], NtpExchange)
    assert isinstance(results[1], NoExchange)
    assert results[1].kind == "twin"
    assert len(server.queries) == 1


def test_ipv6_is_asked_as_well() -> None:
    with NtpServer(host="::1") as server:
        (result,) = TimeServers([parse_time_server(f"[::1]:{server.port}")]).ask(5)
    assert isinstance(result, NtpExchange)
    assert result.address == "::1"


def test_no_socket_is_left() -> None:
    descriptors = Path("/proc/self/fd")
    with NtpServer(lambda _: []) as silent, NtpServer() as good:
        before = len([*descriptors.iterdir()])
        TimeServers([TimeServer("127.0.0.1", server.port) for server in (silent, good)]).ask(0.05)
        assert len([*descriptors.iterdir()]) == before
