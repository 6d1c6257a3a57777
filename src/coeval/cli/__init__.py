"""
The command line: `coeval VERB`, one file per verb.

Data goes to standard output, talk to standard error. Exit codes: 0 done, 1 done but some of it failed, 2 not possible
as asked, 128 + the signal's number when interrupted.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line and end the process with its exit code."""
    import gc

    # What is imported stays; to look through it for garbage again and again took a tenth of a short command's time.
    gc.set_threshold(20_000)

    from coeval.cli._app import make_app
    from coeval.cli._quick_end import ending_quickly

    with ending_quickly():
        make_app()(prog_name="coeval")
