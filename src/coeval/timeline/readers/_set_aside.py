"""Rows that cannot be used: counted by their reason, the first ones kept to be shown, all of them handed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

EXAMPLES_MAX = 5


class SetAsideRow(NamedTuple):
    """
    A row that is not used.

    Attributes:
        source: the file, or what the table is for.
        unit, number: "line" of a text file or "row" of a table, counted from 1.
        reason: what is wrong with it.
        values: what was read of it, by column; {"text": the whole line} where its fields do not fit the header.
    """

    source: str
    unit: str
    number: int
    reason: str
    values: Mapping[str, str | None]

    @property
    def place(self) -> str:
        """`calls.csv line 17`."""
        return f"{self.source} {self.unit} {self.number}"


class SetAside:
    """
    Takes rows that are not used.

    Args:
        hand_on: gets every one of them; None: nobody wants them.

    Attributes:
        reasons: how many there are, by reason.
        examples: the first ones.
    """

    def __init__(self, hand_on: Callable[[SetAsideRow], None] | None = None) -> None:
        self.reasons: Counter[str] = Counter()
        self.examples: list[SetAsideRow] = []
        self._hand_on = hand_on

    def add(self, row: SetAsideRow) -> None:
        """One more."""
        self.reasons[row.reason] += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(row)
        if self._hand_on is not None:
            self._hand_on(row)

    def __len__(self) -> int:
        return self.reasons.total()
