from __future__ import annotations

from pathlib import Path

from coeval.engines.local._memory_kills import MemoryKills, counting_files


def test_each_rise_of_the_count_accounts_for_one_worker(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 2\noom_kill 4\noom_group_kill 9\n")
    kills = MemoryKills([str(events)])
    assert not kills.account_for_one()
    events.write_text("low 0\noom 3\noom_kill 6\noom_group_kill 9\n")
    assert [kills.account_for_one() for _ in range(3)] == [True, True, False]


def test_the_first_file_that_counts_is_taken(tmp_path: Path) -> None:
    silent, counting = tmp_path / "silent", tmp_path / "counting"
    silent.write_text("under_oom 0\n")
    counting.write_text("oom_kill 0\n")
    kills = MemoryKills([str(tmp_path / "missing"), str(silent), str(counting)])
    counting.write_text("oom_kill 1\n")
    assert kills.account_for_one()


def test_where_nothing_counts_nothing_is_accounted_for(tmp_path: Path) -> None:
    assert not MemoryKills([str(tmp_path / "missing")]).account_for_one()


def test_groups_of_both_versions_are_looked_for_before_the_machine(tmp_path: Path) -> None:
    groups = tmp_path / "cgroup"
    groups.write_text("4:cpu,memory:/job_1\n2:cpuset:/\n0::/user/shell\n")
    found = counting_files(str(groups), "/fs")
    assert found[0] == "/fs/memory/job_1/memory.oom_control"
    assert "/fs/user/shell/memory.events" in found
    assert found[-1] == "/proc/vmstat"


def test_this_machine_counts() -> None:
    from coeval.engines.local._memory_kills import _read_count

    assert any(_read_count(path) is not None for path in counting_files())
