from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from coeval.testing._skew import Skew
from coeval.testing._skewed_host import SkewedHost, why_not_isolated
from coeval.testing._true_clocks import true_times

READS = """
import json, time
from coeval.testing import true_times
raw = time.CLOCK_MONOTONIC_RAW
rows = [(true_times(), time.time_ns(), time.clock_gettime_ns(raw), true_times()) for _ in range(1000)]
print(json.dumps(rows))
"""


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "library alone"])
def test_a_program_on_a_skewed_host_reads_the_true_clocks(isolated: bool) -> None:
    if isolated and why_not_isolated():
        pytest.skip(f"{why_not_isolated()}")
    before = true_times()
    with SkewedHost("node7", Skew(-(10**12), 400_000, 10**13, -400_000), isolated=isolated) as host:
        process = host.popen([sys.executable, "-c", READS], stdout=subprocess.PIPE, text=True)
        rows = json.loads(process.communicate(timeout=60)[0])
        truth = host.truth
    after = true_times()
    for (wall_before, raw_before), wall_shown, raw_shown, (wall_after, raw_after) in rows:
        # Between readings of this process, and around what the host's own clocks showed.
        assert before.wall_ns <= wall_before <= truth.wall.true(wall_shown) <= wall_after <= after.wall_ns
        assert before.raw_ns <= raw_before <= truth.raw.true(raw_shown) <= raw_after <= after.raw_ns


def test_off_any_skewed_host_they_are_this_process_own() -> None:
    wall_ns, raw_ns = time.time_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    true = true_times()
    assert wall_ns <= true.wall_ns <= time.time_ns()
    assert raw_ns <= true.raw_ns <= time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
