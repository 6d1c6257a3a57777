"""How many workers this machine is good for: what this process may use, not what the machine has."""

from __future__ import annotations

import os

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What batch systems grant to one process. Their cgroup or affinity says the same where it is set up; often it is not.
GRANTS = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NUM_PPN", "NCPUS")


def usable_cores(root: str = "", environment: Mapping[str, str] = os.environ) -> int:
    """
    Cores that this process may use: the least of its affinity, its cgroups' quotas (rounded up) and what a batch system
    granted; at least one.

    Args:
        root: put before `/proc` and `/sys`.
        environment: where a batch system says what it granted; what is no positive number is passed over.
    """
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)]
    quota = cgroup_quota(root)
    if quota is not None:
        counts.append(int(-(-quota // 1)))  # `math` is not free
    counts += [int(value) for name in GRANTS if (value := environment.get(name, "")).isdecimal() and int(value) > 0]
    return max(1, min(counts))


def cgroup_quota(root: str = "") -> float | None:
    """
    Cores' worth of time that this process's cgroup and all above it allow, v1 and v2; None: no limit.

    A path that is not below the mount belongs to somebody outside this container; the mount itself is then its own.
    """
    return min(_quotas(root), default=None)


def _quotas(root: str) -> Iterator[float]:
    for controllers, path in _memberships(root):
        mounts = ("", "unified") if controllers == "" else (controllers, "cpu")
        for mount in mounts:
            for folder in _upwards(path):
                place = f"{root}/sys/fs/cgroup/{mount}{folder}"
                quota = _quota_v2(place) if controllers == "" else _quota_v1(place)
                if quota is not None:
                    yield quota


def _memberships(root: str) -> list[tuple[str, str]]:
    """Controllers ("" means v2) and path of each cgroup that may limit this process's time."""
    found = [("", "/"), ("cpu", "/")]
    for line in _read(f"{root}/proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "" or "cpu" in controllers.split(","):
            found.append((controllers, path))
    return found


def _upwards(path: str) -> Iterator[str]:
    """`/a/b`, `/a` and the root, which is empty."""
    folder = path.rstrip("/")
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""


def _quota_v2(folder: str) -> float | None:
    match _read(f"{folder}/cpu.max").split():
        case [quota, period, *_]:
            return _ratio(quota, period)
    return None


def _quota_v1(folder: str) -> float | None:
    return _ratio(_read(f"{folder}/cpu.cfs_quota_us"), _read(f"{folder}/cpu.cfs_period_us"))


def _ratio(quota_us: str, period_us: str) -> float | None:
    """The quotient; None where there is no limit ("max", -1) or no sense."""
    quota_us, period_us = quota_us.strip(), period_us.strip()
    if not (quota_us.isdecimal() and period_us.isdecimal() and int(quota_us) and int(period_us)):
        return None
    return int(quota_us) / int(period_us)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def workers_max_of(min_workers: int, max_workers: int | None, cores: int) -> int:
    """
    How many workers there may be.

    Args:
        max_workers: None: one for each core, and no fewer than are to start at once.

    Raises:
        ValueError: fewer are to start than none, or more than there may be.
    """
    if min_workers < 0:
        raise ValueError(f"min_workers is {min_workers}; expected 0 or more")
    if max_workers is not None and min_workers > max_workers:
        raise ValueError(
            f"min_workers is {min_workers}; expected 0 to {max_workers}, as there may be no more workers. Ask for "
            "fewer, or raise max_workers."
        )
    return max_workers or max(min_workers, cores)
