"""A stretch of time on the timeline. Apart from marks, as calls that make none need not pay for `contextlib`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from coeval.clocks import SYSTEM_CLOCK
from coeval.recording._capture import emit


@contextmanager
def span(name: str, **fields: object) -> Iterator[None]:
    """
    Put a stretch of time on the timeline: from entering to leaving the `with` block.

    If the block raises, the span is kept with a field `error` that names the exception, which goes on.
    """
    began_ns = SYSTEM_CLOCK.raw_ns()
    try:
        yield
    except BaseException as error:
        fields = {**fields, "error": f"{type(error).__name__}: {error}"}
        raise
    finally:
        emit("span", began_ns, SYSTEM_CLOCK.raw_ns(), name, fields)
