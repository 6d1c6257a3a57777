from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from coeval.engines import RunningItem, Worker
from coeval.executor._stacks import dump_stacks_on, newly_stalled

SCRIPT = """
import os, signal, sys, tempfile
from pathlib import Path
import coeval
from coeval.testing import Gate
from coeval.testing._calls import pass_gate

coeval.dump_stacks_on()
coeval.dump_stacks_on(signal.SIGUSR1)  # once more changes nothing
with tempfile.TemporaryDirectory() as folder, coeval.Executor("local:1") as ex, coeval.Executor("inline:"):
    gate = Gate(Path(folder), 30)
    running = ex.submit(pass_gate, gate, 1)
    gate.wait_for_arrivals(1)
    os.kill(os.getpid(), signal.SIGUSR1)
    sys.stdin.readline()
    gate.open()
    print(running.result(30))
"""


def running(batch: int, ran_s: float) -> RunningItem:
    return RunningItem(batch, 0, Worker(1, "h", 2, "c", "3.11"), ran_s)  # type: ignore[arg-type]


def test_a_call_stalls_once() -> None:
    told: set[tuple[int, int]] = set()
    assert not newly_stalled([running(1, 0.5)], 1.0, told)
    assert newly_stalled([running(1, 1.0), running(2, 0.1)], 1.0, told)
    assert not newly_stalled([running(1, 9.0), running(2, 0.9)], 1.0, told)
    assert newly_stalled([running(1, 10.0), running(2, 1.2)], 1.0, told)
    assert not newly_stalled([], 1.0, told)
    assert told == set(), "nothing is kept of calls that are over"


def test_a_signal_to_the_program_shows_what_runs_in_every_executor() -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stderr is not None
        shown = ""
        while " in pass_gate\n" not in shown or "'inline'" not in shown:
            line = program.stderr.readline()
            assert line, f"the program ended early: {shown}"
            shown += line
        out, rest = program.communicate("\n", timeout=60)
    assert out == "1\n"
    assert rest.strip() == ""
    assert "pass_gate(Gate, 1), call 0, try 1: running for" in shown


def test_a_signal_that_the_program_handles_is_left_to_it() -> None:
    def mine(number: int, frame: object) -> None:
        return

    before = signal.signal(signal.SIGUSR2, mine)
    try:
        with pytest.raises(RuntimeError, match="SIGUSR2 is handled by"):
            dump_stacks_on(signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert signal.getsignal(signal.SIGUSR2) is mine
    finally:
        signal.signal(signal.SIGUSR2, before)
