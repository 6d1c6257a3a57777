"""
The rows that an executor keeps in memory: the newest, and of the older ones those without which no row can be read.

Every call appends, so an append takes no lock: the interpreter lets no other thread into a deque's own operations. Only
what lets rows go is locked, and that happens once for many rows.
"""

from __future__ import annotations

import threading
from collections import deque

from coeval.recording._raw_rows import OUTCOME_PROCESS, SENT_FUNCTION, gap_row, raw_row

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coeval.recording._raw_rows import RawRow
    from coeval.recording._rows import Row

# Rows above the bound that wait to be let go together.
LET_GO_ROWS = 1000

# Functions, and processes, that stay known after all that tells of them was let go: those used last. A program that
# makes a function for each call, or a worker, would otherwise fill the memory with their names.
KNOWN_MAX = 10_000

# Anchors to UTC that stay, the newest: of four servers asked once a minute, those of four hours.
ANCHORS_MAX = 1000


class RowMemory:
    """
    Rows in the order in which they came; safe from any thread.

    Args:
        rows_max: so many of the newest rows are kept. Of older ones those stay that introduce executors, the
            `known_max` functions and processes that were used last, the first clock reading of each such process, and
            the newest anchors to UTC. The others are counted.

    Raises:
        ValueError: `rows_max` is less than 1.
    """

    def __init__(self, rows_max: int, known_max: int = KNOWN_MAX) -> None:
        if rows_max < 1:
            raise ValueError(f"rows_max is {rows_max}; expected at least 1")
        self._rows_max = rows_max
        self._length_max = rows_max + LET_GO_ROWS
        self._newest: deque[Row | RawRow] = deque()
        self._executors: list[RawRow] = []
        self._anchors: deque[RawRow] = deque(maxlen=ANCHORS_MAX)
        self._functions = _Known(known_max)
        self._processes = _Known(known_max)
        self._dropped_count = 0
        # Re-entrant, as the garbage collector may run another executor's last rites in the middle of this.
        self._lock = threading.RLock()

    def append(self, row: Row | RawRow) -> None:
        """Keep a row; about 0.1 microseconds."""
        newest = self._newest
        newest.append(row)
        if len(newest) > self._length_max:
            self._let_go()

    def rows(self) -> list[RawRow]:
        """All that is kept now, with a gap where rows are missing."""
        with self._lock:
            self._let_go()
            newest = self._newest.copy()
            introductions = [*self._executors, *self._processes, *self._functions, *self._anchors]
            gaps = [*self._gaps()]
        return [*introductions, *gaps, *map(raw_row, newest)]

    def _gaps(self) -> Iterator[RawRow]:
        if self._dropped_count:
            yield gap_row(self._dropped_count, f"memory keeps the newest {self._rows_max} rows; run=PATH keeps all")
        for what, known in (("functions", self._functions), ("processes", self._processes)):
            if known.forgotten_count:
                yield gap_row(
                    known.forgotten_count,
                    f"memory keeps the names of the {known.count_max} {what} used last; run=PATH keeps all",
                )

    def forget_lock(self) -> None:
        """In a forked child: another thread of the parent may have held it."""
        self._lock = threading.RLock()

    def _let_go(self) -> None:
        with self._lock:
            while len(self._newest) > self._rows_max:
                self._file(raw_row(self._newest.popleft()))

    def _file(self, row: RawRow) -> None:
        match row[0]:
            case "sent":
                self._functions.use(row[SENT_FUNCTION])
                self._dropped_count += 1
            case "outcome":
                self._processes.use(row[OUTCOME_PROCESS])
                self._dropped_count += 1
            case "executor":
                self._executors.append(row)
            case "function":
                self._functions.introduce(row[2], row)
            case "anchor":
                self._dropped_count += len(self._anchors) == ANCHORS_MAX
                self._anchors.append(row)
            case "process" | "host" | "clock":
                self._dropped_count += not self._processes.introduce(row[1], row)
            case _:
                self._dropped_count += 1


class _Known:
    """What is known of numbered things: the first row of each kind about each of those that were used last."""

    def __init__(self, count_max: int) -> None:
        self.count_max = count_max
        self.forgotten_count = 0
        self._rows: dict[int, dict[str, RawRow]] = {}

    def __iter__(self) -> Iterator[RawRow]:
        for _, rows in sorted(self._rows.items()):
            yield from rows.values()

    def use(self, number: int) -> None:
        rows = self._rows.pop(number, None)
        if rows is not None:
            self._rows[number] = rows

    def introduce(self, number: int, row: RawRow) -> bool:
        """Keep a row about a number; False if there is one of its kind."""
        rows = self._rows.setdefault(number, {})
        is_first = rows.setdefault(row[0], row) is row
        self.use(number)
        if len(self._rows) > self.count_max:
            oldest = next(other for other in self._rows if other != 0)  # the driver, and the first function, stay
            self.forgotten_count += len(self._rows.pop(oldest))
        return is_first
