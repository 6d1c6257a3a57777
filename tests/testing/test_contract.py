"""The contract itself, as a third party uses it: in a pytest run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from coeval.testing import EngineContract, Gap


def run_contract(folder: Path, body: str, select: str) -> tuple[int, str]:
    """Run behaviours of a third party's test file; gives exit code and report."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")
    (folder / "test_theirs.py").write_text(f"from coeval.testing import EngineContract, Gap\n\n{body}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-W", "error", "-k", select, "test_theirs.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout


def test_behaviour_that_the_engine_has_passes(tmp_path: Path) -> None:
    body = "class TestTheirs(EngineContract):\n    engine = 'inline:'\n    workers = 1\n"
    code, report = run_contract(tmp_path, body, "submit_gives_the_result")
    assert code == 0, report
    assert "PASSED test_theirs.py::TestTheirs::test_submit_gives_the_result" in report


def test_behaviour_that_the_engine_lacks_fails_and_shows_values(tmp_path: Path) -> None:
    body = """
class Broken:
    '''Gives every call's argument back instead of calling.'''
    def __init__(self, executor):
        self.executor = executor
    def submit(self, function, /, *args):
        return self.executor.submit(max, *args, *args)
    def __getattr__(self, name):
        return getattr(self.executor, name)

class TestTheirs(EngineContract):
    engine = 'inline:'
    workers = 1
    def executor(self, **options):
        return Broken(super().executor(**options))
"""
    code, report = run_contract(tmp_path, body, "submit_gives_the_result")
    assert code == 1, report
    assert "it takes no calls any more" in report


def test_gap_is_expected_to_fail_with_its_reason(tmp_path: Path) -> None:
    body = """
class TestTheirs(EngineContract):
    engine = 'inline:'
    workers = 1
    patience_s = 0.1
    gaps = {'test_result_waits_no_longer_than_its_timeout': Gap('never', 'it never waits')}
"""
    code, report = run_contract(tmp_path, body, "result_waits")
    assert code == 0, report
    assert "XFAIL test_theirs.py::TestTheirs::test_result_waits_no_longer_than_its_timeout - never: it never" in report


def test_gap_that_has_closed_is_a_failure(tmp_path: Path) -> None:
    body = """
class TestTheirs(EngineContract):
    engine = 'inline:'
    workers = 1
    gaps = {'test_submit_gives_the_result': Gap('not yet', 'nobody tried')}
"""
    code, report = run_contract(tmp_path, body, "submit_gives_the_result")
    assert code == 1, report
    assert "XPASS(strict)" in report


def test_gap_that_would_end_the_process_runs_in_one_of_its_own(tmp_path: Path) -> None:
    body = """
class TestTheirs(EngineContract):
    engine = 'inline:'
    workers = 1
    gaps = {'test_call_that_is_ended_by_a_signal_fails_alone': Gap('never', 'no process of its own')}
"""
    code, report = run_contract(tmp_path, body, "ended_by_a_signal and SIGKILL")
    assert code == 0, report
    assert "XFAIL test_theirs.py::TestTheirs::test_call_that_is_ended_by_a_signal_fails_alone[SIGKILL]" in report


def test_gap_in_a_process_of_its_own_that_has_closed_is_a_failure(tmp_path: Path) -> None:
    body = """
class TestTheirs(EngineContract):
    engine = 'local:2'
    gaps = {'test_call_that_ends_its_process_fails_alone': Gap('not yet', 'nobody tried')}
"""
    code, report = run_contract(tmp_path, body, "ends_its_process")
    assert code == 1, report
    assert "XPASS(strict)" in report


def test_behaviour_that_leaves_something_behind_fails(tmp_path: Path) -> None:
    body = """
import os

class TestTheirs(EngineContract):
    engine = 'inline:'
    workers = 1
    def executor(self, **options):
        self.opened = os.pipe()
        return super().executor(**options)
"""
    code, report = run_contract(tmp_path, body, "shutdown_twice")
    assert code == 1, report
    assert "left behind" in report
    assert "descriptors:" in report


def test_gap_for_no_behaviour_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'test_submit_gives_the_result'\?"):

        class Theirs(EngineContract):
            gaps: ClassVar = {"test_submit_gives_a_result": Gap("never", "a misspelt name")}


def test_gap_needs_a_kind_and_a_reason() -> None:
    with pytest.raises(ValueError, match="expected one of not yet, not offered there, never"):
        Gap("some day", "nobody knows")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no reason"):
        Gap("never", "")


def test_importing_the_calls_does_not_import_pytest() -> None:
    source = "import coeval.testing._calls, sys; sys.exit('pytest' in sys.modules)"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run([sys.executable, "-c", source], env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert done.returncode == 0
