"""
Runs CPython's own tests of its process pools, with coeval's classes in their place or as they are.

    python cpython_suite.py ours|standard REPORT [part of a test's id ...]

REPORT is the file to write what came of it into, as JSON.

Run by test_cpython_suite.py in an interpreter that has the `test` package. Nothing of the tests is copied or changed:
`concurrent.futures.ProcessPoolExecutor` and `multiprocessing.Pool` are put in place before they are imported, also in
the programs that some of them start.
"""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import json
import pkgutil
import sys
import textwrap
import threading
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Tests that are about how the standard pools are built: each touches this name of their insides.
LEFT_OUT = {
    "test_killed_child": "_processes",
    "test_saturation": "_processes",
    "test_idle_process_reuse_one": "_processes",
    "test_idle_process_reuse_multiple": "_processes",
    "test_max_tasks_per_child": "_processes",
    "test_processes_terminate": "_processes",
    "test_context_manager_shutdown": "_processes",
    "test_del_shutdown": "_processes",
    "test_shutdown_no_wait": "_processes",
    "test_shutdown_deadlock_pickle": "_executor_manager_thread",
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": "_ExecutorManagerThread",
    "test_python_finalization_error": "_start_joinable_thread",
    "test_make_pool": "_pool",
    "test_pool_worker_lifetime": "_pool",
}

START_METHODS = ("fork", "forkserver", "spawn")
# Not `WithProcessesTestPoolWorkerErrors`: it wants a lambda as a result to fail, and ours comes home.
POOL_CLASSES = ("WithProcessesTestPool", "WithProcessesTestPoolWorkerLifetime")


def substitute() -> None:
    """Make `from concurrent.futures import ProcessPoolExecutor` and `from multiprocessing import Pool` give ours."""
    import concurrent.futures
    import multiprocessing

    standard_names = ("ProcessPoolExecutor", "Pool")

    def give(name: str) -> Any:
        # Not before the name is asked for: where a program imports something decides what is done when it exits.
        if name not in standard_names:
            raise AttributeError(name)
        return getattr(importlib.import_module("coeval.standard"), name)

    the_rest: Callable[[str], Any] = vars(concurrent.futures)["__getattr__"]  # ThreadPoolExecutor

    def give_future_class(name: str) -> Any:
        return give(name) if name == "ProcessPoolExecutor" else the_rest(name)

    for module, function in ((concurrent.futures, give_future_class), (multiprocessing, give)):
        vars(module)["__getattr__"] = function
        for name in standard_names:
            vars(module).pop(name, None)


def substitute_in_programs() -> None:
    """Do the same in the programs that tests start by `python -c`; those are isolated from the environment."""
    script_helper: Any = importlib.import_module("test.support.script_helper")
    run = script_helper.run_python_until_end
    before = f"import sys; sys.path[:0] = {sys.path!r}; import cpython_suite; cpython_suite.substitute()\n"

    def run_substituted(*arguments: str, **environment: str) -> Any:
        if arguments[0] == "-c":
            arguments = ("-c", before + textwrap.dedent(arguments[1]), *arguments[2:])
        return run(*arguments, **environment)

    script_helper.run_python_until_end = run_substituted


def selection() -> tuple[list[unittest.TestCase], list[unittest.TestCase]]:
    """The tests to run, and those left out."""
    loader = unittest.TestLoader()
    found: list[unittest.TestCase] = []
    for module in executor_modules():
        found += [test for test in flat(loader.loadTestsFromModule(module)) if is_about_executor(test)]
    for module in pool_modules():
        found += [test for test in flat(loader.loadTestsFromModule(module)) if type(test).__name__ in POOL_CLASSES]
    left_out = [test for test in found if name_of(test) in LEFT_OUT]
    for test in left_out:
        assert LEFT_OUT[name_of(test)] in names_touched(test), f"{test.id()} does not touch {LEFT_OUT[name_of(test)]}"
    return [test for test in found if test not in left_out], left_out


def executor_modules() -> Iterator[Any]:
    package = importlib.import_module("test.test_concurrent_futures")
    if not hasattr(package, "__path__"):  # before Python 3.12
        yield package
        return
    for found in pkgutil.iter_modules(package.__path__):
        if found.name.startswith("test_"):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def pool_modules() -> Iterator[Any]:
    for method in START_METHODS:
        package = importlib.import_module(f"test.test_multiprocessing_{method}")
        yield importlib.import_module(f"{package.__name__}.test_processes") if hasattr(package, "__path__") else package


def is_about_executor(test: unittest.TestCase) -> bool:
    kind = type(test).__name__
    return kind.startswith("ProcessPool") or kind == "FailingInitializerResourcesTest"


def flat(suite: Any) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestCase):
            yield test
        else:
            yield from flat(test)


def name_of(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2]


def names_touched(test: unittest.TestCase) -> set[str]:
    """The underscored attributes that a test's own code names."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(test, name_of(test)))))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {name for name in names | texts if name.startswith("_")}


def main(which: str, report: Path, parts: list[str]) -> None:
    """Run the tests, or those of them with one of these parts in their ids, for whoever looks for a fault."""
    if which == "ours":
        substitute()
        substitute_in_programs()
    chosen, left_out = selection()
    chosen = [test for test in chosen if not parts or any(part in test.id() for part in parts)]
    # Tests of a module and of a class together, as their setup and teardown want it.
    chosen.sort(key=lambda test: (type(test).__module__, type(test).__qualname__))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(unittest.TestSuite(chosen))
    wrong = [*result.failures, *result.errors, *((test, "unexpected success") for test in result.unexpectedSuccesses)]
    gc.collect()  # executors that tests dropped leave then
    findings = {
        "python": sys.version.split()[0],
        "selected": sorted(test.id() for test in chosen),
        "left_out": sorted(test.id() for test in left_out),
        "ran": result.testsRun,
        "skipped": sorted([test.id(), reason] for test, reason in result.skipped),
        "wrong": sorted([test.id(), text] for test, text in wrong),
        # Not what the tests' own support says: before Python 3.12 it also counts finished threads that wait for the
        # garbage collector.
        "threads": sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread()),
    }
    report.write_text(json.dumps(findings))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
