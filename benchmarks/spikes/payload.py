"""
How fast do values travel between two processes of this host, and what do they cost where they are small?

    python benchmarks/spikes/payload.py

A forked child answers each value that comes through a pipe: "in" counts from dumping an array here until the child has
read all of it, "out" from asking for one until it was read here; the sender changes it in place each time. Best of the
rounds, as other programs only ever take time away. In-band is what the same pipe does with a plain pickle.
"""

from __future__ import annotations

import os
import pickle
import platform
import statistics
import time
from collections.abc import Callable
from timeit import repeat
from typing import Any

import numpy as np

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines import _huge_pages
from coeval.engines._payload import drop, dump, load, take
from coeval.engines._segments import Segments
from coeval.engines._shares import settle
from coeval.executor._share import Shared

BYTES = 100_000_000
ROUNDS = 12
SHARED_BYTES = 200_000_000
SHARED_CALLS = 20


def send(pipe: int, value: object) -> None:
    data = memoryview(pickle.dumps(value))
    os.write(pipe, len(data).to_bytes(8, "little"))
    while len(data):
        data = data[os.write(pipe, data) :]


def receive(pipe: int) -> Any:
    left = int.from_bytes(os.read(pipe, 8), "little")
    data = bytearray()
    while left:
        piece = os.read(pipe, min(left, 1 << 20))
        data += piece
        left -= len(piece)
    return pickle.loads(data)


def use(value: Any) -> int:
    """Read every page."""
    if isinstance(value, bytes):
        return value[-1]
    return int(value.view(np.uint8)[::4096].sum())


def child(commands: int, results: int) -> None:
    segments = Segments(SYSTEM_CLOCK)
    made = np.ones(BYTES // 8)
    while True:
        verb, content = receive(commands)
        if verb == "in":
            send(results, use(load(content)))
        elif verb == "shared":
            use(*load(content)[0])
            settle()
            send(results, None)
        elif verb == "out":
            made[0] += 1
            send(results, dump(made, segments if content else None))
        else:
            segments.close()
            os._exit(0)


def rate_best(work: Callable[[], object], size: int, rounds: int = ROUNDS) -> float:
    taken_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        taken_s.append(time.perf_counter() - began_s)
    return size / min(taken_s) / 1e9


def into_new_memory_s(array: Any, *, has_huge_pages: bool) -> float:
    """Store an array where there is no memory yet."""
    asked, _huge_pages._is_refused = _huge_pages._is_refused, None if has_huge_pages else True
    segments = Segments(SYSTEM_CLOCK)
    began_s = time.perf_counter()
    content = dump(array, segments)
    taken_s = time.perf_counter() - began_s
    drop(content, segments)
    segments.close()
    _huge_pages._is_refused = asked
    return taken_s


def main() -> None:
    commands, results = os.pipe(), os.pipe()
    if not (pid := os.fork()):
        child(commands[0], results[1])
    segments = Segments(SYSTEM_CLOCK)
    array = np.ones(BYTES // 8)

    def travel_in(value: Any, where: Segments | None) -> None:
        if isinstance(value, np.ndarray):
            value[0] += 1
        content = dump(value, where)
        send(commands[1], ("in", content))
        receive(results[0])
        drop(content, where)

    def travel_out(beside: bool) -> None:
        send(commands[1], ("out", beside))
        use(take(receive(results[0])))

    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.release()}, {os.cpu_count()} cores")
    print(f"array in,  {BYTES // 10**6} MB   {rate_best(lambda: travel_in(array, segments), BYTES):6.2f} GB/s")
    print(f"array out, {BYTES // 10**6} MB   {rate_best(lambda: travel_out(True), BYTES):6.2f} GB/s")
    for has_huge_pages in (True, False):
        taken_s = [into_new_memory_s(array, has_huge_pages=has_huge_pages) for _ in range(ROUNDS)]
        print(
            f"stored in new memory, {'huge' if has_huge_pages else 'small'} pages   "
            f"{statistics.median(taken_s) * 1000:6.1f} ms, at most {max(taken_s) * 1000:.1f}"
        )
    text = bytes(BYTES)
    print(f"bytes in,  {BYTES // 10**6} MB   {rate_best(lambda: travel_in(text, segments), BYTES):6.2f} GB/s")
    print(f"array in,  in-band  {rate_best(lambda: travel_in(array, None), BYTES, 3):6.2f} GB/s")
    print(f"array out, in-band  {rate_best(lambda: travel_out(False), BYTES, 3):6.2f} GB/s")
    for size in (1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 20):
        small = np.ones(size // 8)
        in_band = size / rate_best(lambda value=small: travel_in(value, None), size, 300) / 1e3  # type: ignore[misc]
        beside = size / rate_best(lambda value=small: travel_in(value, segments), size, 300) / 1e3  # type: ignore[misc]
        print(f"{size >> 10:5} KB there and back   in-band {in_band:7.1f} us   beside {beside:7.1f} us")

    large = np.ones(SHARED_BYTES // 8)
    for _ in range(2):
        began_s = time.perf_counter()
        with Shared(large, segments) as shared:
            shared_s = time.perf_counter() - began_s
            for _ in range(SHARED_CALLS):
                send(commands[1], ("shared", dump(((shared,), {}), segments)))
                receive(results[0])
            print(
                f"{SHARED_BYTES // 10**6} MB shared by {SHARED_CALLS} calls of one worker: "
                f"{time.perf_counter() - began_s:.3f} s, of it sharing {shared_s:.3f} s"
            )

    print("us to dump, without and with segments:")
    values: dict[str, object] = {"a number": ((1,), {}), "text, number": (("a.txt", 3.0), {"k": 1}), "nothing": None}
    for name, value in values.items():
        counts = 200_000
        plain_us = min(repeat(lambda value=value: dump(value), number=counts, repeat=5)) / counts * 1e6  # type: ignore[misc]
        both_us = min(repeat(lambda value=value: dump(value, segments), number=counts, repeat=5)) / counts * 1e6  # type: ignore[misc]
        print(f"  {name:14} {plain_us:5.2f} {both_us:5.2f}")
    send(commands[1], ("end", None))
    os.waitpid(pid, 0)
    segments.close()


if __name__ == "__main__":
    main()
