"""
Bases that a class of ours gets when somebody imports them.

Some of our classes are also the standard library's: an executor is a `concurrent.futures.Executor`, `WorkerDied` a
`BrokenProcessPool`. The modules of those bring so much along that a program should not wait for it; and until somebody
has imported them, nobody can ask whether an object is of their classes. So ours begin with another base, and get the
standard one at the end of that import, by whomever: a finder takes part in it, and no other thread gets the module
before that is done.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


def when_imported(home: str, act: Callable[[], None]) -> None:
    """
    Call something when a module has been executed, before whoever imports it gets it.

    An import that has begun already is not noticed. Where the module is loaded again, nothing is called.
    """
    sys.meta_path.insert(0, _Finder(home, act))


class _Finder:
    """
    Finds nothing but one module, where the other finders find it. It stays where it is when that is done: a list of
    finders that gets shorter while another thread goes through it makes that thread miss one.
    """

    def __init__(self, home: str, act: Callable[[], None]) -> None:
        self._home = home
        self._act = act

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._home or target is not None:  # a target: it is loaded again
            return None
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :]:  # two that wait for the same module ask each other once
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self._act)  # type: ignore[assignment]  # it is one
                return spec
        return None


class _Loader:
    """The loader of that module, and then what is to be done."""

    def __init__(self, loader: Loader, act: Callable[[], None]) -> None:
        self._loader = loader
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act()
