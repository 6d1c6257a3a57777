"""A tiny NTP server of the tests' own, on loopback, that can be made to lie, stammer or keep silent."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

PACKET = struct.Struct(">BBbbII4sQQQQ")
UNIX_S = 2_208_988_800
MASK = (1 << 64) - 1

# What comes for a query: datagrams, in their order.
Answer = Callable[[bytes], Sequence[bytes]]


def ntp_stamp(unix_ns: int) -> int:
    """32.32 fixed point since 1900, the era left out; rounded to the nearest."""
    return ((unix_ns + UNIX_S * 10**9 << 32) + 5 * 10**8) // 10**9 & MASK


def cookie_of(query: bytes) -> int:
    """Its transmit time."""
    cookie: int = PACKET.unpack(query)[-1]
    return cookie


def reply(
    cookie: int,
    *,
    arrived_ns: int,
    replied_ns: int,
    leap: int = 0,
    version: int = 4,
    mode: int = 4,
    stratum: int = 2,
    precision: int = -24,
    root_delay_s: float = 0,
    root_dispersion_s: float = 0,
    reference: bytes = b"TEST",
) -> bytes:
    """An answer as it travels; times are ns since 1970."""
    return PACKET.pack(
        leap << 6 | version << 3 | mode,
        stratum,
        6,
        precision,
        round(root_delay_s * 65536),
        round(root_dispersion_s * 65536),
        reference,
        0,
        cookie,
        ntp_stamp(arrived_ns),
        ntp_stamp(replied_ns),
    )


def honest(query: bytes, offset_ns: int = 0, **fields: object) -> bytes:
    """What a right server answers now; `offset_ns`: how far ahead its clock is."""
    now_ns = time.time_ns() + offset_ns
    return reply(cookie_of(query), arrived_ns=now_ns, replied_ns=now_ns, **fields)  # type: ignore[arg-type]


class NtpServer:
    """
    Attributes:
        port: where it is, on 127.0.0.1.
        queries: what came.
    """

    def __init__(self, answer: Answer | None = None, host: str = "127.0.0.1") -> None:
        self._answer = answer or (lambda query: [honest(query)])
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self.name = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.queries: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> NtpServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", (self.host, self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, address = self._socket.recvfrom(2048)
            if query == b"end":
                return
            self.queries.append(query)
            for datagram in self._answer(query):
                self._socket.sendto(datagram, address)
