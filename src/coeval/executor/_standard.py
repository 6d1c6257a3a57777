"""
The standard classes that an executor and a call's future are, without importing them before somebody can tell.

`concurrent.futures` brings `logging`, and with it `re`, `traceback` and much else: half the time of a first call. So
ours begin with stand-ins for their bases, and have the standard bases from the moment at which somebody imports
`concurrent.futures._base` (see `_late_bases.py`). Where it is imported already there are no stand-ins.
What the standard classes would do in the meantime is done by ours, or imports them.
"""

from __future__ import annotations

import sys

from coeval._late_bases import when_imported

TYPE_CHECKING = False

_HOME = "concurrent.futures._base"

# As the standard ones, which are texts too.
PENDING, RUNNING, FINISHED = "PENDING", "RUNNING", "FINISHED"
CANCELLED, CANCELLED_AND_NOTIFIED = "CANCELLED", "CANCELLED_AND_NOTIFIED"

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future
    from typing import Any

    StandardExecutor = Executor
    StandardFuture = Future[Any]
elif _HOME in sys.modules:
    from concurrent.futures import Executor as StandardExecutor
    from concurrent.futures import Future as StandardFuture
else:

    class _StandIn:
        def __init_subclass__(cls):
            if _HOME in sys.modules:  # it came between this file and the class
                _replace_stand_ins()

    class StandardExecutor(_StandIn):
        """Becomes `concurrent.futures.Executor`."""

    class StandardFuture(_StandIn):
        """Becomes `concurrent.futures.Future`."""


def is_standard(kind: type) -> bool:
    """Has this class its standard base?"""
    return any(base.__module__ == _HOME for base in kind.__mro__)


def become_standard() -> None:
    """Import `concurrent.futures`: all that is derived from its classes has them as bases when this returns."""
    import concurrent.futures  # noqa: F401

    _replace_stand_ins()  # if the import had begun in another thread before there was a finder for it


def _replace_stand_ins() -> None:
    from concurrent.futures._base import Executor, Future

    for name, standard in (("StandardExecutor", Executor), ("StandardFuture", Future)):
        stand_in = globals()[name]
        if stand_in is not standard:
            for derived in stand_in.__subclasses__():
                derived.__bases__ = tuple(standard if base is stand_in else base for base in derived.__bases__)
            globals()[name] = standard


if _HOME not in sys.modules:
    when_imported(_HOME, _replace_stand_ins)
