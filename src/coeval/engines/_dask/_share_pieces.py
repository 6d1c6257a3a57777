"""
The content of a shared object on its way from one process to another, in pieces.

    receiver                                   sender
    pull (name)   ───────────────────────────>
                  <─── piece, piece, piece ───
    more          ───────────────────────────>   for each piece that is written
                  <─── piece ─────────────────
    closes

Dask's connections take whatever is written at once and keep it in memory, so the receiver says when to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
from collections.abc import Callable
from typing import Any

from coeval.engines._dask._library import to_serialize
from coeval.engines._segments import Heavy, SegmentGone, open_segment

# Larger: other messages of the same event loop wait longer, and beyond 10 MiB Dask goes through a thread.
# Smaller: what a message costs by itself shows, from 512 KiB on.
PIECE_BYTES = 1 << 22

# So many pieces are under way at once, and in memory wherever they pass.
# Fewer: a long way is not filled. More: memory.
PIECES_AHEAD = 4

# Who is there and sends, or takes, nothing for so long is given up.
PIECE_S_MAX = 30.0


async def send_pieces(comm: Any, heavy: Heavy | None) -> None:
    """
    Send the content of a segment of this host to whoever asked for it, from its header to its end; then, or where it
    is not there any more, the connection ends.
    """
    try:
        if heavy is None:
            return
        opened = open_segment(heavy)
        try:
            mapping = mmap.mmap(opened, heavy.size, access=mmap.ACCESS_READ)
        finally:
            os.close(opened)
        # The mapping holds the lock, so the content is not written anew under our hands; it ends with the last piece.
        with memoryview(mapping) as content:
            ahead = 0
            for begin in range(0, heavy.size, PIECE_BYTES):
                if ahead == PIECES_AHEAD:
                    await asyncio.wait_for(comm.read(), PIECE_S_MAX)
                    ahead -= 1
                await comm.write(["piece", to_serialize(content[begin : begin + PIECE_BYTES])])
                ahead += 1
            for _ in range(ahead):
                await asyncio.wait_for(comm.read(), PIECE_S_MAX)
    except (OSError, SegmentGone, MemoryError):
        pass  # the receiver is gone, or asks somebody else when it finds the connection ended
    finally:
        comm.abort()


async def receive_pieces(comm: Any, size: int, write: Callable[[memoryview, int], None]) -> None:
    """
    Receive a content, and write it piece by piece.

    Args:
        write: takes bytes and their place.

    Raises:
        OSError: the connection ended early, or stands still.
        Exception: whatever `write` raises.
    """
    begin = 0
    while begin < size:
        _, piece = await asyncio.wait_for(comm.read(), PIECE_S_MAX)
        view = memoryview(piece)
        if not len(view) or begin + len(view) > size:
            raise OSError(f"{begin + len(view):,} bytes came of a content of {size:,}")
        write(view, begin)
        begin += len(view)
        with contextlib.suppress(OSError):  # it may have ended already, after the last piece
            await comm.write(["more"])


async def pass_on(one: Any, other: Any) -> None:
    """Pass messages between two connections as they are, until either ends."""
    ways = [asyncio.create_task(_pass_one_way(*ends)) for ends in ((one, other), (other, one))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in (one, other):
            end.abort()
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass_one_way(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while True:
            await target.write(await source.read())
