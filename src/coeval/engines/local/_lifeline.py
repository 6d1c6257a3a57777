"""
The lifeline: a pipe whose write end only the pool's process holds, by which the kernel ends what the pool started.

When the pool's process ends in whichever way, its end is closed; the kernel then sends SIGKILL to the process group of
everyone who armed a read end. No thread of ours has to run for it, so it also ends work that sits in C code and holds
the GIL. A byte that the pool writes does the same while it lives.

(Rejected: prctl(PR_SET_PDEATHSIG), which fires when the *thread* that started the process ends, not the process.)
"""

from __future__ import annotations

import fcntl
import os
import select

_SIGKILL = 9  # `signal` brings `enum`, which is not free where every millisecond of a start counts


def hold(lifeline: int) -> int:
    """
    Tie the calling process's group to the lifeline; it ends at once where the pool is gone already.

    Args:
        lifeline: any descriptor of the read end, as inherited. It stays open.

    Returns:
        The armed descriptor, closed in what the process executes. It must stay open.

    Raises:
        OSError: `/proc` is not mounted, or there are no descriptors.
    """
    # Owner and signal belong to the open file, which a fork shares: each process opens its own.
    own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(own, fcntl.F_SETSIG, _SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    # The pool may have ended before the signal was armed.
    poll = select.poll()
    poll.register(own, select.POLLIN)
    if poll.poll(0):
        os._exit(1)
    return own
