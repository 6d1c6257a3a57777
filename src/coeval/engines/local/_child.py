"""
From a new process to a worker: what is done between its first line and the worker's entry point, by every starter.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import os
import sys

from coeval.engines.local._lifeline import hold

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn


def changes_between(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as it was in the caller's surroundings; of the environment only what differs (None: unset)."""
    changes = {name: value for name, value in now.items() if name != "environment" and value != before[name]}
    was, is_now = before["environment"], now["environment"]
    if was != is_now:
        changed = {name: value for name, value in is_now.items() if was.get(name) != value}
        changes["environment"] = {**dict.fromkeys(was.keys() - is_now.keys()), **changed}
    return changes


def take_over(changes: Mapping[str, Any]) -> None:
    """
    Make the surroundings those of the caller.

    Raises:
        OSError: the working directory cannot be entered.
    """
    sys.path[:] = changes.get("path", sys.path)
    sys.argv[:] = changes.get("argv", sys.argv)
    for name, value in changes.get("environment", {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if changes.get("cwd") is not None:
        os.chdir(changes["cwd"])
    if changes.get("umask") is not None:
        os.umask(changes["umask"])


def limit_native_threads(environment: Mapping[str, str], workers_max: int | None, cores: int) -> dict[str, str]:
    """
    Variables that keep numerical libraries from starting more threads in each worker than there are cores for it.

    Empty where the user set any of them: somebody thought about it.
    """
    if any(name in environment for name in NATIVE_THREADS):
        return {}
    return dict.fromkeys(NATIVE_THREADS, str(max(1, cores // (workers_max or cores))))


NATIVE_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
)


def keep_only(descriptors: Sequence[int]) -> None:
    """
    After exec: close what came from the caller by accident, and let nothing that this process executes inherit ours.

    What the interpreter itself has opened by now is told by its close-on-exec flag, which no inherited one has.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # `pathlib` is not free
        fd = int(name)
        if fd in descriptors:
            os.set_inheritable(fd, False)
        elif fd > 2 and _is_inherited(fd):
            os.close(fd)


def _is_inherited(fd: int) -> bool:
    try:
        return not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    except OSError:  # it was that of the listing
        return False


def reset_signals() -> None:
    """Every signal does what it does in a program that set none, and none is blocked."""
    import _signal  # type: ignore[import-not-found]  # `signal` brings `enum`

    _signal.set_wakeup_fd(-1)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:
        if _signal.getsignal(number) is not _signal.SIG_DFL:
            _signal.signal(number, _signal.SIG_DFL)
    # As every interpreter begins: a closed pipe is an exception, not the end.
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_IGN)


def be_worker(entry: str, descriptors: Sequence[int], cell: int, lifeline: int, changes: Mapping[str, Any]) -> NoReturn:
    """
    Run the worker's entry point in this new process, then end it as a program ends.

    Args:
        entry: "module:function", called with the descriptors, the cell and the armed lifeline.
        lifeline: the pool's, as inherited.
        changes: see `changes_between`.
    """
    code = 1
    try:
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        armed = hold(lifeline)
        os.close(lifeline)
        reset_signals()
        take_over(changes)
        _draw_anew()
        gc.enable()
        module, _, function = entry.partition(":")
        work = getattr(__import__(module, fromlist=(function,)), function)
        work(*descriptors, cell, armed)
        code = 0
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else int(request.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    _leave(code)


def _draw_anew() -> None:
    # `random` seeds itself anew in a fork; numpy's global generator would give every worker the same numbers.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        # As much entropy as without an argument, in a tenth of the time.
        numpy_random.seed([*memoryview(os.urandom(16)).cast("I")])


def _leave(code: int) -> NoReturn:
    """Not by finalizing the interpreter, which would touch, and so copy, every page that the workers share."""
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()  # threads that a call left and that are no daemons
        atexit._run_exitfuncs()
    finally:
        flush_standard_streams()
        os._exit(code)


def flush_standard_streams() -> None:
    """What was printed before belongs to whoever printed it."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105  # `contextlib` is not free
            stream.flush()
        except Exception:
            pass  # closed, or replaced by anything
