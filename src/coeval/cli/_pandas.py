"""
Arrow without pandas, until somebody wants it.

Where pandas is installed, Arrow imports it to make its first array of anything, and that takes as long as to merge a
hundred megabytes of logs. Nothing of ours uses it. So Arrow is told that it is not there; and told to look again as
soon as somebody else has imported it, such as a reader of another package.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NAME = "pandas"


def do_without_pandas() -> None:
    """Let Arrow import pandas only once something else has. Where its inside is another one, nothing is changed."""
    import pyarrow as pa

    known = getattr(pa.lib, "_pandas_api", None)
    if _NAME in sys.modules or known is None:
        return
    watch = _Watch(known)
    sys.meta_path.insert(0, watch)
    pa.scalar(0)
    watch.is_hiding = False


class _Watch:
    """
    Sees pandas being imported, and has Arrow look for it again when that is done.

    Attributes:
        is_hiding: it is not to be found now.
    """

    def __init__(self, known: Any) -> None:
        self._known = known
        self.is_hiding = True

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Leave it to the others to find it."""
        if name != _NAME:
            return None
        if self.is_hiding:
            raise ModuleNotFoundError(name)
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_tell(module: ModuleType) -> None:
                execute(module)
                self._known.__init__()

            loader.exec_module = execute_and_tell
        return spec
