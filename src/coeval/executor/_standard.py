"""
The standard classes that an executor and a call's future are, without importing them before somebody can tell.

`concurrent.futures` brings `logging`, and with it `re`, `traceback` and much else: half the time of a first call. Until
somebody has imported it, nobody can ask whether an object is of its classes. So ours begin with stand-ins for their
bases, and have the standard bases from the moment at which `concurrent.futures._base` is imported, by whomever: a
finder takes part in that import, and no other thread gets the module before the bases are there. Where it is imported
already there are no stand-ins. What the standard classes would do in the meantime is done by ours, or imports them.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

_HOME = "concurrent.futures._base"

# As the standard ones, which are texts too.
PENDING, RUNNING, FINISHED = "PENDING", "RUNNING", "FINISHED"
CANCELLED, CANCELLED_AND_NOTIFIED = "CANCELLED", "CANCELLED_AND_NOTIFIED"

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor, Future
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
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


class _FindStandard:
    """
    Finds nothing but the home of the standard classes, where the other finders find it. It stays where it is when that
    is done: a list of finders that gets shorter while another thread goes through it makes that thread miss one.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _HOME or target is not None:  # a target: it is loaded again
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _LoadStandard(spec.loader)  # type: ignore[assignment]  # it is one
                return spec
        return None


class _LoadStandard:
    """The loader of that module, and then the bases."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _replace_stand_ins()


if _HOME not in sys.modules:
    sys.meta_path.insert(0, _FindStandard())
