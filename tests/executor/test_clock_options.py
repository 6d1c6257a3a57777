from __future__ import annotations

from typing import Any

import pytest

from coeval.engines import Capabilities, open_engine
from coeval.errors import UnsupportedByEngine
from coeval.executor import Executor
from coeval.executor._clock_options import WIDTH_S_DEFAULT, clock_warning_ns, clock_width_ns, far_clocks


@pytest.mark.parametrize("name", ["clock_width", "clock_warning"])
@pytest.mark.parametrize("value", [0, -0.01, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused_with_the_value_and_what_was_expected(name: str, value: float) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=rf"{name} is {value!r}; expected seconds above 0, or None"):
        Executor("inline:", **wrong)


@pytest.mark.parametrize("name", ["clock_width", "clock_warning"])
@pytest.mark.parametrize("value", ["0.01", True])
def test_what_is_no_number_is_refused(name: str, value: object) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=rf"{name} is {value!r}; expected seconds above 0, or None"):
        Executor("inline:", **wrong)


def test_the_variable_says_it_where_the_program_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock_width_ns(...) == WIDTH_S_DEFAULT * 1e9
    monkeypatch.setenv("COEVAL_CLOCK_WIDTH", "0.002")
    assert clock_width_ns(...) == 2_000_000
    assert clock_width_ns(0.5) == 500_000_000
    monkeypatch.setenv("COEVAL_CLOCK_WIDTH", "none")
    assert clock_width_ns(...) is None
    monkeypatch.setenv("COEVAL_CLOCK_WIDTH", "wide")
    with pytest.raises(ValueError, match="COEVAL_CLOCK_WIDTH is 'wide'; expected seconds above 0, such as"):
        clock_width_ns(...)


def test_never_is_none() -> None:
    assert clock_width_ns(None) is None
    assert clock_warning_ns(None) is None


def test_workers_of_this_host_need_no_probe() -> None:
    with Executor("local:2", clock_width=1e-9) as ex:
        assert list(ex.map(abs, range(100))) == list(range(100))
        assert ex.statistics().probes == 0


def test_an_engine_elsewhere_that_cannot_ask_is_refused_only_where_somebody_wants_it() -> None:
    engine: Any = open_engine("inline:")
    engine.capabilities = Capabilities(True, False, False, False, same_host=False)
    from coeval.clocks import SYSTEM_CLOCK

    with pytest.raises(UnsupportedByEngine, match=r"clock_width=0\.002 was asked of engine 'inline', .*leave it out"):
        far_clocks(engine, SYSTEM_CLOCK, 0.002, 1.0)
    assert far_clocks(engine, SYSTEM_CLOCK, ..., 1.0) is not None
    assert far_clocks(engine, SYSTEM_CLOCK, None, None) is not None
