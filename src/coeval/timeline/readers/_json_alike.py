"""
Lines of JSON that all look alike: the same keys in the same order, with texts, numbers and flags as values.

Programs write such lines by the million. Then the n-th quote of each line means the same in all of them, and a block's
quotes, found at once, tell where every value begins and ends. What stands between the values must be the same bytes in
every line. A block of which anything is not as the shape says is left to others, so nothing depends on what is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._values import Int64Array

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

_QUOTE, _BACKSLASH, _SPACE, _MINUS, _ZERO = 34, 92, 32, 45, 48
_WORD = 8
_DIGITS_MAX = 16

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_FIELD = re.compile(rf'\s*"([^"\\]*)"\s*:\s*(?:"([^"\\]*)"|({_NUMBER})|(true|false))\s*([,}}])')


class Value(NamedTuple):
    """
    A value's place in a line.

    Attributes:
        begin, end: a quote's number, and how many bytes behind it. Quote -1: the line's end.
    """

    key: str
    kind: Literal["text", "number", "flag"]
    begin: tuple[int, int]
    end: tuple[int, int]


class Same(NamedTuple):
    """Bytes that are the same in every line, from a quote on; -2: from the line's begin, -3: from a number's end."""

    quote: int
    text: bytes


@dataclass(frozen=True)
class JsonShape:
    """
    How lines look.

    Attributes:
        quotes: how many a line has.
        values: in their order.
        same: what stands around them, up to the line's end.
    """

    quotes: int
    values: tuple[Value, ...]
    same: tuple[Same, ...]


def shape_of(line: bytes) -> JsonShape | None:
    """The shape of a line without its line end; None: it is none that is read so."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    if not text.startswith("{") or text != text.rstrip():
        return None
    values: list[Value] = []
    same: list[Same] = []
    quotes, at = 0, 1
    literal, since = "{", -2
    while True:
        found = _FIELD.match(text, at)
        if found is None:
            return None
        kind: Literal["text", "number", "flag"] = (
            "text" if found[2] is not None else "number" if found[3] is not None else "flag"
        )
        group = {"text": 2, "number": 3, "flag": 4}[kind]
        literal += text[at : found.start(group)]
        same.append(Same(since, literal.encode()))
        closing = quotes + 1  # of the key
        behind = len(text[found.end(1) : found.start(group)].encode())
        if kind == "text":
            values.append(Value(found[1], kind, (quotes + 2, 1), (quotes + 3, 0)))
            since, literal = quotes + 3, text[found.end(2) : found.end()]
            quotes += 4
        else:
            is_last = found[5] == "}"
            # What follows a number ends at the next key's quote, or with the line.
            following = len(text[found.end(group) : found.end()].encode())
            if not is_last:
                space = re.compile(r"\s*").match(text, found.end())
                assert space is not None
                following += len(space[0].encode())
            values.append(Value(found[1], kind, (closing, behind), (-1 if is_last else closing + 1, -following)))
            since, literal = -3, text[found.end(group) : found.end()]
            quotes += 2
        at = found.end()
        if found[5] == "}":
            break
    if at != len(text) or len({value.key for value in values}) < len(values):
        return None
    same.append(Same(since, literal.encode()))
    return JsonShape(quotes, tuple(values), tuple(same))


def read_json_alike(
    shape: JsonShape, data: Bytes, offsets: Int64Array, types: Mapping[str, pa.DataType], only: Collection[str] | None
) -> pa.RecordBatch | None:
    """
    Read lines of one shape.

    Args:
        data: their bytes, UTF-8, from the first to the last one's line end.
        offsets: where each begins, and where the last one ends; each has one \\n at its end.
        types: of the columns that are made; one for each value that is asked for.
        only: the columns that are asked for; None: all.

    Returns:
        The columns of `types` in their order, null where the shape has none of the name; None: some line is not like
        that, or a value is none of its column's type.
    """
    count = len(offsets) - 1
    wanted = {value.key for value in shape.values if only is None or value.key in only}
    if not shape.quotes or len(data) < _WORD or not wanted <= set(types):
        return None
    if bool((data == _BACKSLASH).any()) or int(np.count_nonzero(data < _SPACE)) != count:
        return None
    found = np.flatnonzero(data == _QUOTE)
    if len(found) != count * shape.quotes:
        return None
    quotes = np.ascontiguousarray(found.reshape(count, shape.quotes).T)
    lines = _Block(data, quotes, offsets[:-1], offsets[1:] - 1)
    if not lines.are_alike(shape):
        return None
    columns: dict[str, pa.Array] = {}
    for value in shape.values:
        if value.key in wanted:
            column = lines.column(value, types[value.key])
            if column is None:
                return None
            columns[value.key] = column
        elif value.kind != "text" and not lines.is_valid(value):
            return None
    return pa.RecordBatch.from_arrays(
        [columns[name] if name in columns else pa.nulls(count, kind) for name, kind in types.items()], list(types)
    )


class _Block:
    """Lines whose quotes are known: `quotes[n]` has the place of the n-th of each line."""

    def __init__(self, data: Bytes, quotes: Int64Array, begins: Int64Array, ends: Int64Array) -> None:
        self._data = data
        self._quotes = quotes
        self._begins = begins
        self._ends = ends
        # Eight bytes from any place on.
        self._words: Words = np.ndarray((len(data) - _WORD + 1,), "<u8", buffer=data, strides=(1,))

    def are_alike(self, shape: JsonShape) -> bool:
        """Whether all that is no value stands where it should, in every line."""
        quotes, previous = self._quotes, None
        if bool((quotes[0] < self._begins).any()) or bool((quotes[-1] >= self._ends).any()):
            return False
        for same, value in zip(shape.same, (*shape.values, None), strict=True):
            if same.quote == -2:
                at = self._begins
            elif same.quote == -3:
                assert previous is not None
                at = self._place(previous.end)
            else:
                at = quotes[same.quote]
            if not self._stands(at, same.text):
                return False
            # It ends where the value begins.
            behind = self._ends if value is None else self._place(value.begin)
            if not bool((at + len(same.text) == behind).all()):
                return False
            previous = value
        return True

    def _place(self, place: tuple[int, int]) -> Int64Array:
        quote, behind = place
        return (self._ends if quote < 0 else self._quotes[quote]) + behind

    def _stands(self, at: Int64Array, text: bytes) -> bool:
        """Whether a text stands at all these places, which ascend."""
        if not len(at) or not text:
            return True
        if int(at[0]) < 0 or int(at[-1]) + len(text) > len(self._data):
            return False
        count = -(-len(text) // _WORD)
        width = count * _WORD
        # Whole words would go beyond the end for the last lines.
        safe = int(np.searchsorted(at, len(self._data) - width, side="right"))
        if any(self._data[place : place + len(text)].tobytes() != text for place in at[safe:].tolist()):
            return False
        if not safe:
            return True
        every = np.ndarray((len(self._data) - width + 1,), f"V{width}", buffer=self._data, strides=(1,))
        words = every[at[:safe]].view("<u8").reshape(safe, count)
        wanted = np.frombuffer(text.ljust(width, b"\0"), "<u8")
        if spare := width - len(text):
            words[:, -1] &= np.uint64((1 << 8 * (_WORD - spare)) - 1)
        return bool((words == wanted).all())

    def column(self, value: Value, kind: pa.DataType) -> pa.Array | None:
        """The values at one place; None: they are none of this type."""
        begins, ends = self._place(value.begin), self._place(value.end)
        if value.kind == "text":
            return self._texts(begins, ends) if pa.types.is_string(kind) else None
        if bool((ends <= begins).any()):
            return None
        if value.kind == "flag":
            return self._flags(begins, ends) if pa.types.is_boolean(kind) else None
        if kind == pa.int64():
            return self._integers(begins, ends)
        if kind != pa.float64():
            return None
        texts = self._texts(begins, ends)
        if not pc.all(pc.match_substring_regex(texts, f"^{_NUMBER}$")).as_py():
            return None
        return texts.cast(pa.float64())

    def is_valid(self, value: Value) -> bool:
        """Whether what stands at one place is a value at all."""
        kinds = (pa.int64(), pa.float64()) if value.kind == "number" else (pa.bool_(),)
        return any(self.column(value, kind) is not None for kind in kinds)

    def _texts(self, begins: Int64Array, ends: Int64Array) -> pa.Array:
        count = len(begins)
        edges = np.empty(2 * count + 1, np.int32)
        edges[0:-1:2], edges[1::2], edges[-1] = begins, ends, len(self._data)
        buffers = [None, pa.py_buffer(edges), pa.py_buffer(self._data)]
        pieces = pa.Array.from_buffers(pa.string(), 2 * count, buffers)
        return pieces.take(pa.array(np.arange(0, 2 * count, 2)))

    def _flags(self, begins: Int64Array, ends: Int64Array) -> pa.Array | None:
        is_true = ends - begins == 4
        for chosen, text in ((is_true, b"true"), (~is_true, b"false")):
            if bool(chosen.any()):
                is_long = ends[chosen] - begins[chosen] == len(text)
                if not bool(is_long.all()) or not self._stands(begins[chosen], text):
                    return None
        return pa.array(is_true)

    def _integers(self, begins: Int64Array, ends: Int64Array) -> pa.Array | None:
        first = self._data[begins]
        is_negative = first == _MINUS
        if bool(is_negative.any()):
            begins = begins + is_negative
            first = self._data[np.minimum(begins, len(self._data) - 1)]
        lengths = ends - begins
        least, most = int(lengths.min()), int(lengths.max())
        if least < 1 or most > _DIGITS_MAX or bool(((first == _ZERO) & (lengths > 1)).any()):
            return None
        # Words are read up to a value's end, and the first line may have no room for that before it.
        if int(ends[0]) < (_WORD if most <= _WORD else 2 * _WORD):
            return None
        values, are_digits = _eight_digits(self._words[ends - _WORD], np.minimum(lengths, _WORD))
        if most > _WORD:
            more, are_more = _eight_digits(self._words[ends - 2 * _WORD], np.maximum(lengths - _WORD, 0))
            values, are_digits = values + more * 10**_WORD, are_digits and are_more
        if not are_digits:
            return None
        return pa.array(np.where(is_negative, -values, values) if bool(is_negative.any()) else values)


def _eight_digits(words: Words, lengths: Int64Array) -> tuple[Int64Array, bool]:
    """
    The number that the last bytes of each word are, and whether all of them are digits.

    Args:
        words: eight bytes each, the last one highest.
        lengths: how many bytes count, 0 to 8.
    """
    unused = ((_WORD - lengths) * 8).astype(np.uint64)
    # To shift by 64 is not defined.
    half = unused >> np.uint64(1)
    digits = (words >> half) >> (unused - half)
    digits = (digits << half) << (unused - half)
    zeros = np.uint64(0x3030303030303030)
    keep = ~np.uint64(0)
    mask = ((keep >> half) >> (unused - half)) << half << (unused - half)
    digits = digits | (zeros & ~mask)
    are_digits = bool(
        (
            ((digits & np.uint64(0xF0F0F0F0F0F0F0F0)) == zeros)
            & (((digits + np.uint64(0x0606060606060606)) & np.uint64(0xF0F0F0F0F0F0F0F0)) == zeros)
        ).all()
    )
    # Neighbours are joined: ones to tens, those to hundreds, and so on.
    value: Any = ((digits & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561)) >> np.uint64(8)
    value = ((value & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    value = ((value & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)) >> np.uint64(32)
    return value.astype(np.int64), are_digits
