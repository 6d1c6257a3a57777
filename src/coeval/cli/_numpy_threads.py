"""
numpy without threads for linear algebra, of which a merge has none.

OpenBLAS, which numpy brings along, starts a thread for each further core when it is loaded. They wait for work by going
round, for a tenth of a second; where two cores share their inside, what is imported meanwhile takes a sixth longer.
"""

from __future__ import annotations

import os
import sys

_NAME = "OPENBLAS_NUM_THREADS"


def import_numpy_without_threads() -> None:
    """Import numpy, unless it is there already or somebody said how many threads there shall be."""
    if "numpy" in sys.modules or _NAME in os.environ:
        return
    os.environ[_NAME] = "1"
    try:
        import numpy  # noqa: F401  # which reads it
    finally:
        del os.environ[_NAME]  # it is not for processes that are started later
