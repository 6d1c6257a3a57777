"""A process that ends quickly has flushed its output, called who asked for it, and left no thread behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import atexit, sys, threading
from coeval.cli._quick_end import allow_quick_end, ending_quickly

class Told:
    def __del__(self):
        print("taken apart")

atexit.register(print, "called at the end")
kept = Told()
"""


def ended(rest: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BEGIN + rest], capture_output=True, text=True, check=False)


def test_what_is_asked_for_at_the_end_is_called_output_is_flushed_and_the_code_is_kept() -> None:
    done = ended("allow_quick_end()\nwith ending_quickly():\n    print('said', end='')\n    sys.exit(3)\n")
    assert (done.returncode, done.stdout) == (3, "saidcalled at the end\n")


@pytest.mark.parametrize(
    "before",
    [
        "",
        """allow_quick_end()
threading.Thread(target=lambda: (threading.main_thread().join(), print('a thread'))).start()
""",
    ],
    ids=["not allowed", "a thread is left"],
)
def test_otherwise_the_process_ends_as_any(before: str) -> None:
    done = ended(before + "with ending_quickly():\n    sys.exit(3)\n")
    assert done.returncode == 3
    assert ("a thread" in done.stdout) == bool(before)
    assert done.stdout.endswith("called at the end\ntaken apart\n")


def test_output_that_cannot_be_flushed_is_not_passed_over() -> None:
    done = ended(
        "allow_quick_end()\nwith ending_quickly():\n    sys.stdout = open('/dev/full', 'w')\n"
        "    print('lost')\n    sys.exit(0)\n"
    )
    assert "No space left" in done.stderr
