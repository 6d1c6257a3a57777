"""
Shared memory in huge pages (2 MB), where the kernel gives them.

A copy that leaves the caches needs the address of each page that it writes, which takes a while, on virtual machines
twice: into huge pages it takes a twentieth to a fifth less time. And where the kernel has them at hand they come
faster, as there are fewer of them: 100 MB in 6 ms, in place of 38. Where it has not, they come more slowly, and then we
stop asking: 230 ms on a virtual machine whose host had taken back what was free.

Files in memory have huge pages only where the administrator has said so, which is seldom. But a program may ask for
them itself, piece by piece (`MADV_COLLAPSE`, Linux 6.1), if the piece is mapped at an address that its huge page could
have, and has at least one page.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from coeval.clocks import Clock

HUGE_BYTES = 1 << 21

# So long a huge page may take on an average. Usually it is 0.1 ms, and 0.8 for as many small ones; but 5 where the
# kernel has to move others first, and on a virtual machine that gets its memory only as it touches it.
PIECE_NS = 500_000

# The second fits, unless the gap in which the first was is too small for it, or another thread takes that.
_TRIES = 5

_MADV_COLLAPSE = 25

_HUGE_SIZE_FILE = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"

# None: not asked yet. Once the kernel has refused the first piece of a file it always will: it is too old, or was told
# not to.
_is_refused: bool | None = None


def aligned_mapping(descriptor: int, size: int) -> mmap.mmap | None:
    """
    Map a file in memory, shared, where huge pages may begin. The file becomes as long as `size` and up to two huge
    pages more, for which there is no memory yet: what has no pages must not be touched.

    Returns:
        The mapping, at least as long as those huge pages that `size` bytes need. None: there are no huge pages.

    Raises:
        OSError: there is no room for it.
    """
    numpy: Any = sys.modules.get("numpy")  # tells addresses; whoever has large arrays has it
    if not hasattr(numpy, "frombuffer") or _refuses():
        return None
    size = -(-size // HUGE_BYTES) * HUGE_BYTES
    beyond = 0
    for _ in range(_TRIES):
        os.ftruncate(descriptor, size + beyond)
        mapping = mmap.mmap(descriptor, size + beyond)
        rest = numpy.frombuffer(mapping, "u1").__array_interface__["data"][0] % HUGE_BYTES
        if not rest:
            return mapping
        # The kernel puts a mapping at the upper end of a gap: one that is longer begins lower by what it is longer.
        mapping.close()
        beyond = (beyond + rest) % HUGE_BYTES
    return None


def _refuses() -> bool:
    global _is_refused
    if _is_refused is None:
        try:
            with open(_HUGE_SIZE_FILE, "rb", buffering=0) as file:
                _is_refused = int(file.read(32)) != HUGE_BYTES  # other machines have other sizes
        except (OSError, ValueError):
            _is_refused = True
    return _is_refused


def collapse(descriptor: int, mapping: mmap.mmap, begin: int, end: int, clock: Clock, patience_ns: int) -> int:
    """
    Have huge pages in a part of a file, whose bytes are lost, for as long as that goes well.

    Args:
        mapping: from `aligned_mapping`.
        begin: a multiple of `HUGE_BYTES`, as what is returned.
        patience_ns: so much more than usual it may take.

    Returns:
        Up to where there are huge pages now: `end` or, as they are not divided, beyond.
    """
    global _is_refused
    there, give_up_ns = begin, clock.raw_ns() + patience_ns
    try:
        while there < end:
            # A page that cannot be had is an error of `write`, but would be a deadly signal under the mapping.
            os.pwrite(descriptor, b"\0", there)
            mapping[there]  # now the mapping has it too, and there is something to collapse
            mapping.madvise(_MADV_COLLAPSE, there, HUGE_BYTES)
            there += HUGE_BYTES
            give_up_ns += PIECE_NS
            if clock.raw_ns() > give_up_ns:
                break
    except OSError as error:
        _is_refused = error.errno == errno.EINVAL and not there
    return there
