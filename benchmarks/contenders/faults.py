"""The calls of the fault storm. Each takes its number and gives (number, pid, size), or does what its name says."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from pickle import PickleBuffer
from typing import Any, NoReturn

Answer = tuple[int, int, int]

# Larger than what any pool would send inside a message.
BLOCK_BYTES = 2_000_000


class Block:
    """So many bytes that pickle hands out of band."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, _: object) -> tuple[Any, ...]:
        return Block, (PickleBuffer(self.data),)


class CannotBeSent:
    def __reduce__(self) -> NoReturn:
        raise TypeError("cannot be pickled")


class CannotBeRebuilt:
    """Pickles, and fails where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ("cannot be unpickled",)


def _fail(message: str) -> NoReturn:
    raise ValueError(message)


class BadError(Exception):
    """An exception that pickles, and whose class does not take what it was pickled with."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)


def fine(number: int, _: object = None) -> Answer:
    return number, os.getpid(), 0


def slow(number: int) -> Answer:
    time.sleep(0.02)
    return fine(number)


def raises(number: int) -> NoReturn:
    raise LookupError(number)


def kills_itself(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfaults(_: int) -> None:
    import ctypes

    ctypes.string_at(0)


def leaves(_: int) -> NoReturn:
    os._exit(3)


def exits(number: int) -> NoReturn:
    sys.exit(number)


def overruns(number: int) -> Answer:
    time.sleep(600)
    return fine(number)


def stops_itself(number: int) -> Answer:
    os.kill(os.getpid(), signal.SIGSTOP)
    return fine(number)


def returns_poison(_: int) -> object:
    return threading.Lock()


def returns_bomb(_: int) -> object:
    return CannotBeRebuilt()


def raises_poison(number: int) -> NoReturn:
    raise BadError(number, 0)


def takes_block(number: int, block: Block) -> Answer:
    return number, os.getpid(), len(block.data) if block.data[-1] == number % 251 else -1


def gives_block(number: int) -> tuple[Answer, Block]:
    return (number, os.getpid(), BLOCK_BYTES), new_block(number)


def gives_block_in_need(number: int) -> tuple[Answer, Block]:
    """As `gives_block`, in a worker that from now on has no memory for files, which is what segments are."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return gives_block(number)


def new_block(number: int) -> Block:
    data = bytearray(BLOCK_BYTES)
    data[-1] = number % 251
    return Block(data)
