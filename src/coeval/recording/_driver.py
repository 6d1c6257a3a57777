"""The rows of the process that records: who it is, what its clocks show, what its host says, and its own events."""

from __future__ import annotations

import os
import sys

from coeval.clocks import clock_id
from coeval.recording._raw_rows import clock_row, event_row, host_row, process_row

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coeval.clocks import Clock
    from coeval.recording._event import Event
    from coeval.recording._raw_rows import RawRow


def driver_process_row(clock: Clock) -> RawRow:
    """This process, as process 0 of its recording."""
    return process_row(0, "driver", _host_name(), os.getpid(), clock_id(clock), sys.version.split()[0])


def driver_clock_row(clock: Clock) -> RawRow:
    """This process's clocks, now."""
    return clock_row(0, *clock.snapshot())


def driver_host_row(clock: Clock) -> RawRow:
    """What this host says of its wall clock, now. The first time costs some milliseconds (an import of ctypes)."""
    from coeval.clocks._host import read_host

    # Before the question: the bound that is answered grows with time, so it holds at this reading as well.
    reading_ns = clock.raw_ns()
    host = read_host()
    synchronisation = host.synchronisation
    return host_row(
        0,
        reading_ns,
        host.zone,
        host.utc_offset_s,
        synchronisation.synchronised,
        -1 if synchronisation.max_error_ns is None else synchronisation.max_error_ns,
        synchronisation.remedy,
    )


def driver_event_row(event: Event) -> RawRow:
    """An event of this process, outside of any call."""
    return event_row(0, -1, -1, event.item, event.kind, event.reading_ns, event.end_ns, event.name, event.fields)


def _host_name() -> str:
    if hasattr(os, "uname"):  # what `platform.node` asks as well, after 2 ms of imports
        return os.uname().nodename
    import platform

    return platform.node()
