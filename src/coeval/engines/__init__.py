"""
Engines carry calls to workers. `open_engine` finds one by its URL; the contract that each keeps is in `_engine.py`.

    local        processes of this machine, one for each usable core
    local:4      four of them
    inline:      the caller's own thread, for pdb and coverage
    dask://h:p   a Dask cluster; dask: alone starts one here

Other packages add engines by an entry point in the group `coeval.engines`: its name is the URL's scheme, its object
takes `(url, max_workers)` and returns an `Engine`.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coeval.engines._engine import (
        NO_LIMITS,
        Batch,
        Capabilities,
        Failure,
        Function,
        ItemStamps,
        Limits,
        Outcome,
        Packed,
        RunningItem,
        Stamps,
        Worker,
    )
    from coeval.engines._live_clocks import LiveClocks
    from coeval.engines._open import open_engine
    from coeval.engines._protocol import Deliver, Engine, FailureKind, MeasuresClocks, SharesObjects, ShowsStacks

__all__ = [
    "open_engine",
    "Engine",
    "ShowsStacks",
    "MeasuresClocks",
    "SharesObjects",
    "LiveClocks",
    "Capabilities",
    "Batch",
    "Packed",
    "Function",
    "Limits",
    "NO_LIMITS",
    "Outcome",
    "Failure",
    "FailureKind",
    "Stamps",
    "ItemStamps",
    "RunningItem",
    "Worker",
    "Deliver",
]

# Workers import this package for what they run; the rest stays off their path. Hidden from type checkers, which would
# otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        in_protocol = ("Engine", "ShowsStacks", "MeasuresClocks", "SharesObjects", "Deliver", "FailureKind")
        elsewhere = {"open_engine": "_open", "LiveClocks": "_live_clocks"} | dict.fromkeys(in_protocol, "_protocol")
        home = elsewhere.get(name, "_engine")
        value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
        return value
