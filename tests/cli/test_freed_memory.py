from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from coeval.cli._freed_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
import numpy as np
def faults_of(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        np.ones(1 << 23)  # more than the library ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of(3)
print(faults_of(20))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="never: the setting is the GNU C library's")
def test_arrays_made_again_and_again_take_no_new_pages() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, check=True).stdout)
        for how in ("kept", "returned")
    }
    assert faults["kept"] < 100
    assert faults["returned"] > 100
