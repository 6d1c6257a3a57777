"""
Calls whose results are kept in a run folder, so that a run that died goes on where it stopped.

A result is in the folder's ledger before its future is done, so whatever a killed program has shown of a result, the
resumed one finds it there. Items are matched by function, its source, index and input (`recording/_ledger.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any

from coeval.engines._payload import dump, load
from coeval.executor._call import CallFuture, CallOptions
from coeval.executor._functions import function_name
from coeval.executor._submission import Submission
from coeval.recording import Ledger, RunFolder, Work


class KeptCalls:
    """
    Submits the items of one map; those that the ledger has are done at once.

    Args:
        submission: takes the others.
        function: what is called.
        folder: a run folder that exists.
        options: of each call.
        trust_changes: take results of other source or for other inputs as well.

    Raises:
        CannotResume: the folder's results are of another function or of other source.
    """

    def __init__(
        self,
        submission: Submission,
        function: Callable[..., Any],
        folder: Path,
        options: CallOptions,
        *,
        trust_changes: bool = False,
    ) -> None:
        self._submission = submission
        self._prepared = submission.prepare(function)
        self._options = options
        work = Work(function_name(function), source_digest(function))
        self._ledger = Ledger(folder, work, trust_changes=trust_changes)

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
        options = self._options.named(name) if name else self._options
        try:
            given = dump(args)
        except Exception:  # it cannot be sent either, and nothing of it can have been kept
            return self._submission.submit(self._prepared, args, {}, options)
        kept = self._ledger.find(index, given)
        if kept is not None and (done := _done(kept)) is not None:
            if options.seed is not None:
                options.seed.skip()
            return done
        return self._submission.submit(
            self._prepared, args, {}, options, keep=lambda result: self._ledger.keep(index, given, result)
        )

    def close(self) -> None:
        """Write the ledger through to the disk."""
        self._ledger.close()


def _done(kept: bytes) -> Future[Any] | None:
    """A result of before; None if it cannot be rebuilt any more (its class changed), so that its item runs again."""
    try:
        value = load(kept)
    except Exception:
        return None
    done = CallFuture()
    done.set_running_or_notify_cancel()
    done.set_result(value)
    return done


def source_digest(function: Callable[..., Any]) -> str:
    """Hex SHA-256 of a function's source; of its pickle where it has none, as with built-in functions."""
    import inspect  # 10 ms that only a resumable map needs

    try:
        source = inspect.getsource(inspect.unwrap(function)).encode()
    except (OSError, TypeError):
        source = dump(function)
    return sha256(source).hexdigest()


def begin_or_resume(path: str | os.PathLike[str], command: list[str], *, resume: bool) -> RunFolder:
    """
    Make a run folder, or take one that is there if that is wanted.

    Raises:
        RunExists: something is there, and `resume` is not wanted.
        NotARun: what is there is no run.
    """
    folder = Path(path)
    if resume and folder.is_dir() and any(folder.iterdir()):
        return RunFolder.reopen(folder)
    return RunFolder.create(folder, command=command)
