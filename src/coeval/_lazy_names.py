"""Names of a package that are there without its modules: each is imported when it is first used."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing says it; that takes longer to import than all that a first name needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def looked_up(package: str, namespace: dict[str, Any], homes: Mapping[str, Sequence[str]], name: str) -> Any:
    """
    A name that is asked for the first time; see `lazy_names`.

    Raises:
        AttributeError: there is none of this name.
    """
    for home, names in homes.items():
        if name in names:
            value = namespace[name] = getattr(__import__(f"{package}.{home}", fromlist=(name,)), name)
            return value
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def lazy_names(
    package: str, namespace: dict[str, Any], homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    What a package takes as its `__getattr__` and `__dir__` (PEP 562).

    Type checkers must not see it, or they would take every misspelt name for one of these.

    Args:
        package: its full name.
        namespace: its globals, with `__all__`; what was used once is kept there.
        homes: by module of the package, the names that come from it.
    """

    return lambda name: looked_up(package, namespace, homes, name), lambda: sorted({*namespace, *namespace["__all__"]})
