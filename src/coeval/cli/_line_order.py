"""In which order finished lines are written, and what is held back until its turn."""

from __future__ import annotations

from collections.abc import Sequence


class LineOrder:
    """
    Takes lines as they come and gives those whose turn it is.

    Args:
        by_index: a line's turn comes when every line before it (from index 0) has had its own; else it comes at once.

    Attributes:
        held_bytes: size of the lines that wait for their turn.
    """

    def __init__(self, *, by_index: bool) -> None:
        self.held_bytes = 0
        self._by_index = by_index
        self._held: dict[int, bytes] = {}
        self._next = 0

    def add(self, index: int, line: bytes) -> Sequence[bytes]:
        """Take a line; give the lines to write now."""
        if not self._by_index:
            return (line,)
        self._held[index] = line
        self.held_bytes += len(line)
        ready: list[bytes] = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        self.held_bytes -= sum(map(len, ready))
        return ready

    def rest(self) -> Sequence[bytes]:
        """Give what still waits, by index: nothing that it waits for will come."""
        rest = [self._held[index] for index in sorted(self._held)]
        self._held.clear()
        self.held_bytes = 0
        return rest
