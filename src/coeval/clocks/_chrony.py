"""
What chronyd says of this host's wall clock, asked over its command port on loopback (what `chronyc tracking` asks).

chrony bounds the wall clock's error itself: it is at most the correction that is still to be made, plus the root
dispersion, plus half the root delay (chrony's manual, `tracking`). All three hold at the moment of the answer.

The protocol is that of chrony's candm.h, version 6 (chrony 2.2 and later).
"""

from __future__ import annotations

import os
import socket
import struct
from math import ceil
from typing import NamedTuple

from coeval.clocks._clock import Clock

CHRONY_PORT = 323
CHRONY_HOST = "127.0.0.1"

# It answers within a millisecond; where nobody listens, loopback says so at once.
CHRONY_TIMEOUT_S = 0.25

_VERSION, _REQUEST, _REPLY = 6, 1, 2
_TRACKING, _TRACKING_REPLY = 33, 5
_HEAD = struct.Struct(">BBBBHHIII")
_REPLY_HEAD = struct.Struct(">BBBBHHHHHHIII")
# Reference id, address, stratum, leap, reference time, and nine numbers in a format of chrony's own.
_BODY = struct.Struct(">I20sHH3I9I")
_CORRECTION, _ROOT_DELAY, _ROOT_DISPERSION = 0, 6, 7
_UNSYNCHRONISED = 3
_LOCAL_REFERENCE = 0x7F7F0101  # "local stratum N": it follows nobody

# A number there has 24 bits; what was cut off is given back.
_ROUNDING = 1 + 2.0**-22


class ChronyTracking(NamedTuple):
    """
    Attributes:
        stratum: 1 for a host with a clock of its own.
        max_error_ns: the wall clock's greatest error against UTC at the moment of the answer.
    """

    stratum: int
    max_error_ns: int


class NoTracking(Exception):
    """Why chrony gives no bound, as a clause for people."""


def tracking_request(sequence: int) -> bytes:
    """The question, as long as its answer will be: chronyd answers no shorter one."""
    head = _HEAD.pack(_VERSION, _REQUEST, 0, 0, _TRACKING, 0, sequence, 0, 0)
    return head.ljust(_REPLY_HEAD.size + _BODY.size, b"\0")


def read_tracking(datagram: bytes, sequence: int) -> ChronyTracking:
    """
    Read the answer.

    Raises:
        NoTracking: it is none, or chronyd knows no bound.
    """
    if len(datagram) < _REPLY_HEAD.size:
        raise NoTracking(f"chronyd's answer has {len(datagram)} bytes; expected {_REPLY_HEAD.size + _BODY.size}")
    version, kind, _, _, command, reply, status, *_, echoed, _, _ = _REPLY_HEAD.unpack_from(datagram)
    if (version, kind, command, echoed) != (_VERSION, _REPLY, _TRACKING, sequence):
        raise NoTracking("what answers at chronyd's port is not chronyd, or of another version")
    if status or reply != _TRACKING_REPLY or len(datagram) < _REPLY_HEAD.size + _BODY.size:
        raise NoTracking(f"chronyd refused to tell (status {status})")
    reference, _, stratum, leap, _, _, _, *numbers = _BODY.unpack_from(datagram, _REPLY_HEAD.size)
    if leap == _UNSYNCHRONISED:
        raise NoTracking("chronyd has no time yet: it follows no server that answers")
    if reference == _LOCAL_REFERENCE:
        raise NoTracking("chronyd follows nobody: it serves this host's own clock (`local`)")
    correction, delay, dispersion = (_number(numbers[place]) for place in (_CORRECTION, _ROOT_DELAY, _ROOT_DISPERSION))
    if delay < 0 or dispersion < 0:
        raise NoTracking(f"chronyd told a root delay of {delay} s and a root dispersion of {dispersion} s")
    return ChronyTracking(stratum, ceil((abs(correction) + delay / 2 + dispersion) * _ROUNDING * 1e9) + 1)


def read_chrony(clock: Clock, port: int = CHRONY_PORT, timeout_s: float = CHRONY_TIMEOUT_S) -> ChronyTracking:
    """
    Ask this host's chronyd.

    Raises:
        NoTracking: there is none, or it knows no bound.
    """
    sequence = int.from_bytes(os.urandom(4), "big")
    deadline_ns = clock.raw_ns() + round(timeout_s * 1e9)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.connect((CHRONY_HOST, port))
            channel.settimeout(max(1e-3, (deadline_ns - clock.raw_ns()) / 1e9))
            channel.send(tracking_request(sequence))
            return read_tracking(channel.recv(1024), sequence)
    except TimeoutError:
        raise NoTracking(f"nobody answers at chronyd's port {port} within {timeout_s:g} s") from None
    except OSError as error:
        raise NoTracking(f"no chronyd answers at port {port} ({error.strerror})") from None


def _number(bits: int) -> float:
    """chrony's 32-bit floats: 7 bits of exponent and 25 of coefficient, both signed."""
    exponent, coefficient = bits >> 25, bits & ((1 << 25) - 1)
    if exponent >= 1 << 6:
        exponent -= 1 << 7
    if coefficient >= 1 << 24:
        coefficient -= 1 << 25
    return float(coefficient * 2.0 ** (exponent - 25))
