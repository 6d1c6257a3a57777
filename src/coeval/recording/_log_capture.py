"""Log records of calls, made into events."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from coeval.clocks import SYSTEM_CLOCK, Clock
from coeval.recording._capture import running_here
from coeval.recording._event import Event, JsonScalar, plain_field


class LogCapture(logging.Handler):
    """
    A handler for the root logger that turns `logging` records of running calls into events. It never raises.

    Outside of a call it keeps nothing: the driver's own log is the driver's.

    Args:
        alone_on_root: the process is a worker, whose records are printed by the caller. Else it is the caller's own
            process, where nothing may change by our being here: a record that no other handler takes goes to
            `logging.lastResort`, as it would without us.
        note: also told the running call's number and each record, as a line and as the event it became.
    """

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        *,
        alone_on_root: bool = True,
        note: Callable[[int, str, Event | None], None] | None = None,
    ) -> None:
        super().__init__()
        self._note = note
        self._clock = clock
        self._alone_on_root = alone_on_root

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if not self._alone_on_root and last and record.levelno >= last.level and not _has_other_handler(record, self):
            last.handle(record)
        running = running_here()
        if running is None:
            return
        reading_ns = self._clock.raw_ns()
        try:
            fields = _log_fields(record)
        except Exception:
            self.handleError(record)
            return
        event = Event("log", reading_ns, None, record.name, fields, running.item)
        running.events.append(event)
        if self._note is not None:
            self._note(running.call, f"{record.levelname} {record.name}: {fields['message']}", event)


def _has_other_handler(record: logging.LogRecord, this: logging.Handler) -> bool:
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger:
        if any(handler is not this for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


# What every LogRecord has. Anything else on a record was put there by `extra=`.
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _log_fields(record: logging.LogRecord) -> dict[str, JsonScalar]:
    fields: dict[str, JsonScalar] = {
        "level": record.levelno,
        "message": plain_field(record.getMessage()),
        "file": record.pathname,
        "line": record.lineno,
    }
    if record.exc_info and record.exc_info[0] is not None:
        fields["traceback"] = plain_field("".join(traceback.format_exception(*record.exc_info)))
    elif record.exc_text:
        fields["traceback"] = plain_field(record.exc_text)
    for name in vars(record).keys() - _RECORD_ATTRIBUTES:
        fields[f"extra.{name}"] = plain_field(getattr(record, name))
    return fields
