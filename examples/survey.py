"""
What is in a Python file, and what is in a thousand of them.

    coeval map examples/survey.py:measure lib/*.py -o survey.jsonl
    python examples/survey.py survey.jsonl

`measure` is an ordinary function of one file; nothing in it knows of coeval. `report` makes one page of its results.
"""

from __future__ import annotations

import ast
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef

# Each of these is one more way through a function (McCabe's cyclomatic complexity, as most tools count it).
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.Assert, ast.match_case)


def measure(path: str) -> dict[str, Any]:
    """
    Read one Python file and measure it.

    Returns:
        Its size in bytes and lines, its counts of classes and functions, its longest and its most complex function.

    Raises:
        SyntaxError: it is not Python that this interpreter understands.
        OSError: it cannot be read.
    """
    source = Path(path).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a survey counts; what its files should do better is not the question
        tree = ast.parse(source, path)
    nodes = list(ast.walk(tree))
    functions: list[dict[str, Any]] = [
        {"name": node.name, "line": node.lineno, "lines": length(node), "complexity": complexity(node)}
        for node in nodes
        if isinstance(node, Function)
    ]
    return {
        "bytes": len(source),
        "lines": len(source.splitlines()),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "functions": len(functions),
        "complexity": sum(function["complexity"] for function in functions),
        "longest": max(functions, key=lambda function: function["lines"], default=None),
        "most_complex": max(functions, key=lambda function: function["complexity"], default=None),
    }


def length(function: Function) -> int:
    """How many lines a function has, from its `def` to its end."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def complexity(function: Function) -> int:
    """How many ways lead through a function; straight ahead is 1. Functions inside it count for themselves."""
    ways = 1
    for node in own_nodes(function):
        if isinstance(node, BRANCHES):
            ways += 1
        elif isinstance(node, ast.BoolOp):
            ways += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            ways += 1 + len(node.ifs)
    return ways


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """What a function is made of, without the functions and classes defined in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Function | ast.ClassDef):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def report(lines: Iterable[str]) -> str:
    """
    Make one page out of what `coeval map` wrote.

    Args:
        lines: JSON, one for each file.

    Returns:
        At most 80 columns wide.
    """
    results = [json.loads(line) for line in lines]
    root = Path(common_folder([result["input"] for result in results]))
    files = {relative(result["input"], root): result["value"] for result in results if "value" in result}
    failures = {relative(result["input"], root): result["error"] for result in results if "error" in result}

    def total(what: str) -> int:
        return sum(file[what] for file in files.values())

    functions = total("functions")
    each = f", {total('complexity') / functions:.1f} ways through each" if functions else ""
    page = [
        f"{len(files):,} Python files in {fit_end(str(root), 50)}",
        f"{total('lines'):,} lines, {total('bytes') / 1e6:,.1f} MB",
        f"{total('classes'):,} classes, {functions:,} functions{each}",
        *ranking("most complex functions, one per file", "ways", files, "most_complex", "complexity", 10),
        *ranking("longest functions, one per file", "lines", files, "longest", "lines", 5),
        *heaviest_folders(files),
        *what_failed(failures),
    ]
    return "".join(f"{line[:80]}\n" for line in page)


def ranking(title: str, unit: str, files: dict[str, Any], which: str, by: str, count: int) -> list[str]:
    """The files whose `which` function has most of `by`."""
    found = [(file[which], path) for path, file in files.items() if file[which]]
    found.sort(key=lambda each: (-each[0][by], each[1]))
    rows = [f"{one[by]:>7,}  {fit(one['name'], 28):<28}  {path}:{one['line']}" for one, path in found[:count]]
    return ["", title, f"{unit:>7}  {'function':<28}  where", *rows]


def heaviest_folders(files: dict[str, Any]) -> list[str]:
    """Which packages (or folders, or single modules) weigh most."""
    lines: Counter[str] = Counter()
    members: Counter[str] = Counter()
    for path, file in files.items():
        top = path.split("/")[0]
        lines[top] += file["lines"]
        members[top] += 1
    whole = sum(lines.values()) or 1
    rows = [
        f"{count:>7,}  {fit(name, 28):<28}  {members[name]:>5,}  {count * 100 / whole:5.1f} %"
        for name, count in sorted(lines.items(), key=lambda each: (-each[1], each[0]))[:8]
    ]
    return ["", "heaviest packages", f"{'lines':>7}  {'package':<28}  files    share", *rows]


def what_failed(failures: dict[str, Any]) -> list[str]:
    """What could not be measured, and why."""
    if not failures:
        return ["", "every file could be parsed"]
    rows = [f"  {fit_end(path, 36):<36}  {fit(error['message'], 40)}" for path, error in list(failures.items())[:10]]
    more = [f"  … and {len(failures) - 10} more"] if len(failures) > 10 else []
    return ["", f"{len(failures)} could not be parsed", *rows, *more]


def common_folder(paths: list[str]) -> str:
    """The folder that all of these are in."""
    parents = [Path(path).absolute().parent.parts for path in paths]
    shared = [parts[0] for parts in zip(*parents, strict=False) if len(set(parts)) == 1]
    return str(Path(*shared)) if shared else "/"


def relative(path: str, root: Path) -> str:
    """A path as seen from the folder that all are in."""
    return str(Path(path).absolute().relative_to(root))


def fit(text: str, columns: int) -> str:
    """A text cut at its end to so many columns."""
    return text if len(text) <= columns else f"{text[: columns - 1]}…"


def fit_end(text: str, columns: int) -> str:
    """A text cut at its beginning, for paths, whose end says more."""
    return text if len(text) <= columns else f"…{text[1 - columns :]}"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as results:
        sys.stdout.write(report(results))
