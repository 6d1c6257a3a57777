"""
Engines carry calls to workers. `open_engine` finds one by its URL; the contract that each keeps is in `_engine.py`.

    local        processes of this machine, one for each usable core
    local:4      four of them
    inline:      the caller's own thread, for pdb and coverage
    dask://h:p   a Dask cluster; dask: alone starts one here

Other packages add engines by an entry point in the group `coeval.engines`: its name is the URL's scheme, its object
takes `(url, max_workers)` and returns an `Engine`.
"""

from coeval.engines._engine import (
    NO_LIMITS,
    Batch,
    Capabilities,
    Deliver,
    Engine,
    Failure,
    FailureKind,
    Function,
    ItemStamps,
    Limits,
    Outcome,
    Stamps,
    Worker,
)
from coeval.engines._open import open_engine

__all__ = [
    "open_engine",
    "Engine",
    "Capabilities",
    "Batch",
    "Function",
    "Limits",
    "NO_LIMITS",
    "Outcome",
    "Failure",
    "FailureKind",
    "Stamps",
    "ItemStamps",
    "Worker",
    "Deliver",
]
