"""
Launching interpreters: a process that runs this interpreter as the caller runs it, and the fork server in particular.

It is imported before anything else of the pool, so that the server boots while the caller goes on importing. Therefore
it imports nothing that the interpreter has not got already but small C modules.

posix_spawn copies no memory and runs no code of ours between fork and exec, so it is safe and quick with any number of
threads in this process and with any amount of memory.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys

from coeval.engines._this_core import move_off_this_core
from coeval.engines.local._channel import memory_file, raised, raised_socket

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

ENTRY = "coeval.engines.local._worker:work"

# What the new interpreter is told arrives in a file in memory, whose descriptor is its one argument. Everything is
# imported from where the caller would import it. The site module runs as in the caller: it brings the hooks by which
# editable installs are found, `exit`, and the prefix of a virtual environment.
_BOOT = """\
import marshal, sys
with open(int(sys.argv[1]), "rb") as file: state = marshal.load(file)
sys.path[:], sys.argv[:] = state["path"], state["argv"]
__import__(state["main"], fromlist=("main",)).main(state)
"""


class LaunchedServer:
    """
    A fork server that was just started, and boots.

    Attributes:
        pid, pidfd: its process.
        channel: where it takes requests and gives answers (see `_channel.py`).
        lifeline: the write end that keeps it and its workers alive; no forked child of the caller keeps it.
        state: what it was told.
        surroundings: what its workers find unless a request says otherwise.
    """

    def __init__(self, preload: Sequence[str] = (), *, workers_max: int | None = None, entry: str = ENTRY) -> None:
        """
        Raises:
            OSError: there are no descriptors, no memory or no processes.
        """
        with _Undo() as undo:
            theirs, ours = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            with _Undo() as at_once:
                theirs, ours = at_once.socket(raised_socket(theirs)), undo.socket(raised_socket(ours))
                lifeline_read, lifeline = pipe_above_standard_streams()
                at_once.descriptor(lifeline_read)
                undo.descriptor(lifeline)
                self.surroundings = read_surroundings()
                self.state: dict[str, Any] = {
                    "path": self.surroundings["path"],
                    "argv": self.surroundings["argv"],
                    "main": "coeval.engines.local._server",
                    "entry": entry,
                    "preload": list(preload),
                    "workers_max": workers_max,
                    "channel": theirs.fileno(),
                    "lifeline": lifeline_read,
                }
                self.pid, self.pidfd = launch(self.state, (theirs.fileno(), lifeline_read), os.environ)
                self.channel, self.lifeline = ours, lifeline
            undo.forget()
        _unadopted.append(self)

    def adopt(self) -> None:
        """Somebody else sees from now on to what a forked child must close."""
        _unadopted.remove(self)

    def abandon(self) -> None:
        """In a forked child, which must not keep the server alive: close what is the parent's."""
        self.channel.close()
        os.close(self.pidfd)
        os.close(self.lifeline)


# Launched, and not yet in the hands of a starter.
_unadopted: list[LaunchedServer] = []


def _after_fork_in_child() -> None:
    for server in _unadopted:
        server.abandon()
    _unadopted.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def launch(state: Mapping[str, Any], descriptors: Sequence[int], environment: Mapping[str, str]) -> tuple[int, int]:
    """
    Start an interpreter that imports `state["main"]` and calls its `main(state)`, in a process group of its own.

    Args:
        state: with `path` and `argv`; plain values only.
        descriptors: it gets these under the same numbers, and the standard streams; each is above 2.

    Returns:
        Its process id and its pidfd.

    Raises:
        OSError: there are no descriptors, no memory or no processes; or this interpreter is not to be found.
    """
    if not sys.executable:
        raise FileNotFoundError(
            "sys.executable is empty, so no other interpreter can be started; set it to a Python's path"
        )
    told = memory_file(marshal.dumps(dict(state)))
    try:
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2) if not is_stream(fd)]
        # A descriptor that is put on itself stays open in the new process, and in no other that starts meanwhile.
        actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (*descriptors, told)]
        pid = os.posix_spawn(
            sys.executable,
            interpreter_command(told),
            environment,
            file_actions=actions,
            setpgroup=0,
            setsigmask=(),
        )
    finally:
        os.close(told)
    try:
        # It begins on this thread's core, and where the others have halted (virtual machines) or are busy the kernel
        # leaves both there for a while: what the caller does meanwhile, which is to import, then takes twice as long.
        move_off_this_core(pid)
        return pid, raised(os.pidfd_open(pid))
    except BaseException:
        os.kill(pid, 9)
        try:  # noqa: SIM105  # `contextlib` is not free
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # somebody else reaped it
        raise


def interpreter_command(told: int) -> list[str]:
    """The command line of an interpreter like this one that reads its state from this descriptor."""
    return [sys.executable, *interpreter_flags(), "-c", _BOOT, str(told)]


def interpreter_flags() -> list[str]:
    """Options that make another interpreter run as this one does; as `multiprocessing` does it, without its imports."""
    flags = sys.flags
    letters = {"d": flags.debug, "B": flags.dont_write_bytecode, "S": flags.no_site, "v": flags.verbose}
    letters |= {"b": flags.bytes_warning, "q": flags.quiet, "O": flags.optimize, "I": flags.isolated}
    if not flags.isolated:
        letters |= {"E": flags.ignore_environment, "s": flags.no_user_site, "P": flags.safe_path}
    options = [f"-{letter * int(count)}" for letter, count in letters.items() if count]
    options += [f"-W{option}" for option in sys.warnoptions]
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    return options


def read_surroundings() -> dict[str, Any]:
    """What a worker finds as the caller has it: `path`, `argv`, `cwd` (None: it is gone), `umask`, `environment`."""
    try:
        cwd = os.getcwd()  # noqa: PTH109  # `pathlib` is not free
    except OSError:
        cwd = None
    return {
        "path": [place for place in sys.path if isinstance(place, str)],
        "argv": [argument for argument in getattr(sys, "argv", ()) if isinstance(argument, str)],
        "cwd": cwd,
        "umask": _read_umask(),
        "environment": dict(os.environ),
    }


def _read_umask() -> int | None:
    # os.umask() can only be read by setting it, for all threads.
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            _, found, rest = file.read(512).partition(b"\nUmask:")
        return int(rest.split(None, 1)[0], 8) if found else None
    except OSError:
        return None


def is_stream(fd: int) -> bool:
    """
    Does this program print to this descriptor, 1 or 2? One that was closed when the program began is any other file of
    the program's by now, into which nobody's `print` may go.
    """
    return (sys.__stdout__ if fd == 1 else sys.__stderr__) is not None and is_open(fd)


def is_open(fd: int) -> bool:
    """Is there a file behind this descriptor?"""
    try:
        os.get_inheritable(fd)
    except OSError:
        return False
    return True


def pipe_above_standard_streams() -> tuple[int, int]:
    """The read and the write end of a pipe, none of which has the number of a standard stream."""
    read, write = os.pipe()
    try:
        read = raised(read)
    except BaseException:
        os.close(write)
        raise
    try:
        return read, raised(write)
    except BaseException:
        os.close(read)
        raise


class _Undo:
    """What to close when something goes wrong on the way; `contextlib` is not free."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []

    def socket(self, channel: _socket.socket) -> _socket.socket:
        self._steps.append(channel.close)
        return channel

    def descriptor(self, fd: int) -> None:
        self._steps.append(lambda: os.close(fd))

    def forget(self) -> None:
        self._steps.clear()

    def __enter__(self) -> _Undo:
        return self

    def __exit__(self, *_: object) -> None:
        for step in reversed(self._steps):
            step()
