from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import pytest

from coeval.testing import Gate, GateNeverOpened


def test_who_comes_to_an_open_gate_passes(tmp_path: Path) -> None:
    gate = Gate(tmp_path, patience_s=0)
    gate.open()
    gate.wait()
    assert gate.arrived() == [os.getpid()]


def test_who_waits_passes_when_the_gate_opens(tmp_path: Path) -> None:
    gate = Gate(tmp_path, patience_s=30)
    waiting = threading.Thread(target=pickle.loads(pickle.dumps(gate)).wait)
    waiting.start()
    assert gate.wait_for_arrivals(1) == [os.getpid()]
    assert waiting.is_alive()
    gate.open()
    waiting.join(30)
    assert not waiting.is_alive()


def test_who_waits_too_long_gives_up(tmp_path: Path) -> None:
    with pytest.raises(GateNeverOpened, match=r"did not open within 0\.02 s"):
        Gate(tmp_path, patience_s=0.02).wait()


def test_after_one_gave_up_nobody_waits(tmp_path: Path) -> None:
    with pytest.raises(GateNeverOpened):
        Gate(tmp_path, patience_s=0).wait()
    with pytest.raises(GateNeverOpened):
        Gate(tmp_path, patience_s=1e9).wait()


def test_waiting_for_calls_that_do_not_come_gives_up(tmp_path: Path) -> None:
    gate = Gate(tmp_path, patience_s=0.02)
    gate.open()
    gate.wait()
    with pytest.raises(GateNeverOpened, match="1 of 2 calls came"):
        gate.wait_for_arrivals(2)
