"""numpy starts no threads for a merge, unless somebody asked for some; and nobody else inherits that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOADED = """
import os
from coeval.cli._numpy_threads import import_numpy_without_threads
{before}
import_numpy_without_threads()
import numpy
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


def threads_of(before: str, said: str | None) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if said is not None:
        environment["OPENBLAS_NUM_THREADS"] = said
    command = [sys.executable, "-c", LOADED.format(before=before)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    threads, left = done.stdout.split()
    return int(threads), left


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_numpy_starts_no_thread_and_the_environment_is_as_before() -> None:
    assert threads_of("", None) == (1, "None")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize(("before", "said"), [("", "2"), ("import numpy", None)], ids=["said", "there already"])
def test_what_somebody_said_or_did_before_is_left_alone(before: str, said: str | None) -> None:
    threads, left = threads_of(before, said)
    alone, _ = threads_of("import_numpy_without_threads = lambda: None", said)
    assert (threads, left) == (alone, str(said))
