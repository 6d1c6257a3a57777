"""
The command line: `coeval VERB`, one file per verb.

Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 done but some of it failed, 2 not possible
as asked, 128 + the signal's number when interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


class _WithoutPandas:
    """
    Finds no pandas. Arrow looks for it when it is given a list, and to import it takes longer than to merge some
    thousands of lines; a process that only merges has no other use for it.
    """

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Part of what `sys.meta_path` holds."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not used by this command", name=name)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    import sys

    from coeval.cli._app import make_app

    if sys.argv[1:2] in (["merge"], ["join"]):
        sys.meta_path.insert(0, _WithoutPandas())
    make_app(*sys.argv[1:2])(prog_name="coeval")
