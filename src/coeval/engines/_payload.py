"""
Functions, arguments and results as bytes.

Everything goes by the C pickler first, which names functions and classes instead of copying them. What cannot be named
on the other side (lambdas, closures, anything defined in `__main__` or a notebook) goes by value through cloudpickle,
which
is imported only then: it costs 20 ms, and a worker that needs none should not pay it.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

PROTOCOL = 5


def dump(value: object) -> bytes:
    """
    Pickle a value so that a process with another `__main__` can rebuild it.

    Raises:
        Exception: whatever the value's own pickling raised; callers name the value and what to do.
    """
    try:
        payload = pickle.dumps(value, PROTOCOL)
    except Exception:
        return _dump_by_value(value)
    # A global of __main__ is named by this very text. A string that merely looks so costs time, nothing else.
    if b"__main__" in payload or _by_value_modules():
        return _dump_by_value(value)
    return payload


load: Callable[[bytes], Any] = pickle.loads


def is_importable(function: object) -> bool:
    """Can another process find this very object by its module and qualified name?"""
    module_name = getattr(function, "__module__", None)
    qualified_name = getattr(function, "__qualname__", None)
    if not module_name or not qualified_name or module_name in ("__main__", "__mp_main__"):
        return False
    found: object = sys.modules.get(module_name)
    if found is None or module_name in _by_value_modules():
        return False
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return False
    return found is function


def _by_value_modules() -> set[str]:
    # Modules that the user told cloudpickle to copy instead of naming; nobody can have if it was never imported.
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle.list_registry_pickle_by_value() if cloudpickle else set()


def _dump_by_value(value: object) -> bytes:
    import cloudpickle

    payload: bytes = cloudpickle.dumps(value, PROTOCOL)
    return payload
