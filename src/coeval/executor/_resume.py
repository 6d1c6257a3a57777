"""
Calls whose results are kept in a run folder, so that a run that died goes on where it stopped.

A result is in the folder's ledger before its future is done, so whatever a killed program has shown of a result, the
resumed one finds it there. Items are matched by function, its source, index and input (`recording/_ledger.py`).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coeval.engines._payload import dump, load
from coeval.executor._call import CallFuture
from coeval.executor._functions import function_name
from coeval.recording import Ledger, Work

if TYPE_CHECKING:
    from coeval.executor._executor import Executor


class KeptCalls:
    """
    Submits the items of one map; those that the ledger has are done at once.

    Args:
        executor: runs the others.
        function: what is called.
        folder: a run folder that exists.
        trust_changes: take results of other source or for other inputs as well.

    Raises:
        CannotResume: the folder's results are of another function or of other source.
    """

    def __init__(
        self, executor: Executor, function: Callable[..., Any], folder: Path, *, trust_changes: bool = False
    ) -> None:
        self._executor = executor
        self._function = function
        work = Work(function_name(function), source_digest(function))
        self._ledger = Ledger(folder, work, trust_changes=trust_changes)
        self.kept_before = self._ledger.kept_before

    def submit(self, index: int, args: tuple[Any, ...], *, name: str = "") -> Future[Any]:
        """
        Submit one item, or give its result of before.

        Args:
            index: of the item in its map.
            args: its arguments.
            name: names the call for people.

        Raises:
            CannotResume: the item was finished with other input.
        """
        try:
            given = dump(args)
        except Exception:  # it cannot be sent either; submit says how
            return self._executor.submit(self._function, *args)
        kept = self._ledger.find(index, given)
        if kept is not None:
            future = CallFuture()
            future.set_running_or_notify_cancel()
            future.set_result(load(kept))
            return future
        executor = self._executor.options(name=name) if name else self._executor
        return executor._submit_chunk(
            self._function, [(args, {})], keep=lambda result: self._ledger.keep(index, given, result)
        )[0]

    def close(self) -> None:
        """Write the ledger through to the disk."""
        self._ledger.close()

    def closing(self, results: Iterator[Any]) -> Generator[Any, None, None]:
        """The same results; the ledger is closed when they end or are given up."""
        try:
            yield from results
        finally:
            self.close()


def source_digest(function: Callable[..., Any]) -> str:
    """Hex SHA-256 of a function's source; of its pickle where it has none, as with built-in functions."""
    try:
        source = inspect.getsource(inspect.unwrap(function)).encode()
    except (OSError, TypeError):
        source = dump(function)
    return sha256(source).hexdigest()


def begin_or_resume(path: str | os.PathLike[str], command: list[str], *, resume: bool) -> Path:
    """
    Make a run folder, or take one that is there if that is wanted.

    Raises:
        RunExists: something is there, and `resume` is not wanted.
        NotARun: what is there is no run.
    """
    from coeval.recording import RunFolder

    folder = Path(path)
    if resume and folder.is_dir() and any(folder.iterdir()):
        return RunFolder.reopen(folder).path
    return RunFolder.create(folder, command=command).path
