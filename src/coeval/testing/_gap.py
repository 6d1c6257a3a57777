"""
A gap: a behaviour of the contract that an engine does not have, and why.

A gapped behaviour is still run, and expected to fail: on the day it works, its test fails and the gap has to go.
"""

from __future__ import annotations

import functools
import inspect
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import pytest

GapKind = Literal[
    "not yet",  # by us: it can be done, nobody has
    "not offered there",  # by what the engine stands on
    "never",  # it would make no sense there
]

# A behaviour that ends its process, run in a process of its own, may take this long.
OWN_PROCESS_S_MAX = 30

# Set in that process, so that it runs the behaviour itself.
_INSIDE = "COEVAL_CONTRACT_INSIDE"

B = TypeVar("B", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Gap:
    """
    Why an engine lacks a behaviour.

    Attributes:
        kind: who could change it.
        reason: one clause for people, such as "calls run in the caller's process".
    """

    kind: GapKind
    reason: str

    def __post_init__(self) -> None:
        if self.kind not in get_args(GapKind):
            raise ValueError(f"a gap's kind is {self.kind!r}; expected one of {', '.join(get_args(GapKind))}")
        if not self.reason:
            raise ValueError("a gap has no reason; say in one clause why the behaviour is missing")


def may_end_the_process(behaviour: B) -> B:
    """Mark a behaviour that, where calls share the caller's process, would end or spoil that process."""
    behaviour.may_end_the_process = True  # type: ignore[attr-defined]
    return behaviour


def expected_to_fail(behaviour: Callable[..., None], gap: Gap) -> Callable[..., None]:
    """Make the test of a gapped behaviour: it runs as ever, and passing is a failure."""
    apart = getattr(behaviour, "may_end_the_process", False) and _INSIDE not in os.environ
    gapped = _in_a_process_of_its_own(behaviour) if apart else _copy(behaviour)
    pytest.mark.xfail(strict=True, reason=f"{gap.kind}: {gap.reason}")(gapped)
    return gapped


def _copy(behaviour: Callable[..., None]) -> Callable[..., None]:
    # Marks are kept on the function; the contract's own must stay as it is.
    @functools.wraps(behaviour)
    def gapped(*args: Any, **kwargs: Any) -> None:
        behaviour(*args, **kwargs)

    return gapped


def _in_a_process_of_its_own(behaviour: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(behaviour)
    def gapped(self: Any, request: pytest.FixtureRequest, **parametrized: Any) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--runxfail", "--tb=short"]
        names = request.node.nodeid.partition("::")[2]
        command += [f"--rootdir={request.config.rootpath}", f"{request.node.path}::{names}"]
        code, report = _run_in_a_group_of_its_own(command, request.config.rootpath)
        if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
            pytest.exit(f"a behaviour could not be run in a process of its own:\n{report}", 3)
        assert code >= 0, f"the behaviour ended its process by {signal.Signals(-code).name}"
        assert code == 0, f"in a process of its own (exit code {code}):\n{report[-3000:]}"

    # The behaviour's fixtures are for the process that runs it; here they would start an engine for nothing.
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own, *others = inspect.signature(behaviour).parameters.values()
    kept = [parameter for parameter in others if parameter.name in _parametrized(behaviour)]
    gapped.__signature__ = inspect.Signature([own, request, *kept])  # type: ignore[attr-defined]
    return gapped


def _run_in_a_group_of_its_own(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command and end whatever it leaves behind; gives its exit code (negative: a signal's) and its output."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, _INSIDE: "1"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        pidfd = os.pidfd_open(process.pid)
        try:
            select.select([pidfd], [], [], OWN_PROCESS_S_MAX)
        finally:
            os.close(pidfd)
            # Not reaped yet, so the group is still this one.
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        output.seek(0)
        return code, output.read()


def _parametrized(behaviour: Callable[..., None]) -> set[str]:
    marks: list[pytest.Mark] = getattr(behaviour, "pytestmark", [])
    return {name.strip() for mark in marks if mark.name == "parametrize" for name in mark.args[0].split(",")}
