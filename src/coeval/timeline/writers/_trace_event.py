"""
One event of Chrome's JSON trace format, as text.

Format: "Trace Event Format" (Google, 2016), as Perfetto reads it. It counts in microseconds as a double, which loses
digits of a date in nanoseconds, so traces count from their first event, and numbers are written with all digits.
"""

from __future__ import annotations

import json
from typing import Any


def microseconds(ns: int) -> str:
    """Nanoseconds as JSON's number of microseconds, with all digits."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1000}.{ns % 1000:03}"


def trace_event(
    phase: str,
    ts: str | None = None,
    pid: int = 0,
    *,
    name: str,
    dur: str | None = None,
    args: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    """
    A line of `traceEvents`.

    Args:
        ts, dur: as `microseconds` writes them.
        more: other keys of the format; the thread is the process unless `tid` says otherwise.
    """
    event: dict[str, Any] = {"ph": phase, "pid": pid, "tid": pid, "name": name, **more}
    if args is not None:
        event["args"] = args
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    # Put in as text: json.dumps would write a float, and a float loses digits.
    times = "".join(f',"{key}":{value}' for key, value in (("ts", ts), ("dur", dur)) if value is not None)
    return f"{text[:-1]}{times}}}"
