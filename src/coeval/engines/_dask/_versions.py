"""
Whether two processes can work together: the same Python (major and minor, as pickled code depends on it) and the same
coeval.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterable
from typing import NamedTuple

from coeval._version import __version__


class Versions(NamedTuple):
    """
    What runs somewhere.

    Attributes:
        host: its name.
        python: such as "3.11.7".
        coeval: such as "0.1.0"; "" where there is none.
    """

    host: str
    python: str
    coeval: str


def versions_here() -> Versions:
    """What runs in this process."""
    return Versions(socket.gethostname(), platform.python_version(), __version__)


def mismatch(here: Versions, there: Versions, who: str) -> str | None:
    """
    Say in one sentence why two processes cannot work together; None if they can.

    Args:
        who: the other one, such as "worker tcp://10.0.0.7:40331".
    """
    where = f"Dask's {who} on {there.host}" if there.host else f"Dask's {who}"
    if not there.coeval:
        return f"{where} has no coeval; here it is {here.coeval}. Run there: pip install 'coeval[dask]=={here.coeval}'"
    if there.coeval != here.coeval:
        return (
            f"{where} has coeval {there.coeval}; here it is {here.coeval}. "
            f"Run there: pip install 'coeval[dask]=={here.coeval}'"
        )
    if _minor(there.python) != _minor(here.python):
        return (
            f"{where} runs Python {there.python}; here it is {here.python}. "
            f"Start both with Python {_minor(here.python)}, as functions travel as that version's code"
        )
    return None


def mismatches(here: Versions, there: Iterable[tuple[str, Versions]]) -> list[str]:
    """All sentences, for `(who, versions)` of each process."""
    return [sentence for who, versions in there if (sentence := mismatch(here, versions, who))]


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])
