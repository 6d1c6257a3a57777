"""
CPython's own tests of its process pools pass with our classes in the place of the standard ones.

Run by an interpreter that has the `test` package: this one, or another on this machine (Debian and most builds from
source have it in a package of its own).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
SUITE = Path(__file__).with_name("cpython_suite.py")

# Far fewer would say that the tests were not found. Python 3.13 has 236 of them.
TESTS_MIN = 150

# The whole takes two minutes alone, most of it sleeping; both runs share the machine.
RUN_S_MAX = 900


def can_run_the_suite(python: str) -> bool:
    program = (
        "import sys, test.support, test._test_multiprocessing, test.test_concurrent_futures\n"
        "sys.exit(sys.version_info < (3, 11))"
    )
    return subprocess.run([python, "-c", program], capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def interpreter() -> str:
    """One with the `test` package, the newest first: the tests of 3.11 take several times as long."""
    named = [shutil.which(name) for name in ("python3.13", "python3.12", "python3.11", "python3")]
    built = sorted(Path.home().glob(".pyenv/versions/3.1?.*/bin/python3"), reverse=True)
    candidates = list(dict.fromkeys([*filter(None, named), *map(str, built), sys.executable, "/usr/bin/python3"]))
    for python in candidates:
        if Path(python).exists() and can_run_the_suite(python):
            return python
    pytest.fail(
        f"none of {', '.join(candidates)} has CPython's `test` package: "
        f"install it (Debian: apt-get install libpython3.11-testsuite)"
    )


def start(python: str, which: str, folder: Path) -> subprocess.Popen[str]:
    # Only what our classes need, so that another version of Python never sees this one's compiled packages.
    packages = folder / "packages"
    packages.mkdir(exist_ok=True)
    for name, home in (("coeval", SOURCE / "coeval"), ("cloudpickle", Path(cloudpickle.__file__).parent)):
        if not (packages / name).exists():
            (packages / name).symlink_to(home)
    work = folder / which
    work.mkdir()
    with (folder / f"{which}.log").open("w") as log:
        return subprocess.Popen(
            [python, str(SUITE), which, str(folder / f"{which}.json")],
            env={**os.environ, "PYTHONPATH": str(packages), "TMPDIR": str(work), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=work,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def report(run: subprocess.Popen[str], which: str, folder: Path) -> dict[str, Any]:
    run.wait(RUN_S_MAX)
    log = (folder / f"{which}.log").read_text()
    assert run.returncode == 0, log
    found: dict[str, Any] = json.loads((folder / f"{which}.json").read_text())
    assert not found["wrong"], "\n\n".join(f"{which}: {name}\n{text}" for name, text in found["wrong"])
    assert found["threads"] == [], which
    return found


def end(run: subprocess.Popen[str]) -> None:
    if run.poll() is None:  # else its number may be somebody else's
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.timeout(RUN_S_MAX + 60)
def test_cpythons_own_tests_pass_with_our_classes_as_with_the_standard_ones(
    interpreter: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as ends:
        runs = {which: start(interpreter, which, tmp_path) for which in ("standard", "ours")}
        for run in runs.values():
            ends.callback(end, run)
        found = {which: report(run, which, tmp_path) for which, run in runs.items()}
    with capsys.disabled():
        for which, findings in found.items():
            print(
                f"\n{which} classes in the tests of Python {findings['python']}: {findings['ran']} ran, none failed, "
                f"{len(findings['skipped'])} skipped themselves, {len(findings['left_out'])} left out",
                end="",
            )
    ours, standard = found["ours"], found["standard"]
    assert ours["selected"] == standard["selected"]
    assert ours["skipped"] == standard["skipped"]
    assert ours["ran"] == len(ours["selected"]) > TESTS_MIN
