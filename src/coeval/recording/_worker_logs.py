"""
Log records of a worker's calls, without the worker importing `logging`: a call that never logs need not wait for it.

When a call imports `logging`, what is here takes part in that import: the caller's levels are set and records are
captured before the first logger can be used.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from coeval.recording._event import Event
    from coeval.recording._log_capture import LogCapture


class WorkerLogs:
    """
    Captures what calls log in this process, from now on.

    Args:
        levels: by a logger's name ("" is the root), the level that the caller has set.
        note: also told the running call's number and each record, as a line and as the event it became.
    """

    def __init__(self, levels: Mapping[str, int], note: Callable[[int, str, Event | None], None] | None = None) -> None:
        self._levels = levels
        self._note = note
        self._capture: LogCapture | None = None
        if "logging" in sys.modules:
            self._begin()
        else:
            sys.meta_path.insert(0, _FindLogging(self._begin))

    def keep_on(self) -> None:
        """Capture still, whatever calls did to the root logger. To be called between batches."""
        capture = self._capture
        if capture is not None:
            root = sys.modules["logging"].root
            if capture not in root.handlers:  # a call may have set up logging anew
                root.addHandler(capture)

    def _begin(self) -> None:
        import logging

        from coeval.recording._log_capture import LogCapture

        for name, level in self._levels.items():
            logging.getLogger(name or None).setLevel(level)
        self._capture = LogCapture(note=self._note)
        logging.getLogger().addHandler(self._capture)


class _FindLogging:
    """
    Finds nothing but `logging`, where the other finders find it. It stays where it is when that is done: a list of
    finders that gets shorter while another thread goes through it makes that thread miss one.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "logging" or target is not None:  # a target: it is loaded again
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _LoadAndBegin(spec.loader, self._begin)  # type: ignore[assignment]  # it is one
                return spec
        return None


class _LoadAndBegin:
    """A module's loader, and what is to be done when it has loaded."""

    def __init__(self, loader: Loader, begin: Callable[[], None]) -> None:
        self._loader = loader
        self._begin = begin

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._begin()
