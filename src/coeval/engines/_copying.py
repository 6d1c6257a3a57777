"""
Copying what is larger than the processor's caches.

Two threads take pieces of it in turn, so that whichever gets a core later, or a slower one, takes fewer. Each piece is
written past the caches where that can be had: an ordinary store first reads the line that it is about to replace, so a
copy moves three times its bytes, and with streaming stores twice. Nothing that is this large would be in the caches
still when somebody reads it.

The C library knows such stores, but begins with them at a size that it reckons from what the processor says of its
caches, and on a virtual machine that may be hundreds of megabytes. No Python library offers them either. So here are
sixty bytes of machine code for the one kind of processor that needs them: others see by themselves that a whole line
is written. Where code may not be mapped (a hardened kernel), numpy copies.
"""

from __future__ import annotations

import _thread
import mmap
import os
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Move: TypeAlias = Callable[[int, int], object]

# The interpreter lets other threads run between two pieces.
# Shorter: the threads wait for each other more often. Longer: one of them ends later than the other.
PIECE_BYTES = 1 << 21
# What is longer is copied by two threads: one core alone does not move all that memory can.
# Shorter: a thread's start, 0.1 ms, shows, and who reads it next finds less of it in the caches.
LARGE_BYTES_MIN = 1 << 24

_LINE_BYTES = 64

# System V calling convention: rdi is where to, aligned to 16 bytes; rsi where from; rdx how many, a multiple of 64.
_STREAM = bytes.fromhex(
    "f30f1efa"  #         endbr64
    "f30f6f06"  # again:  movdqu   xmm0, [rsi]
    "f30f6f4e10"  #       movdqu   xmm1, [rsi+16]
    "f30f6f5620"  #       movdqu   xmm2, [rsi+32]
    "f30f6f5e30"  #       movdqu   xmm3, [rsi+48]
    "660fe707"  #         movntdq  [rdi], xmm0
    "660fe74f10"  #       movntdq  [rdi+16], xmm1
    "660fe75720"  #       movntdq  [rdi+32], xmm2
    "660fe75f30"  #       movntdq  [rdi+48], xmm3
    "4883c640"  #         add      rsi, 64
    "4883c740"  #         add      rdi, 64
    "4883ea40"  #         sub      rdx, 64
    "75cc"  #             jnz      again
    "0faef8"  #           sfence
    "c3"  #               ret
)


def copy(target: memoryview, source: memoryview) -> None:
    """
    Copy bytes; both are flat and equally long.

    Other threads of the interpreter go on meanwhile, at the latest after each piece.
    """
    numpy: Any = sys.modules.get("numpy")  # whoever has large arrays has it
    if len(source) < LARGE_BYTES_MIN or not hasattr(numpy, "copyto"):
        for begin in range(0, len(source), PIECE_BYTES):
            target[begin : begin + PIECE_BYTES] = source[begin : begin + PIECE_BYTES]
        return
    into, out = numpy.frombuffer(target, "u1"), numpy.frombuffer(source, "u1")
    head = -_address(into) % _LINE_BYTES
    middle = (len(out) - head) // _LINE_BYTES * _LINE_BYTES
    target[:head] = source[:head]
    target[head + middle :] = source[head + middle :]
    _by_two_threads(mover(numpy, into[head : head + middle], out[head : head + middle]), middle)


def mover(numpy: Any, into: Any, out: Any) -> Move:
    """What copies from one place to another: past the caches if that can be had. It lets go of the interpreter."""
    stream = _streaming()
    if stream is None:
        return lambda begin, end: numpy.copyto(into[begin:end], out[begin:end])
    to, origin = _address(into), _address(out)
    return lambda begin, end: stream(to + begin, origin + begin, end - begin)


def _by_two_threads(move: Move, size: int) -> None:
    begins = list(range(0, size, PIECE_BYTES))[::-1]
    problems: list[BaseException] = []

    def take_pieces() -> None:
        while begins:
            try:
                begin = begins.pop()
            except IndexError:  # the other one took the last
                return
            move(begin, min(begin + PIECE_BYTES, size))

    def help_out() -> None:
        try:
            take_pieces()
        except BaseException as error:
            problems.append(error)
        finally:
            is_over.release()

    is_over = _thread.allocate_lock()
    is_over.acquire()
    try:
        _thread.start_new_thread(help_out, ())
    except RuntimeError:  # no more threads
        is_over.release()
    try:
        take_pieces()
    finally:
        begins.clear()  # if this one was interrupted, nothing is left to do for the other
        is_over.acquire()
    if problems:
        raise problems[0]


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


_found: list[Callable[[int, int, int], object] | None] = []
_code: list[mmap.mmap] = []  # for as long as the process lives


def _streaming() -> Callable[[int, int, int], object] | None:
    """The machine code as a function; None: not for this processor, or it cannot be mapped."""
    if not _found:
        try:
            _found.append(_map_code() if _is_for_this_processor() else None)
        except (ImportError, OSError):
            _found.append(None)
    return _found[0]


def _is_for_this_processor() -> bool:
    return sys.platform == "linux" and sys.maxsize > 1 << 32 and os.uname().machine == "x86_64"


def _map_code() -> Callable[[int, int, int], object]:
    """
    Raises:
        ImportError: this interpreter has no ctypes.
        OSError: no memory of this process may be code.
    """
    import ctypes

    code = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    code.write(_STREAM)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    # Never writable and executable at once.
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    if protect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError(ctypes.get_errno(), "the kernel lets no memory of this process become code")
    _code.append(code)
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(address)
