"""Which modules are worth importing once, before workers are forked."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType

# A namespace with more names than that (a notebook after a long day) is not looked through to its end.
_NAMES_MAX = 2000


def modules_worth_preloading(function: str = "") -> list[str]:
    """
    What the caller's program refers to: the modules that the names in its `__main__` are, come from or are made by, in
    the order of those names, and that of the function it calls; only those that another process finds under the same
    name.

    Not all of `sys.modules`, which is mostly what runs the program (a notebook's kernel, a test runner, an editor):
    memory and time of every start, and no call needs it. What the modules named here import comes along anyway.

    Args:
        function: `module:qualname` of the first function that is called, "" if none is yet.
    """
    names: dict[str, None] = {}
    main = sys.modules.get("__main__")
    for name, value in list(vars(main).items() if main else ())[:_NAMES_MAX]:
        if not name.startswith("__"):  # those are the interpreter's
            names[_home(value)] = None
    names[function.partition(":")[0]] = None
    return [name for name in names if is_found_elsewhere(name)]


def is_found_elsewhere(name: str) -> bool:
    """Does another interpreter import the same module under this name, and is that work worth doing ahead?"""
    if name.partition(".")[0] in ("__main__", "__mp_main__", "coeval") or name in sys.builtin_module_names:
        return False
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and spec.name == name and bool(spec.has_location or spec.origin == "frozen")


def _home(value: object) -> str:
    # By exact types, as asking a lazy module or a proxy for an attribute may run anything.
    kind = type(value)
    if kind is ModuleType:
        name = vars(value).get("__name__")
    elif kind is FunctionType or issubclass(kind, type):
        name = vars(value).get("__module__") if kind is not FunctionType else value.__module__
    else:
        name = vars(kind).get("__module__")
    return name if isinstance(name, str) else ""
