"""The layer picture of docs/architecture.md holds: imports point down, and packages on one row do not know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "coeval"

# From the ground up. Packages on one row do not import each other.
ROWS: tuple[frozenset[str], ...] = (
    frozenset({"_version"}),
    frozenset({"errors"}),
    frozenset({"clocks"}),
    frozenset({"recording", "alignment"}),
    frozenset({"engines", "timeline"}),
    frozenset({"executor"}),
    frozenset({"web", "make", "integrations"}),
    frozenset({"testing"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
LEVEL = {package: level for level, row in enumerate(ROWS) for package in row}

# Who may ask the operating system for the time, or wait by the clock.
TIME_FILE = "clocks/_clock.py"
# Waits, with a deadline, for programs under test, whose clocks may be wrong on purpose.
TIME_PACKAGE = "testing"
TIME_NAMES = {
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "clock_gettime",
    "clock_gettime_ns",
    "sleep",
}


def package_of(path: Path) -> str:
    part = path.relative_to(SOURCE).parts[0]
    return part.removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every `coeval` module that is imported, at any depth, except for type checkers only."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.split(".")[0] == "coeval")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the whole name"
            if node.module and node.module.split(".")[0] == "coeval":
                if node.module == "coeval":
                    yield from ((f"coeval.{alias.name}", node.lineno) for alias in node.names)
                else:
                    yield node.module, node.lineno


def violations(package: str, tree: ast.AST) -> list[str]:
    """What a file of this package imports that it may not."""
    found: list[str] = []
    if package not in LEVEL:
        return [f"package {package!r} is not in the layer picture; give it a row in {Path(__file__).name} and the docs"]
    for module, line in imported(tree):
        other = module.split(".")[1]
        if other != package and LEVEL.get(other, len(ROWS)) >= LEVEL[package]:
            found.append(f"line {line}: {package} imports {module}, which is not below it")
    return found


def clock_readings(tree: ast.AST) -> list[str]:
    """Calls into `time` that only the clock's own file may make."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "time"
            and node.attr in TIME_NAMES
        )
        or (isinstance(node, ast.Name) and node.id in names & TIME_NAMES)
    ]


FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    assert violations(package_of(path), ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_clocks_own_file_asks_for_the_time(path: Path) -> None:
    if name_of(path) == TIME_FILE:
        assert clock_readings(ast.parse(path.read_text()))
    elif package_of(path) != TIME_PACKAGE:
        assert clock_readings(ast.parse(path.read_text())) == []


def test_the_front_door_imports_nothing_before_it_is_asked() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    assert {module for module, _ in imported(tree)} == {"coeval._version"}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("clocks", "from coeval.recording import mark"),
        ("recording", "import coeval.alignment"),
        ("engines", "def f():\n    from coeval.executor import Executor"),
        ("timeline", "from coeval.engines import Engine"),
        ("timeline", "from coeval import cli"),
        ("drawer", ""),
    ],
)
def test_the_check_finds_what_points_up_or_sideways(package: str, source: str) -> None:
    assert len(violations(package, ast.parse(source))) == 1


def test_the_check_lets_imports_for_type_checkers_pass() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from coeval.executor import Executor"
    assert violations("clocks", ast.parse(source)) == []


def test_the_check_finds_readings_of_the_clock() -> None:
    assert len(clock_readings(ast.parse("import time\ntime.monotonic()\ntime.sleep(1)\ntime.strftime('%Y')"))) == 2
    assert clock_readings(ast.parse("from time import sleep\nsleep(1)"))
