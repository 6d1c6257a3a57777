"""Log records of calls, made anew at the caller and given to the handlers there."""

from __future__ import annotations

import logging

from coeval.clocks import clock_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coeval.clocks import Clock
    from coeval.engines import Worker
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
