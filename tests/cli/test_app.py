"""What holds for every verb of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
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
    assert done.returncode == 2 and "No such command 'mpa': is map meant?" in done.stderr


def test_the_console_script_is_the_same_command() -> None:
    script = Path(sys.executable).with_name("coeval")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"coeval {__version__}\n"


def test_the_list_of_verbs_says_what_their_help_begins_with(coeval: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    helps = {name: coeval(name, "--help").stdout.split("\n\n")[1] for name in VERBS}
    assert {name: " ".join(text.split()) for name, text in helps.items() if name != "query"} == {
        name: verb.said for name, verb in VERBS.items() if name != "query"
    }
    assert helps["query"].strip().startswith(VERBS["query"].said)


HEAVY = ("numpy", "pyarrow", "duckdb", "pandas", "rich")


def imported_by(*arguments: str, of: Sequence[str]) -> list[str]:
    """Which of these modules are there when a command ends."""
    code = f"""
import sys
from coeval.cli._app import make_app
try:
    make_app().main({list(arguments)!r}, "coeval")
finally:
    print([m for m in {list(of)!r} if m in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return list(json.loads(done.stderr.splitlines()[-1].replace("'", '"')))


@pytest.mark.parametrize("verb", [[], ["map"], ["run"], ["merge"], ["timeline"], ["query"], ["join"], ["export"]])
def test_help_waits_for_nothing_heavy(verb: list[str]) -> None:
    assert imported_by(*verb, "--help", of=HEAVY) == []


def test_the_list_of_verbs_imports_none_of_them() -> None:
    assert imported_by("--help", of=[verb.module for verb in VERBS.values()]) == []


@pytest.mark.parametrize("verb", ["map", "run"])
def test_verbs_that_run_something_wait_neither_for_numpy_nor_for_what_other_verbs_need(verb: str) -> None:
    unwanted = (*HEAVY, "coeval.executor", "coeval.alignment", "coeval.timeline")
    assert imported_by(verb, "--help", of=unwanted) == []


def test_what_looks_at_a_timeline_waits_for_no_pandas(coeval: Run, folder: Path) -> None:
    (folder / "web.log").write_text("2026-11-05T12:34:56Z hello\n")
    done = coeval("merge", "web.log", "--trust-clocks", "1ms", "-o", "all.parquet")
    assert done.returncode == 0, done.stderr
    for command in (
        ["timeline", "all.parquet"],
        ["query", "from timeline", "all.parquet", "--to", "jsonl"],
        ["join", "all.parquet", "all.parquet", "--within", "1ms", "-o", "pairs.parquet"],
        ["export", "all.parquet", "--to", "perfetto"],
    ):
        assert imported_by(*command, of=["pandas"]) == []


def test_a_map_never_imports_numpy(coeval: Run, folder: Path) -> None:
    (folder / "looking.py").write_text("import sys\ndef at(name): return name in sys.modules\n")
    done = coeval("map", "looking:at", "numpy", "rich", "looking", "--engine", "inline:")
    assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == [False, False, True], done.stderr
