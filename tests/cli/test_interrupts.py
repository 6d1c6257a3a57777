"""Ctrl-C and SIGTERM as something to decide about."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

START = """
import os, signal, sys, threading
from coeval.cli._interrupts import Interrupted, Interrupts
number = signal.Signals[sys.argv[1]]
signal.signal(number, signal.SIG_DFL)
def arrives():
    os.kill(os.getpid(), number)
"""


def run(code: str, name: str = "SIGINT") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + code, name], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_before_anything_runs_a_signal_is_raised_where_we_are(name: str, exit_code: int) -> None:
    done = run("Interrupts()\ntry:\n    arrives()\nexcept Interrupted as error:\n    sys.exit(error.exit_code)", name)
    assert done.returncode == exit_code, done.stderr


def test_a_noted_signal_wakes_and_waits_until_it_is_asked_for() -> None:
    done = run(
        "woken = threading.Event()\ninterrupts = Interrupts()\ninterrupts.note(woken.set)\narrives()\n"
        "print('went on', woken.wait(10), interrupts.noted == number)\n"
        "try:\n    interrupts.check()\nexcept Interrupted as error:\n    print(error)"
    )
    assert done.stdout == "went on True True\nSIGINT\n"


def test_inside_raising_a_signal_is_raised_at_once_only_where_that_is_wanted() -> None:
    code = """
interrupts = Interrupts()
interrupts.note(lambda: None)
with interrupts.raising(WANTED):
    try:
        arrives()
        print("went on")
    except Interrupted:
        print("raised")
"""
    assert run(code.replace("WANTED", "True")).stdout == "raised\n"
    assert run(code.replace("WANTED", "False")).stdout == "went on\n"


def test_the_second_signal_ends_the_process_at_once() -> None:
    code = "interrupts = Interrupts()\ninterrupts.note(lambda: None)\narrives()\narrives()\nprint('never')"
    done = run(code, "SIGTERM")
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")
    assert done.stderr == "\ninterrupted again: ended at once\n"


def test_a_signal_that_our_parent_had_us_ignore_stays_ignored() -> None:
    code = "signal.signal(number, signal.SIG_IGN)\nInterrupts()\narrives()\nprint('went on')"
    assert run(code).stdout == "went on\n"
