"""
The first and last process of a skewed host: it waits until whoever made the host is gone, and ends all that runs there.

A script, run by path and importing nothing of coeval's. Its standard input is a pipe whose other end the maker holds: a
byte or the end of it ends the host, so it also learns of a maker that was killed. Three marks tell what runs on the
host, because each has a gap: the time namespace, which a program enters a moment after it was started; the skew file
among the mapped files, which a program without the library has not; and in the first environment, which some programs
overwrite with their title.

    python -I _host_keeper.py FOLDER/SKEW_FILE {isolated|mapped}        removes the folder at the end
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

# How long the killed have to go before it is looked again.
LOOK_S = 0.002


def residents(skew_file: str, isolated: bool) -> list[int]:
    """The processes that run on the host, zombies and this one left out."""
    return [process for process in _others() if _lives_here(process, skew_file, isolated)]


def _others() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]


def _lives_here(process: int, skew_file: str, isolated: bool) -> bool:
    try:
        # A zombie shows none of the three.
        if isolated and Path(f"/proc/{process}/ns/time").readlink() == Path("/proc/self/ns/time").readlink():
            return True
        if f"COEVAL_SKEW_FILE={skew_file}".encode() in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            return True
        return f" {skew_file}\n" in Path(f"/proc/{process}/maps").read_text(errors="replace")
    except OSError:  # ended meanwhile, or another user's
        return False


def end_all(skew_file: str, isolated: bool) -> None:
    """Kill until nobody is left: a process may be forking while its parent is killed."""
    while found := residents(skew_file, isolated):
        for process in found:
            try:
                # By descriptor, so that a number used anew in between is never hit.
                descriptor = os.pidfd_open(process)
            except ProcessLookupError:
                continue
            try:
                if _lives_here(process, skew_file, isolated):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            except ProcessLookupError:
                pass
            finally:
                os.close(descriptor)
        time.sleep(LOOK_S)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout.write(f"up {os.getpid()}\n")
    sys.stdout.flush()
    os.read(0, 1)
    end_all(sys.argv[1], sys.argv[2] == "isolated")
    shutil.rmtree(Path(sys.argv[1]).parent)
