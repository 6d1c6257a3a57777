"""
Functions and classes that the contract's calls use. They are here because workers must be able to import them.

A worker imports this file, so it needs the standard library and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.recording import Attempt, attempt, mark, span
from coeval.testing._gate import Gate

# Shared objects -----------------------------------------------------------------------------------------------------


class Block:
    """
    Bytes that travel as those of an array do, beside the pickle.

    Attributes:
        view: the bytes.
        pickled_count: how often this very object was pickled.
    """

    def __init__(self, content: Any) -> None:
        self.view = memoryview(content)
        self.pickled_count = 0

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Block], tuple[pickle.PickleBuffer]]:
        self.pickled_count += 1
        return Block, (pickle.PickleBuffer(self.view),)


def first_bytes(*values: Any, **named: Any) -> list[int]:
    """Of each block in the arguments, in their order and at any depth, the first byte."""
    found: list[int] = []
    for value in (*values, *named.values()):
        if isinstance(value, Block):
            found.append(value.view[0])
        elif isinstance(value, list | tuple):
            found += first_bytes(*value)
        elif isinstance(value, dict):
            found += first_bytes(*value.values())
    return found


def first_bytes_behind_gate(gate: Gate, *values: Any) -> list[int]:
    gate.wait()
    return first_bytes(*values)


def write_into_block(block: Any) -> None:
    block.view[0] = 1


def die_with_block(block: Any) -> None:
    assert block.view[0] >= 0
    os.kill(os.getpid(), signal.SIGKILL)


def where_block_is(block: Any) -> tuple[int, int]:
    """Device and inode of the file that the bytes are mapped from."""
    import numpy as np

    address = np.frombuffer(block.view, "u1").ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, device, inode, *_ = line.split()
        first, _, end = span.partition("-")
        if int(first, 16) <= address < int(end, 16):
            major, _, minor = device.partition(":")
            return os.makedev(int(major, 16), int(minor, 16)), int(inode)
    raise AssertionError(f"address {address:x} is mapped nowhere")


def which_host() -> str:
    """Equal texts: one host, as its clock has it."""
    return clock_id(SYSTEM_CLOCK)


def where_block_is_on_which_host(block: Any) -> tuple[str, tuple[int, int]]:
    return which_host(), where_block_is(block)


# Plain work ---------------------------------------------------------------------------------------------------------


def echo(*args: Any, **kwargs: Any) -> Any:
    """Give back what came in."""
    return args, kwargs


def square(number: int) -> int:
    return number * number


def divide(number: float, by: float) -> float:
    return number / by


def pid(*_: object) -> int:
    """Where this ran."""
    return os.getpid()


def reverse(data: bytes) -> bytes:
    return data[::-1]


def append_and_sum(numbers: list[int]) -> int:
    """Change the argument, then use it."""
    numbers.append(1000)
    return sum(numbers)


def pass_gate(gate: Gate, value: Any = None) -> Any:
    """Wait at a gate, then give back the value."""
    gate.wait()
    return value


def fail_first_or_wait(number: int, gate: Gate) -> None:
    """Number 0 fails, the others wait at a gate."""
    if number == 0:
        raise LookupError("the first")
    gate.wait()


def touch(path: Path) -> None:
    """Leave a trace of having run."""
    path.touch()


class Scale:
    """Has a method to bind, and can be called itself."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def apply(self, number: int) -> int:
        return self.factor * number

    @classmethod
    def double(cls, number: int) -> int:
        return cls(2).apply(number)

    @staticmethod
    def triple(number: int) -> int:
        return 3 * number

    def __call__(self, number: int) -> int:
        return self.apply(number)


# Exceptions ---------------------------------------------------------------------------------------------------------


class TwoArguments(Exception):
    """
    Pickle calls it with its one `args`, so it cannot be rebuilt.

    Not even where somebody has taught pickle to do without that call, as Dask does in its processes.
    """

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.part = BreaksWhenRebuilt()


class Fatal(BaseException):
    """Not an `Exception`."""


class NoWords(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def raise_error(error: BaseException) -> NoReturn:
    raise error


def raise_noted() -> NoReturn:
    error = ValueError("noted")
    error.add_note("look at the third shelf")
    raise error


def raise_group() -> NoReturn:
    inner = KeyError("inner")
    inner.add_note("note of the inner one")
    raise ExceptionGroup("several", [inner, ExceptionGroup("deeper", [OSError(5, "input/output")])])


def raise_with_cause() -> NoReturn:
    try:
        raise LookupError("the first trouble")
    except LookupError as first:
        raise ValueError("the second trouble") from first


def raise_two_arguments() -> NoReturn:
    raise TwoArguments("this", "that")


def raise_with_lock() -> NoReturn:
    raise ValueError("holds a lock", threading.Lock())


def raise_no_words() -> NoReturn:
    raise NoWords


def recurse(depth: int) -> int:
    return recurse(depth + 1) + 1


# Ends ---------------------------------------------------------------------------------------------------------------


def exit_with(code: Any) -> NoReturn:
    """`sys.exit`."""
    sys.exit(code)


def exit_with_nothing_or(code: int) -> int:
    """`sys.exit`, unless the code is 0."""
    if code:
        sys.exit(code)
    return code


def end_process(code: int, trace: Path) -> NoReturn:
    """`os._exit`; leaves its process id first."""
    _leave_pid(trace)
    os._exit(code)


def end_by_signal(number: int, trace: Path) -> None:
    """Send a signal to this process; leaves its process id first."""
    _leave_pid(trace)
    os.kill(os.getpid(), number)
    threading.Event().wait(60)  # the kernel may deliver it a moment later


def end_at(number: int, fatal: int, folder: Path) -> int:
    """Square the number, but one number is fatal to the process. Leaves a trace of each one that began."""
    touch(folder / f"{number}-{os.getpid()}")
    if number == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait(60)
    return number * number


def leave_process_behind(trace: Path) -> int:
    """Start a process that would run for an hour, leave its process id."""
    child = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
    child.returncode = 0  # else its destructor warns that it still runs, which is the point
    _leave_text(trace, str(child.pid))
    return child.pid


def start_process_and_end(trace: Path) -> None:
    """Start a process that would run for an hour, leave its process id, and die."""
    leave_process_behind(trace)
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(60)


def start_process_and_spin(trace: Path) -> None:
    """Start a process that would run for an hour, leave its process id, and go on for ever."""
    leave_process_behind(trace)
    spin()


def fork_and_return(number: int, folder: Path) -> int:
    """Fork, and let the child return as well, as a `sys.exit` in it would. Each leaves a trace."""
    child = os.fork()
    touch(folder / f"{number}-{'parent' if child else 'child'}")
    if child:
        os.waitpid(child, 0)
    return number


def leave_process_group_and_spin() -> None:
    """Join the process group of the parent process, where nobody would look for a worker, and go on for ever."""
    os.setpgid(0, os.getpgid(os.getppid()))
    spin()


def halt() -> None:
    """Stop this process, until somebody lets it go on."""
    os.kill(os.getpid(), signal.SIGSTOP)
    spin()


def use_own_executor(numbers: list[int]) -> list[int]:
    """Run calls of its own on a pool of its own."""
    from coeval.executor import Executor

    with Executor("local:1") as executor:
        return list(executor.map(square, numbers))


def use_own_executor_and_end(trace: Path) -> None:
    """Leave the process id of a worker of a pool of its own, and die."""
    from coeval.executor import Executor

    executor = Executor("local:1")
    _leave_text(trace, str(executor.submit(pid).result()))
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(60)


def leave_thread_behind(gate: Gate) -> str:
    """Start a thread that waits at a gate and that Python would wait for."""
    threading.Thread(target=gate.wait, name="left-behind", daemon=False).start()
    return "returned"


def spin() -> None:
    """Go on for ever in Python code."""
    while True:
        pass


def spin_in_c(additions: int = 10**15) -> None:
    """Stay inside one C function, which never lets go of the interpreter; it adds some 100 million times a second."""
    sum(itertools.repeat(0, additions))


def fill_list(_: int = 0) -> None:
    """Take all the memory there is, in small pieces."""
    kept: list[list[int]] = []
    while True:
        kept.append([len(kept)] * 100)


def fill_array(size: int) -> int:
    """Take so many bytes inside C code; gives how many they are."""
    import numpy

    return int(numpy.ones(size, numpy.uint8).sum())


def give_bytes(size: int) -> bytes:
    """Give so many bytes, which have to be copied on their way home."""
    return bytes(size)


def fill_bytes(size: int) -> int:
    """Take so many bytes for a moment; gives how many they are."""
    return len(bytearray(size))


def fill_list_until(good: int, folder: Path) -> int:
    """Take all the memory there is before try number `good`."""
    number = count_try(folder)
    if number < good:
        fill_list()
    return number


_kept: list[bytearray] = []


def keep_bytes(size: int) -> int:
    """Leave the process so many bytes larger."""
    _kept[:] = [bytearray(size)]
    return os.getpid()


def act(deed: str) -> object:
    """Do one of several things that calls may do to their worker."""
    match deed:
        case "raise":
            raise LookupError(deed)
        case "exit":
            sys.exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait(60)
        case "spin":
            spin()
        case "lock":
            return threading.Lock()
    return deed


def spin_at(number: int, endless: int) -> int:
    """Square the number, but one number takes for ever."""
    if number == endless:
        spin()
    return number * number


# What cannot travel -------------------------------------------------------------------------------------------------


class BreaksWhenRebuilt:
    """Pickles well; raises where it is rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return raise_error, (ValueError("broken when rebuilt"),)


class KillsWhenRebuilt:
    """Pickles well; kills the process that rebuilds it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _kill_this_process, ()


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait(60)


class BreaksWhenPickled:
    """Cannot be pickled, and says why."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("not to be pickled")


def make(kind: type) -> Any:
    """Return a new object of a class."""
    return kind()


def make_deep(depth: int) -> list[Any]:
    """Return a list that is nested too deeply to be pickled."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


# Its surroundings ---------------------------------------------------------------------------------------------------


def close_standard_streams() -> str:
    """Close descriptors 0, 1 and 2."""
    for number in range(3):
        with contextlib.suppress(OSError):
            os.close(number)
    return "closed"


def close_every_descriptor() -> str:
    """Close all but the standard streams, those of the engine too."""
    os.closerange(3, 1024)
    return "closed"


class Unflushable:
    """Stands in for a stream, badly."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        raise RuntimeError("cannot be flushed")


def break_standard_streams() -> str:
    """Put something in the place of the standard streams that cannot do what they can."""
    sys.stdout = sys.stderr = Unflushable()
    return "broken"


def print_much(lines: int) -> int:
    """Print to both streams."""
    for number in range(lines):
        print("x" * 99, file=sys.stderr if number % 2 else sys.stdout)
    return lines


def change_surroundings(folder: Path) -> str:
    """Change directory and environment of the process."""
    os.chdir(folder)
    os.environ["COEVAL_CONTRACT_LEAK"] = "leaked"
    return str(Path.cwd())


# Tries --------------------------------------------------------------------------------------------------------------


def fail_until(good: int, folder: Path) -> Attempt | None:
    """Raise before try number `good`, then tell call and try as coeval sees them. Counts its tries in a folder."""
    if count_try(folder) < good:
        raise ConnectionError(f"try {len(list(folder.iterdir()))}")
    return attempt()


def exit_at_each_try(folder: Path) -> NoReturn:
    count_try(folder)
    sys.exit(3)


def die_until(good: int, folder: Path) -> int:
    """Kill the process before try number `good`."""
    number = count_try(folder)
    if number < good:
        _kill_this_process()
    return number


def spin_until(good: int, folder: Path) -> int:
    """Go on for ever before try number `good`."""
    number = count_try(folder)
    if number < good:
        spin()
    return number


def give_unsendable(folder: Path) -> object:
    count_try(folder)
    return threading.Lock()


def count_try(folder: Path) -> int:
    """Count one more try; the first is 1. Tries at one call never run at the same time."""
    number = len(list(folder.iterdir())) + 1
    (folder / str(number)).touch()
    return number


# What it tells ------------------------------------------------------------------------------------------------------


def tell(name: str) -> str:
    """Make a mark, a span around another mark, and two log records."""
    mark("reached", what=name)
    with span("stretch", what=name):
        mark("inside", what=name)
    logger = logging.getLogger("coeval.testing.calls")
    logger.warning("call %s warns", name, extra={"shelf": 3})
    try:
        raise LookupError(f"no {name}")
    except LookupError:
        logger.exception("call %s looked in vain", name)
    return name


def tell_and_end(name: str, trace: Path) -> NoReturn:
    tell(name)
    end_process(3, trace)


def tell_from_thread(name: str) -> None:
    """Make a mark in a thread that the call starts."""
    thread = threading.Thread(target=mark, args=("in a thread",), kwargs={"what": name})
    thread.start()
    thread.join()


def tell_and_fail(name: str) -> NoReturn:
    mark("reached", what=name)
    raise ValueError(name)


def where_am_i() -> Attempt | None:
    return attempt()


def _leave_pid(trace: Path) -> None:
    _leave_text(trace, str(os.getpid()))


def _leave_text(trace: Path, text: str) -> None:
    # Whoever looks for the file finds it whole.
    draft = trace.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(trace)
