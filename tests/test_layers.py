"""The layer picture of docs/architecture.md holds: imports point down, and packages on one row stay apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "coeval"

# From the ground up. Packages on one row do not import each other.
ROWS: tuple[frozenset[str], ...] = (
    frozenset({"_version", "_late_bases", "_lazy_names"}),
    frozenset({"errors"}),
    frozenset({"clocks"}),
    frozenset({"recording", "alignment"}),
    frozenset({"engines", "timeline"}),
    frozenset({"executor"}),
    frozenset({"standard", "web", "make", "integrations"}),
    frozenset({"testing"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
LEVEL = {package: level for level, row in enumerate(ROWS) for package in row}

# Importing the first must not bring the second: calls run without numpy, and only `ex.timeline` needs it.
ONLY_INSIDE_FUNCTIONS = {("executor", "timeline")}

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
DATETIME_NAMES = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")


def package_of(path: Path) -> str:
    part = path.relative_to(SOURCE).parts[0]
    return part.removesuffix(".py")


def imported(tree: ast.AST, *, inside_functions: bool = True) -> Iterator[tuple[str, int]]:
    """Every `coeval` module that is imported, at any depth, except for type checkers only."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            skipped |= {inner for statement in node.body for inner in ast.walk(statement)}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not inside_functions:
            skipped |= set(ast.walk(node))
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
    for module, line in imported(tree, inside_functions=False):
        if (package, module.split(".")[1]) in ONLY_INSIDE_FUNCTIONS:
            found.append(f"line {line}: {package} imports {module} at once; do it in the function that needs it")
    return found


def clock_readings(tree: ast.AST) -> list[str]:
    """What asks the system for the time, or waits by it, which only the clock's own file may do."""
    modules = {"time"}
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname for alias in node.names if alias.name == "time" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            names |= {alias.asname or alias.name for alias in node.names if alias.name in TIME_NAMES}
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id in names)
        or (
            isinstance(node, ast.Attribute)
            and (
                (isinstance(node.value, ast.Name) and node.value.id in modules and node.attr in TIME_NAMES)
                or ast.unparse(node).endswith(DATETIME_NAMES)
            )
        )
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
    assert {module for module, _ in imported(tree)} == set()


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("clocks", "from coeval.recording import mark"),
        ("recording", "import coeval.alignment"),
        ("engines", "def f():\n    from coeval.executor import Executor"),
        ("timeline", "from coeval.engines import Engine"),
        ("timeline", "from coeval import cli"),
        ("timeline", "import coeval.executor"),
        ("clocks", "if not TYPE_CHECKING:\n    from coeval.executor import Executor"),
        ("executor", "from coeval.timeline import Timeline"),
        ("drawer", ""),
    ],
)
def test_the_check_finds_what_points_up_or_sideways(package: str, source: str) -> None:
    assert len(violations(package, ast.parse(source))) == 1


def test_the_check_lets_imports_for_type_checkers_pass() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from coeval.executor import Executor"
    assert violations("clocks", ast.parse(source)) == []


def test_the_check_lets_an_executor_import_the_timeline_when_it_is_asked_for() -> None:
    source = "def timeline(self):\n    from coeval.timeline import Timeline"
    assert violations("executor", ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "import time as clock\nclock.sleep(1)",
        "from time import sleep\nsleep(1)",
        "from time import time_ns as now\nask = now",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.date.today()",
    ],
)
def test_the_check_finds_readings_of_the_clock(source: str) -> None:
    assert len(clock_readings(ast.parse(source))) == 1


def test_the_check_lets_time_be_written_as_text() -> None:
    assert clock_readings(ast.parse("import time\ntime.strftime('%Y', when)\ndatetime.fromtimestamp(0, UTC)")) == []
