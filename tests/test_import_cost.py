"""What importing costs, counted in modules: times differ from machine to machine, modules do not."""

from __future__ import annotations

import subprocess
import sys

import pytest

# None of these is ever on a worker's path or in the way of `from coeval import Executor`.
HEAVY = {"numpy", "pyarrow", "duckdb", "rich", "typer", "asyncio", "multiprocessing", "cloudpickle", "ctypes"}


def modules_added_by(statement: str) -> set[str]:
    program = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_the_front_door_alone_imports_two_modules() -> None:
    assert modules_added_by("import coeval") == {"coeval", "coeval._version"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from coeval import Executor", HEAVY),
        ("from coeval import mark, span, attempt", HEAVY),
        ("import coeval.engines.local._worker", HEAVY | {"concurrent", "subprocess"}),
        ("from coeval.errors import CoevalError", HEAVY),
    ],
)
def test_nothing_heavy_comes_along(statement: str, unwanted: set[str]) -> None:
    added = {name.split(".")[0] for name in modules_added_by(statement)}
    assert added & unwanted == set()


def test_a_workers_death_costs_its_import_only_when_it_is_needed() -> None:
    assert "multiprocessing" in modules_added_by("from coeval.errors import WorkerDied")
