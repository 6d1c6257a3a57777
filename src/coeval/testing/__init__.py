"""
For tests: the engine contract, gates that hold calls back, and a check that nothing was left behind.

Needs pytest: `pip install 'coeval[testing]'`. A subclass of `EngineContract` runs the whole contract on an engine:

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

__all__ = ["EngineContract", "CHAPTERS", "Gap", "GapKind", "Gate", "GateNeverOpened", "leaks", "Leak"]

_HOMES = {"EngineContract": "_contract", "CHAPTERS": "_contract", "Gap": "_gap", "GapKind": "_gap"}
_ASSERTING = ("_subject", "_futures", "_map", "_travel", "_faults", "_limits", "_records", "_contract")


def __getattr__(name: str) -> Any:
    # Workers import this package for `_calls`; pytest stays off their path.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        import pytest
    except ImportError as error:
        raise ImportError(f"coeval.testing.{name} needs pytest: pip install 'coeval[testing]'") from error
    # Said before the first import, so that a failing `assert` shows its values.
    pytest.register_assert_rewrite(*(f"{__name__}.{chapter}" for chapter in _ASSERTING))
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
