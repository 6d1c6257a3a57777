"""
For tests: hosts whose clocks are wrong, networks whose links are bad, the contracts of engines and of readers, gates
that hold calls back, and a check that nothing was left behind.

The contract needs pytest: `pip install 'coeval[testing]'`. A subclass of `EngineContract` runs it whole on an engine:

    from coeval.testing import EngineContract, Gap

    class TestMyEngine(EngineContract):
        engine = "my-engine://host:1234"
        gaps = {"test_stop_ends_a_running_call": Gap("not offered there", "the scheduler cannot end a task")}
"""

from typing import TYPE_CHECKING, Any

from coeval.testing._gate import Gate, GateNeverOpened
from coeval.testing._leaks import Leak, leaks

if TYPE_CHECKING:
    from coeval.testing._contract import CHAPTERS, EngineContract
    from coeval.testing._gap import Gap, GapKind
    from coeval.testing._link import Link, Traffic
    from coeval.testing._network import Network
    from coeval.testing._reader_contract import ReaderContract, ReadEvents, read_events
    from coeval.testing._skew import Skew, SkewedClock, Truth
    from coeval.testing._skew_library import CannotSkew
    from coeval.testing._skewed_host import SkewedHost, skewed_host
    from coeval.testing._true_clocks import TrueTimes, true_times

__all__ = [
    "EngineContract",
    "CHAPTERS",
    "ReaderContract",
    "ReadEvents",
    "read_events",
    "Gap",
    "GapKind",
    "Gate",
    "GateNeverOpened",
    "leaks",
    "Leak",
    "Skew",
    "SkewedHost",
    "skewed_host",
    "SkewedClock",
    "Truth",
    "true_times",
    "TrueTimes",
    "Network",
    "Link",
    "Traffic",
    "CannotSkew",
]

_HOMES = {
    "EngineContract": "_contract",
    "CHAPTERS": "_contract",
    "ReaderContract": "_reader_contract",
    "ReadEvents": "_reader_contract",
    "read_events": "_reader_contract",
    "Gap": "_gap",
    "GapKind": "_gap",
    "Skew": "_skew",
    "SkewedClock": "_skew",
    "Truth": "_skew",
    "CannotSkew": "_skew_library",
    "SkewedHost": "_skewed_host",
    "skewed_host": "_skewed_host",
    "true_times": "_true_clocks",
    "TrueTimes": "_true_clocks",
    "Network": "_network",
    "Link": "_link",
    "Traffic": "_link",
}
_NEED_PYTEST = ("_contract", "_gap", "_reader_contract")
_ASSERTING = (
    "_subject",
    "_futures",
    "_map",
    "_sharing",
    "_travel",
    "_faults",
    "_limits",
    "_records",
    "_seeing",
    "_contract",
    "_reader_contract",
)


def __getattr__(name: str) -> Any:
    # Workers import this package for `_calls`; pytest stays off their path.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOMES[name] not in _NEED_PYTEST:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    try:
        import pytest
    except ImportError as error:
        raise ImportError(f"coeval.testing.{name} needs pytest: pip install 'coeval[testing]'") from error
    # Said before the first import, so that a failing `assert` shows its values.
    pytest.register_assert_rewrite(*(f"{__name__}.{chapter}" for chapter in _ASSERTING))
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
