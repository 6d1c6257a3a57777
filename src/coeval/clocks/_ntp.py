"""
Asking NTP servers what time it is, as a client that wants evidence and sets nothing (RFC 5905, SNTP).

    our raw clock    sent ───────────────────────── received
                        \\                          /
    the server's UTC     arrived ────────── replied

"Sent" precedes "arrived" and "replied" precedes "received", whatever the paths are like. So UTC was at most *arrived*
when our raw clock showed *sent*, and at least *replied* when it showed *received*, each give or take what the server
says of its own error: half its root delay plus its root dispersion, and the grain of its clock. That is one `Anchor`.

What a datagram means is decided in functions of values (`read_reply`, `NtpExchange.anchor`). `TimeServers` is the only
part with sockets. Nobody imports this file who was not asked for a time server.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal, NamedTuple, TypeAlias

from coeval.clocks._clock import SYSTEM_CLOCK, Clock
from coeval.clocks._identity import ClockId
from coeval.clocks._message import Anchor

NTP_PORT = 123

# How long an answer is waited for. A path around the world takes 0.4 s; what comes later says little.
TIMEOUT_S = 2.0

# Servers that limit their clients drop what comes faster (ntpd's `discard minimum`), and RFC 5905 begins with queries
# so far apart.
QUERY_EVERY_S_MIN = 2.0

# Servers of one session. Each further one wants a socket and a voice; ntpd and chrony advise four.
SERVERS_MAX = 32

# How often it is looked whether an answer is waited for at all.
_LOOK_S = 0.05

# Addresses of one name that are tried.
ADDRESSES_MAX = 4

# RFC 5905, MAXDISP and MAXSTRAT: a server further than this from its source, or of that stratum, is not synchronised.
ROOT_DISTANCE_NS_MAX = 16_000_000_000
STRATUM_MAX = 15

# Seconds count from 1900 and wrap every 136 years, the next time in 2036. What seems to be before this was said after
# the wrap. A fixed date and not this host's: its wall clock may be what is wrong.
_ERA_S = 1 << 32
_UNIX_S = 2_208_988_800
_EARLIEST_UNIX_S = 1_704_067_200  # 2024-01-01

_PACKET = struct.Struct(">BBbbII4sQQQQ")
_REQUEST_HEAD = 0 << 6 | 4 << 3 | 3  # no leap, version 4, a client
_SERVER_MODE = 4
_UNSYNCHRONISED = 3

# Our raw clock while an exchange lasts: far beyond any oscillator, so this holds also where nothing is declared.
_RAW_RATE_BOUND_PPM = 1000

_KISSES = {
    "DENY": "it denies us its service",
    "RSTR": "it denies us its service",
    "RATE": "it is asked too often",
}


class TimeServer(NamedTuple):
    """
    Where to ask.

    Attributes:
        host: a name or an address.
        port: of UDP.
    """

    host: str
    port: int = NTP_PORT

    @property
    def name(self) -> str:
        """As people write it; without the port where it is the usual one."""
        if self.port == NTP_PORT:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_time_server(text: str) -> TimeServer:
    """
    Read `HOST[:PORT]`: a name, an IPv4 address, or an IPv6 address (in brackets if a port follows).

    Raises:
        ValueError: it is none of these.
    """
    unread = f"time server {text!r} is not to be read; expected HOST or HOST:PORT, such as 192.0.2.1:123"
    host, port_text = text.strip(), ""
    if not host or any(sign.isspace() or sign in "/,@" for sign in host):
        raise ValueError(unread)
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"time server {text!r} is not to be read; expected [ADDRESS] or [ADDRESS]:PORT")
        port_text = rest[1:] if rest else ""
        is_given = bool(rest)
    else:
        is_given = host.count(":") == 1
        if is_given:
            host, _, port_text = host.partition(":")
    if not host or "[" in host or "]" in host:
        raise ValueError(unread)
    if not is_given:
        return TimeServer(host)
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536):
        raise ValueError(f"time server {text!r} has port {port_text!r}; expected a number from 1 to 65535")
    return TimeServer(host, int(port_text))


def parse_time_servers(texts: str | Iterable[str]) -> tuple[TimeServer, ...]:
    """
    Read several; one text is one server. The same server twice counts once.

    Raises:
        ValueError: one cannot be read, or there are too many.
    """
    servers = tuple(dict.fromkeys(map(parse_time_server, [texts] if isinstance(texts, str) else texts)))
    if len(servers) > SERVERS_MAX:
        raise ValueError(f"{len(servers)} time servers were given; expected at most {SERVERS_MAX}: four are plenty")
    return servers


# What a datagram says ------------------------------------------------------------------------------------------------


class NotAnAnswer(Exception):
    """A datagram that is no answer to our query: forged, late, replayed or not NTP. The answer may still come."""


class NoTime(Exception):
    """The server's own answer, which says that it has no time for us. `kiss`: and that it must not be asked again."""

    def __init__(self, reason: str, *, kiss: bool = False) -> None:
        super().__init__(reason)
        self.kiss = kiss


class NtpReply(NamedTuple):
    """
    What a server said.

    Attributes:
        leap: 0, or 1 or 2 where the last minute of this month has a second more or less.
        stratum: 1 for a server with a clock of its own, and one more for each that it is away from that.
        precision_ns: the grain of its clock.
        root_distance_ns: half its root delay plus its root dispersion, rounded up: by its own word, it is not further
            from UTC.
        arrived_ns, replied_ns: its clock when our query came and when it answered, ns of UTC since 1970, rounded down.
    """

    leap: int
    stratum: int
    precision_ns: int
    root_distance_ns: int
    arrived_ns: int
    replied_ns: int

    @property
    def error_ns(self) -> int:
        """How far its stamps may be from UTC, by its own word."""
        return self.root_distance_ns + self.precision_ns


def new_cookie() -> int:
    """
    64 random bits for the transmit time of a query. The server sends them back, so nobody who does not see our packets
    can answer for it; and they tell nothing of our clock.
    """
    return int.from_bytes(os.urandom(8), "big") or 1


def query_packet(cookie: int) -> bytes:
    """The query. Everything in it that is not needed is zero."""
    return _PACKET.pack(_REQUEST_HEAD, 0, 0, 0, 0, 0, bytes(4), 0, 0, 0, cookie)


def read_reply(datagram: bytes, cookie: int) -> NtpReply:
    """
    Read the answer to a query.

    Args:
        datagram: what came.
        cookie: what was sent as the query's transmit time.

    Raises:
        NotAnAnswer: it is none to this query.
        NoTime: it is, and gives no time that could be used.
    """
    if len(datagram) < _PACKET.size:
        raise NotAnAnswer(f"{len(datagram)} bytes; expected {_PACKET.size} or more")
    head, stratum, _, precision, root_delay, root_dispersion, reference, _, origin, arrived, replied = (
        _PACKET.unpack_from(datagram)
    )
    leap, version, mode = head >> 6, head >> 3 & 7, head & 7
    if mode != _SERVER_MODE:
        raise NotAnAnswer(f"mode {mode}; expected {_SERVER_MODE}, a server's answer")
    if origin != cookie:
        raise NotAnAnswer("it answers a query that is not ours")
    if not 1 <= version <= 4:
        raise NoTime(f"it speaks NTP version {version}; expected 1 to 4")
    if stratum == 0:
        raise _kiss(reference)
    if leap == _UNSYNCHRONISED or stratum > STRATUM_MAX:
        raise NoTime(f"it says that it is not synchronised (leap {leap}, stratum {stratum})")
    if not arrived or not replied:
        raise NoTime("its stamps are zero")
    distance_ns = -(-(root_delay * 10**9) >> 17) - (-(root_dispersion * 10**9) >> 16)
    precision_ns = ceil(2.0**precision * 1e9) if precision < 5 else ROOT_DISTANCE_NS_MAX
    if distance_ns + precision_ns >= ROOT_DISTANCE_NS_MAX:
        raise NoTime(
            f"it may be {(distance_ns + precision_ns) / 1e9:.1f} s off by its own word; expected less than "
            f"{ROOT_DISTANCE_NS_MAX // 10**9} s"
        )
    arrived_ns, replied_ns = _unix_ns(arrived), _unix_ns(replied)
    if replied_ns + precision_ns < arrived_ns - precision_ns:
        raise NoTime(f"it answered {(arrived_ns - replied_ns) / 1e9:.9f} s before it was asked, by its own clock")
    return NtpReply(leap, stratum, precision_ns, distance_ns, arrived_ns, replied_ns)


def _kiss(reference: bytes) -> NoTime:
    """Stratum 0: a "kiss of death", with a code instead of a reference."""
    code = reference.rstrip(b"\0").decode("ascii", "replace")
    code = "".join(sign if sign.isprintable() else "?" for sign in code)
    return NoTime(f"{_KISSES.get(code, 'it sends us away')} (kiss code {code!r})", kiss=True)


def _unix_ns(stamp: int) -> int:
    """NTP's 32.32 fixed point of an unnamed era, as ns since 1970, rounded down."""
    seconds, fraction = divmod(stamp, 1 << 32)
    seconds -= _UNIX_S
    if seconds < _EARLIEST_UNIX_S:
        seconds += _ERA_S
    return seconds * 10**9 + (fraction * 10**9 >> 32)


# What an exchange proves ----------------------------------------------------------------------------------------------


class NtpExchange(NamedTuple):
    """
    A query that was answered.

    Attributes:
        server: who was asked.
        address: where it was, such as "192.0.2.1".
        sent_ns: our raw clock, read before the query went.
        received_ns: our raw clock, read after the answer was here.
        reply: what it said.
    """

    server: TimeServer
    address: str
    sent_ns: int
    received_ns: int
    reply: NtpReply

    @property
    def round_trip_ns(self) -> int:
        """What the two ways took together, by our clock and the server's."""
        return self.received_ns - self.sent_ns - (self.reply.replied_ns - self.reply.arrived_ns)

    @property
    def source(self) -> str:
        """How its anchors are called."""
        return f"ntp {self.server.name}"

    def anchor(self, clock: ClockId) -> Anchor:
        """
        What the exchange proves if the server's own word about its error is true: UTC when our clock showed the middle
        of the exchange.

        The two half-bounds belong to the two ends of the exchange. Both are brought to its middle, at a rate bound of
        our clock that no clock exceeds; no path is taken to be like the other.

        Args:
            clock: the raw clock's id.

        Raises:
            NoTime: the stamps contradict each other.
        """
        reply, (sent, received) = self.reply, (self.sent_ns, self.received_ns)
        half_ns = received - sent - (received - sent) // 2
        moved_ns = half_ns + -(-half_ns * _RAW_RATE_BOUND_PPM // 1_000_000)
        earliest = reply.replied_ns - reply.error_ns - moved_ns
        latest = reply.arrived_ns + 1 + reply.error_ns + moved_ns
        if reply.replied_ns - reply.precision_ns - moved_ns > reply.arrived_ns + 1 + reply.precision_ns + moved_ns:
            raise NoTime(
                f"it says that it kept our query for {(reply.replied_ns - reply.arrived_ns) / 1e9:.6f} s, and all took "
                f"{(received - sent) / 1e9:.6f} s"
            )
        return Anchor(clock, sent + (received - sent) // 2, earliest, latest, self.source)


class NoExchange(NamedTuple):
    """
    A query that brought nothing.

    Attributes:
        server: who was asked.
        kind: "silent": no answer came. "refused": the answer is of no use. "kiss": and it wants no more queries.
            "twin": it is a server that is asked already under another name, and has no voice of its own.
        reason: a clause for people, such as "no answer within 2 s".
    """

    server: TimeServer
    kind: Literal["silent", "refused", "kiss", "twin"]
    reason: str


NtpResult: TypeAlias = NtpExchange | NoExchange


# Sockets --------------------------------------------------------------------------------------------------------------

_Address: TypeAlias = "tuple[int, tuple[Any, ...]]"


@dataclass(slots=True)
class _Asked:
    """A server in this session."""

    server: TimeServer
    addresses: list[_Address] = field(default_factory=list)
    final: NoExchange | None = None
    has_answered: bool = False


class TimeServers:
    """
    Servers that are asked together, one query each at a time. Not to be used by two threads at once.

    Names are looked up at the first query, and again when their servers fall silent; how long that takes is the
    system's resolver's affair. A server that sends us away is not asked again.

    Args:
        servers: whom to ask.
        clock: our own; its raw readings are the exchange's ends, and time limits are counted by it.
    """

    def __init__(self, servers: Iterable[TimeServer], clock: Clock = SYSTEM_CLOCK) -> None:
        self._asked = [_Asked(server) for server in servers]
        self._clock = clock

    def ask(
        self,
        timeout_s: float = TIMEOUT_S,
        *,
        seen: Callable[[NtpResult], object] | None = None,
        give_up: Callable[[], bool] | None = None,
    ) -> list[NtpResult]:
        """
        Ask each server once.

        Args:
            timeout_s: how long each answer is waited for.
            seen: is told each result as soon as it is there.
            give_up: is asked some times a second whether to wait no more; answers that are not there then never were.

        Returns:
            One result for each server, in their order.
        """
        # All names first, as looking one up may take longer than any answer.
        unknown = [asked.final or _look_up(asked) for asked in self._asked]
        with _Round(self._clock, timeout_s, seen) as round_:
            for place, (asked, found) in enumerate(zip(self._asked, unknown, strict=True)):
                round_.begin(place, asked, found)
            return round_.results(give_up)

    def answering(self) -> TimeServers:
        """Those of them that answered when they were asked last."""
        found = TimeServers((), self._clock)
        found._asked = [asked for asked in self._asked if asked.has_answered]
        return found


@dataclass(slots=True)
class _Query:
    """A query that is under way."""

    place: int
    asked: _Asked
    socket: socket.socket
    address: str
    cookie: int
    sent_ns: int
    ignored: list[str] = field(default_factory=list)


class _Round:
    """One query to each server: those that are under way, and what became of the others."""

    def __init__(self, clock: Clock, timeout_s: float, seen: Callable[[NtpResult], object] | None) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._seen = seen
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[int, _Query] = {}
        self._results: dict[int, NtpResult] = {}
        self._voices: dict[_Address, TimeServer] = {}

    def __enter__(self) -> _Round:
        return self

    def __exit__(self, *_: object) -> None:
        for query in self._waiting.values():
            query.socket.close()
        self._selector.close()

    def begin(self, place: int, asked: _Asked, found: NoExchange | None = None) -> None:
        """Send the query to the first of the server's addresses that takes it. `found`: there is no need."""
        while found is None and place not in self._waiting:
            address = asked.addresses[0]
            twin = self._voices.setdefault(address, asked.server)
            if twin is not asked.server:
                found = NoExchange(
                    asked.server, "twin", f"it is {twin.name} by another name ({address[1][0]}), and asked already"
                )
                break
            try:
                self._send(place, asked, address)
            except OSError as error:
                del asked.addresses[0]
                if not asked.addresses:
                    reason = f"{address[1][0]} cannot be reached ({_said(error)})"
                    found = NoExchange(asked.server, "silent", reason)
        if found is not None:
            self._note(place, asked, found)

    def results(self, give_up: Callable[[], bool] | None) -> list[NtpResult]:
        """Wait for what is under way; results in the order of places."""
        while self._waiting:
            if give_up is not None and give_up():
                for query in [*self._waiting.values()]:
                    self._end(query, NoExchange(query.asked.server, "silent", "its answer was not waited for"))
                break
            deadline_ns = min(query.sent_ns for query in self._waiting.values()) + round(self._timeout_s * 1e9)
            left_s = max(0, deadline_ns - self._clock.raw_ns()) / 1e9
            ready = self._selector.select(left_s if give_up is None else min(left_s, _LOOK_S))
            for key, _ in ready:
                self._receive(key.data)
            if not ready:
                self._give_up_late_ones()
        return [result for _, result in sorted(self._results.items())]

    def _send(self, place: int, asked: _Asked, address: _Address) -> None:
        cookie = new_cookie()
        packet = query_packet(cookie)
        # A socket for each query, so from a port that nobody can foresee; connected, so that the kernel lets through
        # what comes from that address only, and tells where nobody listens.
        channel = socket.socket(address[0], socket.SOCK_DGRAM)
        try:
            channel.setblocking(False)
            channel.connect(address[1])
            sent_ns = self._clock.raw_ns()
            channel.send(packet)
            query = _Query(place, asked, channel, str(address[1][0]), cookie, sent_ns)
            self._selector.register(channel, selectors.EVENT_READ, query)
        except BaseException:
            channel.close()
            raise
        self._waiting[place] = query

    def _receive(self, query: _Query) -> None:
        """One datagram, or the news that nobody listens."""
        server = query.asked.server
        try:
            datagram = query.socket.recv(2048)
            received_ns = self._clock.raw_ns()
        except BlockingIOError:
            return
        except OSError as error:
            self._let_go(query)
            del query.asked.addresses[0]
            silence = NoExchange(server, "silent", f"nobody answers at {query.address} ({_said(error)})")
            # The name may have other addresses, such as ::1 and 127.0.0.1.
            self.begin(query.place, query.asked, None if query.asked.addresses else silence)
            return
        try:
            reply = read_reply(datagram, query.cookie)
            exchange = NtpExchange(server, query.address, query.sent_ns, received_ns, reply)
            exchange.anchor(ClockId(""))  # its stamps may contradict each other
        except NotAnAnswer as reason:
            query.ignored.append(str(reason))
        except NoTime as reason:
            refusal = NoExchange(server, "kiss" if reason.kiss else "refused", str(reason))
            if reason.kiss:
                query.asked.final = refusal
            self._end(query, refusal)
        else:
            self._end(query, exchange)

    def _give_up_late_ones(self) -> None:
        now_ns = self._clock.raw_ns()
        for query in [*self._waiting.values()]:
            if now_ns >= query.sent_ns + round(self._timeout_s * 1e9):
                self._end(query, _timed_out(query, self._timeout_s))
                del query.asked.addresses[0]  # next time another one, or the name is looked up anew

    def _end(self, query: _Query, result: NtpResult) -> None:
        self._let_go(query)
        self._note(query.place, query.asked, result)

    def _let_go(self, query: _Query) -> None:
        self._selector.unregister(query.socket)
        query.socket.close()
        del self._waiting[query.place]

    def _note(self, place: int, asked: _Asked, result: NtpResult) -> None:
        self._results[place] = result
        asked.has_answered = isinstance(result, NtpExchange)
        if self._seen is not None:
            self._seen(result)


def _look_up(asked: _Asked) -> NoExchange | None:
    """See to addresses; tells what went wrong."""
    if asked.addresses:
        return None
    try:
        found = socket.getaddrinfo(asked.server.host, asked.server.port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return NoExchange(asked.server, "silent", f"its name is not known here ({_said(error)})")
    asked.addresses = list(dict.fromkeys((int(family), address) for family, *_, address in found))[:ADDRESSES_MAX]
    return None


def _timed_out(query: _Query, timeout_s: float) -> NoExchange:
    reason = f"no answer from {query.address} within {timeout_s:g} s"
    if query.ignored:
        count = len(query.ignored)
        what = "a datagram" if count == 1 else f"{count} datagrams"
        reason += f"; {what} came that {'is' if count == 1 else 'are'} none ({query.ignored[0]})"
    return NoExchange(query.asked.server, "silent", reason)


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def anchors_of(results: Sequence[NtpResult], clock: ClockId) -> list[Anchor]:
    """The anchors of those that answered."""
    return [result.anchor(clock) for result in results if isinstance(result, NtpExchange)]
