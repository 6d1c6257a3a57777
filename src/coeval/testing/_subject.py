"""What the chapters of the contract share: the engine under test, and how long to be patient with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coeval.testing import _calls as calls
from coeval.testing._gate import Gate

if TYPE_CHECKING:
    from coeval.executor import Executor


class Subject:
    """
    The engine under test.

    Attributes:
        engine: its URL.
        workers: how many calls it runs at once.
        patience_s: how long a behaviour waits for what may never come. Where calls run in the caller's thread some
            never comes, and shorter patience makes a shorter run.
    """

    engine: ClassVar[str] = ""
    workers: ClassVar[int] = 2
    patience_s: ClassVar[float] = 30.0

    def executor(self, **options: Any) -> Executor:
        """Make a new executor over the engine; `options` are those of `Executor`."""
        from coeval.executor import Executor

        assert self.engine, f"{type(self).__name__} names no engine: set `engine` to a URL, or override `executor`"
        return Executor(self.engine, **options)

    @property
    def program_patience_s(self) -> float:
        """The same for programs, which need a moment to start."""
        return max(self.patience_s, 20)

    def executor_expression(self) -> str:
        """An expression that makes such an executor in a script of its own."""
        return f"coeval.executor.Executor({self.engine!r})"

    def gate(self, folder: Path, name: str = "gate", patience_s: float | None = None) -> Gate:
        """A new gate, shut."""
        path = folder / name
        path.mkdir()
        return Gate(path, self.patience_s if patience_s is None else patience_s)

    def occupy(self, executor: Executor, gate: Gate) -> list[Future[Any]]:
        """Keep every worker busy until the gate opens; returns when they all are."""
        futures = [executor.submit(calls.pass_gate, gate, number) for number in range(self.workers)]
        gate.wait_for_arrivals(self.workers)
        return futures

    def failure_among_others(self, executor: Executor, /, function: Any, *args: Any, **kwargs: Any) -> BaseException:
        """
        Run a call that fails, with calls around it that must not be touched.

        Returns:
            What its future raised.
        """
        before = [executor.submit(calls.square, number) for number in range(2 * self.workers)]
        failing = executor.submit(function, *args, **kwargs)
        after = [executor.submit(calls.square, number) for number in range(2 * self.workers)]
        error = failing.exception(self.patience_s)
        for futures in (before, after):
            assert [future.result(self.patience_s) for future in futures] == [n * n for n in range(2 * self.workers)]
        assert error is not None, f"{function} did not fail"
        return error

    def start_script(self, folder: Path, body: str) -> subprocess.Popen[str]:
        """
        Start a script as people write them: with its own `__main__`. In it, `make_executor()` gives an executor.

        Its standard output is a pipe; its errors go where ours go.
        """
        script = folder / "script.py"
        head = f"import coeval.executor\n\ndef make_executor():\n    return {self.executor_expression()}\n\n"
        script.write_text(head + textwrap.dedent(body))
        paths = [path for path in sys.path if path]
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(script)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run_script(self, folder: Path, body: str) -> str:
        """Run such a script to its end; it must end well. Returns what it printed."""
        with self.start_script(folder, body) as script:
            try:
                printed, _ = script.communicate(timeout=self.program_patience_s)
            except subprocess.TimeoutExpired:
                script.kill()
                raise
        assert script.returncode == 0, f"the script ended with {script.returncode}"
        return printed

    def check_gone(self, process: int) -> None:
        """A process that is none of our children has ended, or does so now."""
        try:
            pidfd = os.pidfd_open(process)
        except ProcessLookupError:
            return
        ended, _, _ = select.select([pidfd], [], [], min(self.patience_s, 5))
        os.close(pidfd)
        if not ended:
            os.kill(process, signal.SIGKILL)
        assert ended, f"process {process}, which a call started, lived on"
