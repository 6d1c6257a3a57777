"""
The run folder: one directory that holds one run, and what is written into it before any row.

    run/                0700
      run.json          what this is, who wrote it, when; written once, all or nothing
      0001.spool        rows of the process that made the run
      0002.spool        rows of another process that recorded into it, such as a forked child with an executor

Anything else in it is not ours and is left alone.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import threading
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, cast

from coeval._version import __version__
from coeval.clocks import SYSTEM_CLOCK, Clock
from coeval.errors import NewerFormat, NotARun, RecordingError, RunExists
from coeval.recording._capture import add_recorder, remove_recorder
from coeval.recording._driver import driver_clock_row, driver_event_row, driver_host_row, driver_process_row
from coeval.recording._event import Event
from coeval.recording._rows import FORMAT
from coeval.recording._spool import SpoolWriter

RUN_FILE = "run.json"
SPOOL_SUFFIX = ".spool"


class RunDescription(TypedDict):
    """
    What `run.json` says.

    Attributes:
        format: the recording's version.
        coeval: version of the coeval that wrote it.
        run: the run's id, 32 hex digits.
        command: the command line that made it.
        host, python: where it was made, and the version of Python.
        started_realtime_ns: when it was made, by that host's wall clock; for people, never for reasoning.
    """

    format: int
    coeval: str
    run: str
    command: list[str]
    host: str
    python: str
    started_realtime_ns: int


class RunFolder:
    """
    A folder that a run is recorded into. Several executors of one process share it; safe from any thread.

    Attributes:
        path: the folder.
        id: the run's id, 32 hex digits.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.id = run_id
        self._executors = itertools.count()
        self._processes = itertools.count(1)
        self._lock = threading.RLock()
        self._spool: SpoolWriter | None = None
        self._listener_count = 0
        _folders.add(self)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, command: Sequence[str], clock: Clock = SYSTEM_CLOCK) -> RunFolder:
        """
        Make a new run folder, or make one of an empty folder. Only its owner may enter it.

        Args:
            command: the command line, kept for people.
            clock: says when.

        Raises:
            RunExists: something is there already; it is left alone.
            OSError: the folder cannot be made or written.
        """
        folder = Path(path)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise RunExists(
                    f"{folder} is a file; a run wants a new or an empty folder. Give another path."
                ) from None
            _refuse_if_used(folder, ours=0)
            folder.chmod(0o700)
        run_id = uuid.uuid4().hex
        description = RunDescription(
            format=FORMAT,
            coeval=__version__,
            run=run_id,
            command=list(command),
            host=platform.node(),
            python=platform.python_version(),
            started_realtime_ns=clock.snapshot().realtime_ns,
        )
        _write_description(folder, description)
        return cls(folder, run_id)

    @classmethod
    def reopen(cls, path: str | os.PathLike[str]) -> RunFolder:
        """
        Record into a run folder that is there, behind what it holds.

        Raises:
            NotARun, NewerFormat, RecordingError: it cannot be one of ours.
        """
        folder = Path(path)
        return cls(folder, read_description(folder)["run"])

    def next_executor(self) -> int:
        """Number an executor of this process, from 0."""
        return next(self._executors)

    def next_process(self) -> int:
        """Number a worker in this process's spool, from 1; the process itself is 0."""
        return next(self._processes)

    def spool(self, clock: Clock = SYSTEM_CLOCK) -> SpoolWriter:
        """
        This process's spool. At its first use it is opened, and its first rows introduce this process and its clocks.

        Args:
            clock: what this process stamps with; that of the first use is introduced.
        """
        with self._lock:
            if self._spool is None:
                self._spool = _open_spool(self.path)
                self._spool.append(driver_process_row(clock))
                self._spool.append(driver_host_row(clock))
                self._spool.append(driver_clock_row(clock))
            return self._spool

    def listen(self, clock: Clock = SYSTEM_CLOCK) -> None:
        """Record marks and spans that this process makes outside of any call, until as many `stop_listening`."""
        self.spool(clock)
        with self._lock:
            self._listener_count += 1
            if self._listener_count == 1:
                add_recorder(self.event)

    def stop_listening(self) -> None:
        """Undo one `listen`; more of them than there were do nothing."""
        with self._lock:
            if self._listener_count == 1:
                remove_recorder(self.event)
            self._listener_count = max(0, self._listener_count - 1)

    def event(self, event: Event) -> None:
        """Write down what happened in this process outside of any call."""
        self.spool().append(driver_event_row(event))

    def close(self) -> None:
        """Write everything that waits, through to the disk, and let go of thread and file. Safe to call twice."""
        with self._lock:
            if self._listener_count:
                remove_recorder(self.event)
            spool, self._listener_count = self._spool, 0
        if spool is not None:
            spool.rest(sync=True)

    def _forget_in_forked_child(self) -> None:
        # A child that records has a spool of its own.
        self._lock = threading.RLock()
        self._spool = None
        self._listener_count = 0


# run.json -------------------------------------------------------------------------------------------------------------


def read_description(folder: Path) -> RunDescription:
    """
    Read what a folder says of itself.

    Raises:
        NotARun: it is none, or not complete.
        NewerFormat: a later coeval wrote it.
        RecordingError: it cannot be read.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise NotARun(f"{folder} {what}; expected a run folder, as `coeval run` or Executor(run=...) makes them.")
    file = folder / RUN_FILE
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        count = sum(1 for _ in folder.iterdir())
        held = "it is empty" if count == 0 else f"it has no {RUN_FILE} among its {_entries(count)}"
        raise NotARun(f"{folder} is not a run folder: {held}. Give a folder that `coeval run` or run= made.") from None
    except OSError as error:
        raise RecordingError(f"cannot read {file}: {error.strerror} (errno {error.errno}).") from error
    try:
        description = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotARun(
            f"{file} is not JSON ({error}); expected the description of a run. Was it edited or cut?"
        ) from None
    return _checked(file, description)


def _checked(file: Path, description: object) -> RunDescription:
    if not isinstance(description, dict):
        raise NotARun(f"{file} holds a {type(description).__name__}; expected the description of a run, a JSON object.")
    version = description.get("format")
    if type(version) is int and version > FORMAT:
        raise NewerFormat(
            f"{file.parent} was written in format {version} by coeval {description.get('coeval', 'unknown')}; this "
            f"coeval {__version__} reads formats up to {FORMAT}. Upgrade coeval to open it."
        )
    kinds = RunDescription.__annotations__
    wrong = [name for name in kinds if not _is_of_kind(name, description.get(name))]
    if wrong:
        raise NotARun(
            f"{file} lacks {', '.join(wrong)} (or has it of a wrong type); expected the description of a run. "
            f"Was it edited or written by another program?"
        )
    return cast("RunDescription", {name: description[name] for name in kinds})


def _is_of_kind(name: str, value: object) -> bool:
    if name in ("format", "started_realtime_ns"):
        return type(value) is int and value > 0
    if name == "command":
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    return isinstance(value, str)


def _write_description(folder: Path, description: RunDescription) -> None:
    partial = folder / f"{RUN_FILE}.partial"
    try:
        file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise RunExists(f"{folder} is being made a run by another process. Give another path.") from None
    try:
        with open(file, "wb") as stream:
            stream.write(json.dumps(description, indent=2).encode() + b"\n")
        # Two processes may both have found the folder empty; the second one sees here what the first one made.
        _refuse_if_used(folder, ours=1)
        partial.replace(folder / RUN_FILE)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _refuse_if_used(folder: Path, *, ours: int) -> None:
    count = sum(1 for _ in folder.iterdir()) - ours
    if count:
        what = f"holds a run already ({_entries(count)})" if (folder / RUN_FILE).exists() else f"has {_entries(count)}"
        raise RunExists(f"{folder} {what}; a run wants a new or an empty folder. Give another path, or move this away.")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _open_spool(folder: Path) -> SpoolWriter:
    for number in itertools.count(1):
        try:
            return SpoolWriter(folder / f"{number:04}{SPOOL_SUFFIX}")
        except FileExistsError:  # another process has it
            continue
    raise AssertionError("itertools.count ended")


_folders: weakref.WeakSet[RunFolder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for folder in list(_folders):
        folder._forget_in_forked_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
