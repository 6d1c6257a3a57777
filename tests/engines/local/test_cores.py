from __future__ import annotations

import os
from pathlib import Path

import pytest

from coeval.engines.local._cores import cgroup_quota, usable_cores


def lay(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


V1 = "sys/fs/cgroup/cpu"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({f"{V1}/cpu.cfs_quota_us": "150000\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({f"{V1}/cpu.cfs_quota_us": "-1\n", f"{V1}/cpu.cfs_period_us": "100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "rubbish\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_at_the_mount_is_read_in_both_versions(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cgroup_quota(lay(tmp_path, files)) == quota


@pytest.mark.parametrize(
    ("own", "above", "quota"),
    [
        ("300000 100000", "max 100000", 3.0),
        ("max 100000", "200000 100000", 2.0),
        ("400000 100000", "150000 100000", 1.5),
    ],
)
def test_the_least_quota_of_the_own_cgroup_and_those_above_holds(
    tmp_path: Path, own: str, above: str, quota: float
) -> None:
    files = {
        "proc/self/cgroup": "0::/user.slice/job.scope\n",
        "sys/fs/cgroup/user.slice/job.scope/cpu.max": own,
        "sys/fs/cgroup/user.slice/cpu.max": above,
    }
    assert cgroup_quota(lay(tmp_path, files)) == quota


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_a_nested_cgroup_of_version_1_is_found_under_either_name_of_its_mount(tmp_path: Path, mount: str) -> None:
    files = {
        "proc/self/cgroup": "5:memory:/other\n4:cpu,cpuacct:/slurm/job_1\n0::/\n",
        f"sys/fs/cgroup/{mount}/slurm/cpu.cfs_quota_us": "600000",
        f"sys/fs/cgroup/{mount}/slurm/cpu.cfs_period_us": "100000",
        f"sys/fs/cgroup/{mount}/slurm/job_1/cpu.cfs_quota_us": "250000",
        f"sys/fs/cgroup/{mount}/slurm/job_1/cpu.cfs_period_us": "100000",
    }
    assert cgroup_quota(lay(tmp_path, files)) == 2.5


def test_in_a_container_that_sees_its_hosts_path_the_mount_is_its_own(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/../../docker/4711\n", "sys/fs/cgroup/cpu.max": "100000 100000"}
    assert cgroup_quota(lay(tmp_path, files)) == 1.0


@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NUM_PPN", "NCPUS"])
def test_what_a_batch_system_granted_holds_where_it_is_less(tmp_path: Path, name: str) -> None:
    own = len(os.sched_getaffinity(0))
    assert usable_cores(str(tmp_path), {name: "1"}) == 1
    assert usable_cores(str(tmp_path), {name: str(own + 1)}) == own


@pytest.mark.parametrize("value", ["", "0", "-3", "2(x3)", "many"])
def test_a_grant_that_is_no_positive_number_is_passed_over(tmp_path: Path, value: str) -> None:
    assert usable_cores(str(tmp_path), {"SLURM_CPUS_PER_TASK": value}) == len(os.sched_getaffinity(0))


def test_a_fraction_of_a_core_counts_as_one(tmp_path: Path) -> None:
    assert usable_cores(lay(tmp_path, {"sys/fs/cgroup/cpu.max": "20000 100000"}), {}) == 1


def test_this_machine_has_at_least_one_core() -> None:
    assert usable_cores() >= 1
