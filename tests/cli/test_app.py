"""What holds for every verb of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval._version import __version__
from coeval.cli._app import VERBS

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_version_is_said(coeval: Run) -> None:
    assert coeval("--version").stdout == f"coeval {__version__}\n"


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_80_columns_and_has_an_example(coeval: Run, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = coeval(*verb.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"    coeval {verb or 'map'} " in done.stdout
    assert "[DEFAULT]" not in done.stdout and "\x1b" not in done.stdout


def test_the_help_has_a_whole_sentence_for_each_verb(coeval: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = coeval("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(VERBS)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


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


@pytest.mark.parametrize("verb", ["map", "run"])
def test_verbs_that_run_something_wait_neither_for_numpy_nor_for_what_other_verbs_need(verb: str) -> None:
    code = f"""
import sys
from coeval.cli._app import make_app
make_app("{verb}")
print([m for m in ("numpy", "rich", "coeval.executor", "coeval.alignment", "coeval.timeline") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_map_never_imports_numpy(coeval: Run, folder: Path) -> None:
    (folder / "looking.py").write_text("import sys\ndef at(name): return name in sys.modules\n")
    done = coeval("map", "looking:at", "numpy", "rich", "looking", "--engine", "inline:")
    assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == [False, False, True], done.stderr
