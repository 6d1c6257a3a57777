"""
The functions that the contenders call. Every worker imports this file, so it imports nothing that costs.

Stamps are readings of CLOCK_MONOTONIC, which all processes of one machine share.
"""

import os
import time

MEET_S_MAX = 30
ARRAY_BYTES = 100_000_000


def empty(_: int) -> None:
    return None


def successor(number: int) -> int:
    return number + 1


def burn(microseconds: int) -> None:
    """Use so much processor time; what others take from this thread meanwhile does not count."""
    end_ns = time.thread_time_ns() + microseconds * 1000
    while time.thread_time_ns() < end_ns:
        pass


def meet(place: "tuple[str, int]") -> int:
    """Return this worker's pid once `count` workers are in `folder`: one that is there takes no other call."""
    folder, count = place
    with open(os.path.join(folder, str(os.getpid())), "w"):  # noqa: PTH118  (pathlib is not free)
        pass
    deadline_s = time.monotonic() + MEET_S_MAX
    while len(os.listdir(folder)) < count:  # noqa: PTH208
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"only {len(os.listdir(folder))} of {count} workers came")  # noqa: PTH208
        time.sleep(0.0005)
    return os.getpid()


def nap_or_die(given: "tuple[int, int, str]") -> "tuple[int, int, int]":
    """Take 10 ms and tell (pid, began ns, ended ns). Call number `killer` notes the time and kills its worker."""
    number, killer, note = given
    began_ns = time.monotonic_ns()
    if number == killer:
        import signal

        with open(note, "w") as file:
            file.write(str(time.monotonic_ns()))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return os.getpid(), began_ns, time.monotonic_ns()
