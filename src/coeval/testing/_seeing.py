"""Chapter 8: seeing what runs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coeval.errors import UnsupportedByEngine
from coeval.testing import _calls as calls
from coeval.testing._gate import wait_until
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor

# A call that runs for so long is taken to stall.
STALL_S = 0.2


class Seeing(Subject):
    """Seeing what runs."""

    def test_running_calls_show_their_stacks_or_the_engine_refuses(self, ex: Executor, tmp_path: Path) -> None:
        shown = io.StringIO()
        if not ex.capabilities.stacks:
            with pytest.raises(UnsupportedByEngine, match="stacks"):
                ex.dump_stacks(shown)
            return
        gate = self.gate(tmp_path)
        running = self.occupy(ex.options(name="january"), gate)
        ex.dump_stacks(shown)
        gate.open()
        assert [future.result(self.patience_s) for future in running] == list(range(self.workers))
        text = shown.getvalue()
        for number, process in enumerate(sorted(gate.arrived())):
            assert f"in pid {process} on" in text
            assert f"pass_gate(Gate, {number}) 'january', call" in text
        assert text.count(" in pass_gate\n") == self.workers
        assert "coeval/engines/_attempt.py" not in text, "the frames below the call are left out"

    def test_call_inside_c_code_shows_its_stack_or_the_engine_refuses(self, ex: Executor) -> None:
        if not ex.capabilities.stacks:
            with pytest.raises(UnsupportedByEngine, match="stacks"):
                ex.dump_stacks()
            return
        endless = ex.submit(calls.spin_in_c)

        def shown() -> str:
            file = io.StringIO()
            ex.dump_stacks(file)
            return file.getvalue()

        assert wait_until(lambda: " in spin_in_c\n" in shown(), self.patience_s)
        assert ex.stop(endless)
        assert endless.exception(self.patience_s) is not None

    def test_idle_executor_shows_no_stacks(self, ex: Executor) -> None:
        if not ex.capabilities.stacks:
            with pytest.raises(UnsupportedByEngine, match="stacks"):
                ex.dump_stacks()
            return
        file = io.StringIO()
        ex.dump_stacks(file)
        assert file.getvalue().startswith("coeval: 0 running calls")

    def test_stalled_call_is_shown_once_or_the_engine_refuses(
        self, ex: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not ex.capabilities.stacks:
            with pytest.raises(UnsupportedByEngine, match="stacks"):
                self.executor(stall_after=STALL_S)
            return
        shown = io.StringIO()
        monkeypatch.setattr(sys, "stderr", shown)
        gate = self.gate(tmp_path)
        with self.executor(stall_after=STALL_S) as own:
            stalled = own.submit(calls.pass_gate, gate, 1)
            assert wait_until(lambda: " in pass_gate\n" in shown.getvalue(), self.patience_s)
            gate.open()
            assert stalled.result(self.patience_s) == 1
        assert shown.getvalue().count(" in pass_gate\n") == 1

    @pytest.mark.parametrize("stall_after", [0, -1, float("nan")])
    def test_senseless_stall_time_is_refused(self, stall_after: float) -> None:
        with pytest.raises(ValueError, match="stall_after"):
            self.executor(stall_after=stall_after)
