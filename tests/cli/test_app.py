"""What holds for every verb of the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval._version import __version__

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_version_is_said(coeval: Run) -> None:
    assert coeval("--version").stdout == f"coeval {__version__}\n"


@pytest.mark.parametrize("verb", ["", "map", "run", "timeline", "clocks"])
def test_help_fits_80_columns_and_has_an_example(coeval: Run, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = coeval(*verb.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"    coeval {verb or 'map'} " in done.stdout
    assert "[DEFAULT]" not in done.stdout and "\x1b" not in done.stdout


def test_without_a_verb_there_is_help(coeval: Run) -> None:
    done = coeval()
    assert "Commands:" in done.stdout + done.stderr


def test_an_unknown_verb_is_a_usage_error(coeval: Run) -> None:
    done = coeval("mpa")
    assert done.returncode == 2 and "No such command 'mpa'" in done.stderr


def test_the_console_script_is_the_same_command() -> None:
    script = Path(sys.executable).with_name("coeval")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"coeval {__version__}\n"


def test_help_needs_neither_numpy_nor_rich_nor_the_executor() -> None:
    code = (
        "import sys\nfrom coeval.cli._app import app\n"
        "print([m for m in ('numpy', 'rich', 'coeval.executor', 'coeval.alignment') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
