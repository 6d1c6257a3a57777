"""Many messages as columns: what alignment reads, built from `clocks.Message`s one by one or from arrays at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, overload

import numpy as np
import numpy.typing as npt

from coeval.alignment._rate import BoolArray, Int64Array
from coeval.clocks import ClockId, Message

CodeArray: TypeAlias = npt.NDArray[np.int32]

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, eq=False, slots=True)
class Messages:
    """
    Messages in columns of equal length n; see `clocks.Message` for what each means.

    Attributes:
        clocks: the clocks by code, each once.
        sender, receiver: codes into `clocks`, int32.
        sent_ns, received_ns: readings of the sender's and the receiver's clock, int64 ns.
        sender_resolution_ns, receiver_resolution_ns: a stamp means [stamp, stamp + resolution), int64 ns, not negative.
        delay_ns_min: the proven least delay, int64 ns, not negative.
        hard: False where the order is only likely, bool.
        ids: how reports name each; None: they are named by their readings.

    Raises:
        ValueError: Columns of different lengths, a negative resolution or delay, a code without a clock, a clock named
            twice, or a reading so close to the end of int64 that its resolution or delay goes beyond.
    """

    clocks: tuple[ClockId, ...]
    sender: CodeArray
    receiver: CodeArray
    sent_ns: Int64Array
    received_ns: Int64Array
    sender_resolution_ns: Int64Array
    receiver_resolution_ns: Int64Array
    delay_ns_min: Int64Array
    hard: BoolArray
    ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        lengths = [len(self.sender), len(self.receiver), len(self.sent_ns), len(self.received_ns)]
        lengths += [len(self.sender_resolution_ns), len(self.receiver_resolution_ns)]
        lengths += [len(self.delay_ns_min), len(self.hard), *([] if self.ids is None else [len(self.ids)])]
        if len(set(lengths)) != 1:
            raise ValueError(f"the columns of messages have lengths {lengths}: give one value per message in each")
        if len(set(self.clocks)) != len(self.clocks):
            raise ValueError(f"a clock is named twice in {self.clocks}: give each one code")
        if not len(self):
            return
        for name, column in (("sender", self.sender), ("receiver", self.receiver)):
            if int(column.min()) < 0 or int(column.max()) >= len(self.clocks):
                raise ValueError(
                    f"{name} codes go from {column.min()} to {column.max()}, but there are {len(self.clocks)} clocks: "
                    "a code is an index into `clocks`"
                )
        for name, values in (
            ("sender_resolution_ns", self.sender_resolution_ns),
            ("receiver_resolution_ns", self.receiver_resolution_ns),
            ("delay_ns_min", self.delay_ns_min),
        ):
            if int(values.min()) < 0:
                raise ValueError(f"{name} is {values.min()} at index {values.argmin()}: it must not be negative")
        room = int(self.receiver_resolution_ns.max()) + int(self.delay_ns_min.max())
        for name, values in (("sent_ns", self.sent_ns), ("received_ns", self.received_ns)):
            if room and (int(values.max()) > _INT64.max - room or int(values.min()) < _INT64.min + room):
                raise ValueError(
                    f"{name} goes from {values.min()} to {values.max()}: with resolutions and delays of up to "
                    f"{room} ns that leaves int64. Count from an origin nearer to the readings."
                )

    @classmethod
    def of(cls, messages: Iterable[Message]) -> Messages:
        """Put single messages into columns, keeping their order. Clocks get codes in order of appearance."""
        rows = list(messages)
        codes: dict[ClockId, int] = {}
        for row in rows:
            codes.setdefault(row.sender, len(codes))
            codes.setdefault(row.receiver, len(codes))
        return cls(
            tuple(codes),
            np.array([codes[row.sender] for row in rows], dtype=np.int32),
            np.array([codes[row.receiver] for row in rows], dtype=np.int32),
            np.array([row.sent_ns for row in rows], dtype=np.int64),
            np.array([row.received_ns for row in rows], dtype=np.int64),
            np.array([row.sender_resolution_ns for row in rows], dtype=np.int64),
            np.array([row.receiver_resolution_ns for row in rows], dtype=np.int64),
            np.array([row.delay_ns_min for row in rows], dtype=np.int64),
            np.array([row.hard for row in rows], dtype=np.bool_),
            [row.id for row in rows] if any(row.id for row in rows) else None,
        )

    @classmethod
    def between(
        cls,
        sender: ClockId,
        receiver: ClockId,
        sent_ns: npt.ArrayLike,
        received_ns: npt.ArrayLike,
        *,
        sender_resolution_ns: npt.ArrayLike = 0,
        receiver_resolution_ns: npt.ArrayLike = 0,
        delay_ns_min: npt.ArrayLike = 0,
        hard: npt.ArrayLike = True,
        ids: Sequence[str] | None = None,
    ) -> Messages:
        """Messages of one direction between two clocks; what is given once holds for all and takes no memory."""
        sent = np.asarray(sent_ns, dtype=np.int64)
        clocks = (sender,) if sender == receiver else (sender, receiver)

        def column(value: npt.ArrayLike) -> Int64Array:
            return np.broadcast_to(np.asarray(value, dtype=np.int64), sent.shape)

        return cls(
            clocks,
            np.broadcast_to(np.int32(0), sent.shape),
            np.broadcast_to(np.int32(len(clocks) - 1), sent.shape),
            sent,
            np.asarray(received_ns, dtype=np.int64),
            column(sender_resolution_ns),
            column(receiver_resolution_ns),
            column(delay_ns_min),
            np.broadcast_to(np.asarray(hard, dtype=np.bool_), sent.shape),
            ids,
        )

    @classmethod
    def concatenated(cls, parts: Iterable[Messages]) -> Messages:
        """All messages of the parts, one after the other."""
        parts = list(parts)
        if not parts:
            return cls.of(())
        named = [part for part in parts if part.clocks]
        if len(named) == 1:
            return named[0]  # as it is: names that are made when they are asked for need not all be made
        codes: dict[ClockId, int] = {}
        for part in parts:
            for clock in part.clocks:
                codes.setdefault(clock, len(codes))
        tables = [np.array([codes[clock] for clock in part.clocks], dtype=np.int32) for part in parts]
        ids: list[str] | None = None
        if any(part.ids is not None for part in parts):
            ids = [name for part in parts for name in (part.ids if part.ids is not None else [""] * len(part))]
        return cls(
            tuple(codes),
            np.concatenate([table[part.sender] for table, part in zip(tables, parts, strict=True)]),
            np.concatenate([table[part.receiver] for table, part in zip(tables, parts, strict=True)]),
            np.concatenate([part.sent_ns for part in parts]),
            np.concatenate([part.received_ns for part in parts]),
            np.concatenate([part.sender_resolution_ns for part in parts]),
            np.concatenate([part.receiver_resolution_ns for part in parts]),
            np.concatenate([part.delay_ns_min for part in parts]),
            np.concatenate([part.hard for part in parts]),
            ids,
        )

    def renamed(self, clock_of: Mapping[str, ClockId]) -> Messages:
        """
        The same messages under other clock ids, such as processes turned into the clocks that they share.

        A clock that is not in `clock_of` keeps its id.
        """
        codes: dict[ClockId, int] = {}
        names = [clock_of.get(clock, clock) for clock in self.clocks]
        table = np.array([codes.setdefault(name, len(codes)) for name in names], dtype=np.int32)
        return replace(self, clocks=tuple(codes), sender=table[self.sender], receiver=table[self.receiver])

    def taken(self, rows: Int64Array) -> Messages:
        """Some of the messages, in this order."""
        return replace(
            self,
            sender=self.sender[rows],
            receiver=self.receiver[rows],
            sent_ns=self.sent_ns[rows],
            received_ns=self.received_ns[rows],
            sender_resolution_ns=self.sender_resolution_ns[rows],
            receiver_resolution_ns=self.receiver_resolution_ns[rows],
            delay_ns_min=self.delay_ns_min[rows],
            hard=self.hard[rows],
            ids=None if self.ids is None else _ChosenNames.of(self.ids, rows),
        )

    def among(self, clocks: Sequence[ClockId]) -> Messages:
        """The same messages with these clocks' codes; every clock of the messages must be among them."""
        codes = {clock: code for code, clock in enumerate(clocks)}
        if tuple(clocks) == self.clocks:
            return self
        table = np.array([codes[clock] for clock in self.clocks], dtype=np.int32)
        return replace(self, clocks=tuple(clocks), sender=table[self.sender], receiver=table[self.receiver])

    def __len__(self) -> int:
        return len(self.sent_ns)

    def __getitem__(self, index: int) -> Message:
        return Message(
            self.clocks[self.sender[index]],
            int(self.sent_ns[index]),
            self.clocks[self.receiver[index]],
            int(self.received_ns[index]),
            "" if self.ids is None else self.ids[index],
            int(self.sender_resolution_ns[index]),
            int(self.receiver_resolution_ns[index]),
            int(self.delay_ns_min[index]),
            bool(self.hard[index]),
        )

    @property
    def received_by_ns(self) -> Int64Array:
        """The reading at which each message had arrived for certain: the stamp and its resolution."""
        return self.received_ns + self.receiver_resolution_ns

    def received_by_at(self, rows: Int64Array) -> Int64Array:
        """The same of some messages."""
        return self.received_ns[rows] + self.receiver_resolution_ns[rows]


class _ChosenNames(Sequence[str]):
    """Some names of many, made when somebody reads them: of most messages nobody does."""

    def __init__(self, names: Sequence[str], rows: Int64Array) -> None:
        self._names = names
        self._rows = rows

    @classmethod
    def of(cls, names: Sequence[str], rows: Int64Array) -> _ChosenNames:
        """Of names that were chosen themselves, those that they were chosen from are kept."""
        return cls(names._names, names._rows[rows]) if isinstance(names, _ChosenNames) else cls(names, rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._names[row] for row in self._rows[index].tolist()]
        return self._names[int(self._rows[index])]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (list, _ChosenNames)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]


def described(message: Message) -> str:
    """A message in one phrase, as reports name it."""
    name = f"{message.id!r}: " if message.id else ""
    return f"{name}{message.sender} {message.sent_ns} -> {message.receiver} {message.received_ns}"
