"""What a host says of its wall clock is told as it is: yes, no or unknown, never a guess."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from coeval.clocks._host import Synchronisation, read_host, synchronisation, zone_name


def test_a_synchronised_clock_comes_with_its_greatest_error_and_the_microsecond_that_was_cut_off() -> None:
    assert synchronisation(0, 0x2001, 1500) == Synchronisation("yes", 1_501_000, "")


@pytest.mark.parametrize(("status", "offset", "added_ns"), [(0x2001, -700, 700), (1, -700, 700_000), (1, 3, 3000)])
def test_what_is_still_to_be_slewed_is_part_of_the_error(status: int, offset: int, added_ns: int) -> None:
    assert synchronisation(0, status, 1500, 20, offset).max_error_ns == 1_501_000 + added_ns


def test_an_error_that_is_estimated_at_zero_bounds_nothing() -> None:
    told = synchronisation(0, 0x2001, 300, 0)
    assert (told.synchronised, told.max_error_ns) == ("yes", None)
    assert "chrony" in told.remedy


@pytest.mark.parametrize(("state", "status", "error"), [(5, 0x40, 16_000_000), (0, 0x40, 10), (0, 0, 16_000_000)])
def test_an_undisciplined_clock_has_no_bound_and_a_remedy(state: int, status: int, error: int) -> None:
    told = synchronisation(state, status, error)
    assert (told.synchronised, told.max_error_ns) == ("no", None)
    assert "chrony" in told.remedy
    assert "\n" not in told.remedy


def test_a_kernel_that_refuses_to_answer_leaves_it_unknown() -> None:
    assert synchronisation(-1, 0, 0) == Synchronisation("unknown", None, "")


@pytest.mark.parametrize(
    ("tz", "target", "expected"),
    [
        (None, "/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        (None, "/usr/share/zoneinfo/posix/America/Argentina/Salta", "America/Argentina/Salta"),
        (None, "", ""),
        (None, "/etc/localtime", ""),
        ("Asia/Shanghai", "/usr/share/zoneinfo/Europe/Berlin", "Asia/Shanghai"),
        (":Asia/Shanghai", "", "Asia/Shanghai"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "", "Asia/Tokyo"),
        ("CET-1CEST", "", "CET-1CEST"),
        ("", "/usr/share/zoneinfo/Europe/Berlin", "UTC"),
    ],
)
def test_the_zone_is_named_as_the_c_library_finds_it(tz: str | None, target: str, expected: str) -> None:
    assert zone_name(tz, target) == expected


def test_this_host_answers() -> None:
    host = read_host()
    assert host.name
    assert host.utc_offset_s == time.localtime().tm_gmtoff
    assert host.synchronisation.synchronised in ("yes", "no", "unknown")
    if sys.platform.startswith("linux"):
        assert host.synchronisation.max_error_ns is None or host.synchronisation.synchronised == "yes"


def test_a_zone_set_for_one_process_is_told_with_its_offset() -> None:
    code = "from coeval.clocks._host import read_host; host = read_host(); print(host.zone, host.utc_offset_s)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={"TZ": "Etc/GMT-5", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.split() == ["Etc/GMT-5", "18000"]


def test_a_worker_that_does_not_ask_does_not_pay_for_ctypes() -> None:
    code = "import sys, coeval.clocks._host; print('ctypes' in sys.modules, 'numpy' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.split() == ["False", "False"]
