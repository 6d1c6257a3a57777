"""What calls logged and printed, made anew at the caller: records for the handlers there, and labelled lines."""

from __future__ import annotations

import contextlib
import logging
import sys

from coeval.clocks import clock_id
from coeval.recording._output_capture import label_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coeval.clocks import Clock
    from coeval.engines import Batch, Worker
    from coeval.recording import Event

# What of an event's fields is not an `extra=` of the call's own record.
_EXTRA = "extra."


def hand_to_logging(event: Event, worker: Worker | None, clock: Clock) -> None:
    """
    Give a call's log record to this process's loggers, as if it had been made here.

    The record keeps its level, text, place and traceback; `process` is the worker's pid, `coeval_host` its host.
    `created` is when it was made if the worker shares this clock, else when it arrived.
    """
    logger = logging.getLogger(event.name)
    fields = event.fields
    level = fields["level"]
    assert isinstance(level, int)
    if not logger.isEnabledFor(level):
        return
    record = logging.makeLogRecord(
        {
            "name": event.name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": fields["message"],
            "args": None,
            "pathname": fields["file"],
            "lineno": fields["line"],
            "exc_text": fields.get("traceback"),
            **{name.removeprefix(_EXTRA): value for name, value in fields.items() if name.startswith(_EXTRA)},
        }
    )
    record.filename = str(fields["file"]).rpartition("/")[2]
    record.module = record.filename.removesuffix(".py")
    if worker is not None:
        record.process = worker.pid
        record.processName = f"worker-{worker.number}"
        record.coeval_host = worker.host
        if worker.clock == clock_id(clock):
            record.created -= max(0, clock.raw_ns() - event.reading_ns) / 1e9
            record.msecs = record.created % 1 * 1000
    try:
        logger.handle(record)
    except Exception:  # the caller's own handler or filter; in its own thread it would have failed the logging line
        logging.Handler().handleError(record)


def print_line(event: Event, batch: Batch, worker: Worker | None) -> None:
    """Print a line that a call printed on another host, on the stream of that name, labelled as it was there."""
    host, pid = (worker.host, worker.pid) if worker is not None else ("", 0)
    label = label_of(batch.function.name.rpartition(":")[2], batch.calls[event.item], host, pid)
    stream = sys.stderr if event.name == "stderr" else sys.stdout
    with contextlib.suppress(Exception):  # closed, or the caller's own; in its own thread the `print` would have failed
        stream.write(f"{label}{event.fields['text']}\n")
        stream.flush()
