"""What multiprocessing lets a process have at its start only reaches workers of ours, however they start."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from multiprocessing.context import assert_spawning, get_spawning_popen
from multiprocessing.process import current_process

import pytest

from coeval.standard._inheritance import Inherited, Pickled, Reopened, initializer_for


def load_elsewhere(pickled: Pickled, program: str) -> str:
    """Run a program in another process that has `value`, as a worker would get it."""
    key = bytes(current_process().authkey)
    start = f"import multiprocessing, pickle; multiprocessing.current_process().authkey = {key!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{start}value = pickle.loads({pickled.payload!r})\n{program}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_queue_reaches_every_process_that_loads_it() -> None:
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    pickled = Pickled(queue)
    for number in range(3):
        load_elsewhere(pickled, f"value.put({number})")
    assert [queue.get() for _ in range(3)] == [0, 1, 2]
    queue.close()


def test_a_shared_value_is_shared() -> None:
    value = multiprocessing.get_context("spawn").Value("i", 5)
    load_elsewhere(Pickled(value), "value.value += 2")
    assert value.value == 7


def test_a_lock_is_the_same_lock() -> None:
    lock = multiprocessing.get_context("spawn").Lock()
    program = "print(value.acquire(block=False))"
    with lock:
        assert load_elsewhere(Pickled(lock), program) == "False\n"
    assert load_elsewhere(Pickled(lock), program) == "True\n"


def test_what_cannot_be_named_is_copied() -> None:
    captured = 4
    assert load_elsewhere(Pickled(lambda: captured + 1), "print(value())") == "5\n"


def test_pickling_leaves_no_process_being_started() -> None:
    Pickled(1)
    with pytest.raises(ZeroDivisionError):
        Pickled(_Unpicklable())
    assert get_spawning_popen() is None
    with pytest.raises(RuntimeError, match="through inheritance"):
        assert_spawning(1)


class _Unpicklable:
    def __reduce__(self) -> str:
        raise ZeroDivisionError


def test_a_descriptor_whose_number_was_used_again_is_refused() -> None:
    read, write = os.pipe()
    reopened = Reopened(read)
    os.close(read)
    other, other_write = os.pipe()
    assert other == read
    with pytest.raises(OSError, match="not what was given"):
        reopened.detach()
    for fd in (write, other, other_write):
        os.close(fd)


def test_a_socket_is_refused_with_what_to_do_instead() -> None:
    with socket.socket() as some, pytest.raises(ValueError, match=r"is a socket; expected a pipe or a file.*'fork'"):
        Reopened(some.fileno())


def test_a_forked_process_finds_what_it_inherits_without_a_pickle() -> None:
    given = initializer_for("fork", _Unpicklable, (1,))
    assert isinstance(given, Inherited)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"same" if given() == (_Unpicklable, (1,)) else b"else")
        os._exit(0)
    assert os.read(read, 4) == b"same"
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    given.forget()
    given.forget()
    with pytest.raises(KeyError):
        given()
