"""
What this host says about its wall clock: its name, its zone, and whether anything keeps it right.

Asked once per process and written down beside the readings. Nothing here is ever set, only read. Workers import this
file, so what costs (ctypes) is imported where it is used.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Literal, NamedTuple

_ZONE_FOLDER = "zoneinfo/"
_STATUS_UNSYNCHRONISED = 0x40  # STA_UNSYNC of linux/timex.h
_STATE_ERROR = 5  # TIME_ERROR of linux/timex.h
_MAX_ERROR_US_UNKNOWN = 16_000_000  # NTP_PHASE_LIMIT: the kernel stops counting here

_STATUS_NANO = 0x2000  # STA_NANO: the offset is in ns

_REMEDY = "install chrony or enable systemd-timesyncd on this host; in a container, on the machine that runs it"

_REMEDY_WITHOUT_BOUND = (
    "install chrony on this host: whoever keeps its wall clock right (systemd-timesyncd?) tells no bound of its error"
)


class Synchronisation(NamedTuple):
    """
    What the kernel's clock discipline says.

    Attributes:
        synchronised: "unknown" where the kernel cannot be asked.
        max_error_ns: the wall clock's greatest error against UTC when it was asked; None: no bound is known.
        remedy: one line to show a person; "" if there is nothing to do.
    """

    synchronised: Literal["yes", "no", "unknown"]
    max_error_ns: int | None
    remedy: str


class Host(NamedTuple):
    """
    Attributes:
        name: the host's name. It names, it does not identify: see `ClockId`.
        zone: the local zone's IANA name, such as "Europe/Berlin", or what `TZ` says if that is no such name; "" if it
            cannot be told.
        utc_offset_s: local time minus UTC now, seconds; positive east of Greenwich.
        synchronisation: whether anything keeps the wall clock right.
    """

    name: str
    zone: str
    utc_offset_s: int
    synchronisation: Synchronisation


def read_host() -> Host:
    """Ask this host about its wall clock; well under a millisecond after the first time."""
    zone = zone_name(os.environ.get("TZ"), _localtime_target())
    return Host(platform.node(), zone, time.localtime().tm_gmtoff, read_synchronisation())


def zone_name(tz: str | None, localtime_target: str) -> str:
    """
    Name the local zone as the C library finds it: `TZ` first, then what /etc/localtime links to.

    Args:
        tz: the variable `TZ`; None: not set. Set but empty it means UTC.
        localtime_target: the resolved path of /etc/localtime; "" if there is none.
    """
    if tz == "":
        return "UTC"
    path = localtime_target if tz is None else tz.removeprefix(":")
    if _ZONE_FOLDER in path:
        return path.rpartition(_ZONE_FOLDER)[2].removeprefix("posix/").removeprefix("right/")
    return "" if path.startswith("/") else path


def read_synchronisation() -> Synchronisation:
    """Ask the kernel (adjtimex with no modes: nothing is set) whether something disciplines the wall clock."""
    if not sys.platform.startswith("linux"):
        return Synchronisation("unknown", None, "")
    import ctypes

    class Timex(ctypes.Structure):
        # The head of struct timex; the rest is room for what the kernel writes beyond it (208 bytes on 64 bits).
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("frequency", ctypes.c_long),
            ("max_error_us", ctypes.c_long),
            ("estimated_error_us", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        )

    timex = Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # a C library without it
        return Synchronisation("unknown", None, "")
    return synchronisation(state, timex.status, timex.max_error_us, timex.estimated_error_us, timex.offset)


def synchronisation(
    state: int, status: int, max_error_us: int, estimated_error_us: int = 1, offset: int = 0
) -> Synchronisation:
    """
    Read what adjtimex returned.

    Whoever keeps the wall clock right (ntpd, chrony) tells the kernel its error, and the kernel lets it grow.
    systemd-timesyncd tells an error of zero, which bounds nothing: nobody who knows an error estimates it at zero.

    Args:
        state: its return value; negative: the call was refused, as some sandboxes do.
        status: the STA_ bits.
        max_error_us: the kernel's bound of the wall clock's error, whole microseconds, rounded down.
        estimated_error_us: the error that was estimated.
        offset: what the kernel is still to slew the wall clock by; microseconds, or ns where `status` says so.
    """
    if state < 0:
        return Synchronisation("unknown", None, "")
    if state == _STATE_ERROR or status & _STATUS_UNSYNCHRONISED or max_error_us >= _MAX_ERROR_US_UNKNOWN:
        return Synchronisation("no", None, _REMEDY)
    if estimated_error_us <= 0:
        return Synchronisation("yes", None, _REMEDY_WITHOUT_BOUND)
    offset_ns = abs(offset) if status & _STATUS_NANO else abs(offset) * 1000
    return Synchronisation("yes", (max_error_us + 1) * 1000 + offset_ns, "")


def _localtime_target() -> str:
    try:
        return str(Path("/etc/localtime").resolve(strict=True))
    except OSError:
        return ""
