from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from coeval.testing import Network, Skew
from coeval.testing._network import why_no_network
from coeval.testing.pytest_plugin import SkewedHosts, skewed_hosts, skewed_network

assert skewed_hosts, "the fixture, for pytest to find here"
assert skewed_network, "the fixture, for pytest to find here"

DAY_NS = 86_400 * 10**9


def test_hosts_of_one_test_have_clocks_of_their_own(skewed_hosts: SkewedHosts) -> None:
    hosts = [skewed_hosts("ahead", Skew(DAY_NS)), skewed_hosts("behind", Skew(-DAY_NS)), skewed_hosts("right")]
    command = [sys.executable, "-c", "import time; print(time.time_ns())"]
    shown = [int(host.popen(command, stdout=subprocess.PIPE, text=True).communicate()[0]) for host in hosts]
    assert [round((shown_ns - shown[2]) / DAY_NS) for shown_ns in shown] == [1, -1, 0]


def test_hosts_end_with_the_test_that_made_them_even_if_it_fails(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text("""
import pytest
from coeval.testing.pytest_plugin import skewed_hosts

programs = []

def test_fails(skewed_hosts):
    programs.append(skewed_hosts("node7").popen(["sleep", "600"]))
    assert not programs

def test_next():
    assert programs[0].returncode == -9
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(why_no_network() is not None, reason=f"{why_no_network()}")
def test_hosts_of_a_tests_network_have_addresses_of_their_own(skewed_network: Network) -> None:
    addresses = [skewed_network.host(name, Skew(DAY_NS)).address for name in ("one", "other")]
    assert len({*addresses, None}) == 3
