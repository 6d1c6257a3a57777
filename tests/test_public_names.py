"""
What users may import changes on purpose only: every `__all__` against a list that is checked in.

    python tests/test_public_names.py --write     writes the list anew, to be read in the diff
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

LIST = Path(__file__).parent / "public_names.txt"


def public_names() -> list[str]:
    """`module.name` of everything that is public: named in the `__all__` of a module without a leading underscore."""
    import coeval

    names = [f"coeval.{name}" for name in coeval.__all__]
    for found in pkgutil.walk_packages(coeval.__path__, "coeval."):
        if any(part.startswith("_") for part in found.name.split(".")):
            continue
        module = importlib.import_module(found.name)
        for name in getattr(module, "__all__", ()):
            getattr(module, name)  # it is really there
            names.append(f"{found.name}.{name}")
    return sorted(names)


def test_public_names_are_those_that_were_agreed_on() -> None:
    assert public_names() == LIST.read_text().split(), "if this is meant: python tests/test_public_names.py --write"


def test_every_public_package_says_what_is_public() -> None:
    import coeval

    packages = [found.name for found in pkgutil.iter_modules(coeval.__path__, "coeval.") if found.ispkg]
    without = [name for name in packages if not hasattr(importlib.import_module(name), "__all__")]
    assert without == []


if __name__ == "__main__":
    assert sys.argv[1:] == ["--write"], __doc__
    LIST.write_text("\n".join(public_names()) + "\n")
