"""
Lines of JSON that all look alike: the same keys in the same order, with texts, numbers and flags as values.

Programs write such lines by the million. What stands between the values is then the same in every line, so a line is a
walk: over what is the same, over a value to the byte that ends it, and so on, for all lines of a block at once and
eight bytes at a time. A value ends about where it ends in the first lines; where it does not, every byte is looked at.

That no text holds a quote is not looked at text by text: there are no more in the block than those around texts and
keys. A block of which anything is not as the shape says is left to others, so nothing depends on what is known.
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

from coeval.timeline.readers._values import BoolArray, Int64Array

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

PADDING = 16
"""So many bytes must follow the last line in the buffer, for looking beyond its end."""

_QUOTE, _BACKSLASH, _SPACE, _MINUS, _ZERO = 34, 92, 32, 45, 48
_WORD = 8
_DIGITS_MAX = 16
# So many lines show how short a value is.
_LINES_LOOKED_AT = 64

_LOWS, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
# Times a byte's lowest bit, this has the byte's number on top.
_NUMBERS = np.uint64(0x0001020304050607)

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_FIELD = re.compile(rf'\s*"([^"\\]*)"\s*:\s*(?:"([^"\\]*)"|({_NUMBER})|(true|false))\s*([,}}])')


class Value(NamedTuple):
    """One that each line has."""

    key: str
    kind: Literal["text", "number", "flag"]


@dataclass(frozen=True)
class JsonShape:
    """
    How lines look.

    Attributes:
        values: in their order.
        around: what stands before each value, and behind the last one up to the line's end; quotes are not the values'.
    """

    values: tuple[Value, ...]
    around: tuple[bytes, ...]

    @property
    def quotes(self) -> int:
        """How many a line has."""
        return sum(text.count(b'"') for text in self.around)


def shape_of(line: bytes) -> JsonShape | None:
    """The shape of a line without its line end; None: it is none that is read so."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    if not text.startswith("{"):
        return None
    values: list[Value] = []
    around: list[str] = []
    since, at = 0, 1
    while (found := _FIELD.match(text, at)) is not None:
        kind: Literal["text", "number", "flag"] = (
            "text" if found[2] is not None else "number" if found[3] is not None else "flag"
        )
        begin, end = found.span({"text": 2, "number": 3, "flag": 4}[kind])
        values.append(Value(found[1], kind))
        around.append(text[since:begin])
        since, at = end, found.end()
        if found[5] == "}":
            break
    if found is None or at != len(text) or len({value.key for value in values}) < len(values):
        return None
    return JsonShape(tuple(values), tuple(each.encode() for each in (*around, text[since:])))


def read_json_alike(
    shape: JsonShape, data: Bytes, offsets: Int64Array, types: Mapping[str, pa.DataType], only: Collection[str] | None
) -> pa.RecordBatch | None:
    """
    Read lines of one shape.

    Args:
        data: their bytes, UTF-8, from the first to the last one's line end, and `PADDING` more.
        offsets: where each begins, and where the last one ends; each has one \\n at its end.
        types: of the columns that are made; one for each value that is asked for.
        only: the columns that are asked for; None: all.

    Returns:
        The columns of `types` in their order, null where the shape has none of the name; None: some line is not like
        that, or a value is none of its column's type.
    """
    count = len(offsets) - 1
    wanted = {value.key for value in shape.values if only is None or value.key in only}
    if not wanted <= set(types):
        return None
    written = data[:-PADDING]
    if bool((written == _BACKSLASH).any()) or int(np.count_nonzero(written < _SPACE)) != count:
        return None
    if int(np.count_nonzero(written == _QUOTE)) != count * shape.quotes:
        return None
    lines = _Block(data)
    places = lines.places(shape, offsets[:-1], offsets[1:] - 1)
    if places is None:
        return None
    columns: dict[str, pa.Array] = {}
    for value, place in zip(shape.values, places, strict=True):
        if value.key in wanted:
            column = lines.column(value, place, types[value.key])
            if column is None:
                return None
            columns[value.key] = column
        elif value.kind != "text" and not lines.is_valid(value, place):
            return None
    return pa.RecordBatch.from_arrays(
        [columns[name] if name in columns else pa.nulls(count, kind) for name, kind in types.items()], list(types)
    )


class _Places(NamedTuple):
    """Where a value begins and ends in each line."""

    begins: Int64Array
    ends: Int64Array


class _Block:
    """The bytes of lines, and `PADDING` more."""

    def __init__(self, data: Bytes) -> None:
        self._data = data
        # Eight bytes from any place on.
        self._words: Words = np.ndarray((len(data) - _WORD + 1,), "<u8", buffer=data, strides=(1,))

    def places(self, shape: JsonShape, begins: Int64Array, ends: Int64Array) -> list[_Places] | None:
        """
        Where each value stands; None: what is around them is not the same in every line.

        Args:
            begins, ends: of each line.
        """
        places: list[_Places] = []
        if not bool(self._stands(begins, shape.around[0]).all()):
            return None
        at = begins + len(shape.around[0])
        for behind in shape.around[1:-1]:
            until = self._ends(at, behind, ends)
            if until is None:
                return None
            places.append(_Places(at, until))
            at = until + len(behind)
        until = ends - len(shape.around[-1])
        if bool((until < at).any()) or not bool(self._stands(until, shape.around[-1]).all()):
            return None
        return [*places, _Places(at, until)]

    def _ends(self, begins: Int64Array, behind: bytes, limits: Int64Array) -> Int64Array | None:
        """
        Where values end that begin there; None: not all of them.

        Args:
            behind: what follows each.
            limits: the lines' ends.
        """
        some = self._first(behind[0], begins[:_LINES_LOOKED_AT], limits[:_LINES_LOOKED_AT])
        if some is None:
            return None
        shortest = int((some - begins[: len(some)]).min())
        guess, is_found = self._in_word(behind[0], np.minimum(begins + shortest, len(self._words) - 1))
        is_good = is_found & self._stands(guess, behind)
        if bool(is_good.all()):
            return guess
        rows = np.flatnonzero(~is_good)
        mended = self._first(behind[0], begins[rows], limits[rows])
        if mended is None or not bool(self._stands(mended, behind).all()):
            return None
        guess[rows] = mended
        return guess

    def _first(self, byte: int, begins: Int64Array, limits: Int64Array) -> Int64Array | None:
        """Where this byte stands first from each place on; None: there is none before the limit."""
        places, rows = np.empty_like(begins), np.arange(len(begins))
        at = begins
        while True:
            places[rows], is_found = self._in_word(byte, at)
            if bool(is_found.all()):
                return places if bool((places < limits).all()) else None
            rows, at = rows[~is_found], at[~is_found] + _WORD
            if bool((at >= limits[rows]).any()):
                return None

    def _in_word(self, byte: int, at: Int64Array) -> tuple[Int64Array, BoolArray]:
        """Where this byte stands first among eight, and whether it does."""
        words = self._words[at] ^ (_LOWS * np.uint64(byte))
        # The lowest bit that is left is of the first byte that is nought; what is above it may be a borrow.
        noughts = (words - _LOWS) & ~words & _HIGHS
        lowest = (noughts & (~noughts + np.uint64(1))) >> np.uint64(7)
        return at + ((lowest * _NUMBERS) >> np.uint64(56)).view(np.int64), noughts != 0

    def _stands(self, at: Int64Array, text: bytes) -> BoolArray:
        """Whether a text stands at each of these places."""
        room = len(self._words) - len(text)
        stands: BoolArray = at <= room
        at = np.minimum(at, max(room, 0))
        if len(text) < _WORD:
            mask = np.uint64((1 << 8 * len(text)) - 1)
            stands &= (self._words[at] & mask) == np.uint64(int.from_bytes(text, "little"))
            return stands
        if room < 0:
            return stands
        for place in (*range(0, len(text) - _WORD, _WORD), len(text) - _WORD):
            word = int.from_bytes(text[place : place + _WORD], "little")
            stands &= self._words[at + place] == np.uint64(word)
        return stands

    def column(self, value: Value, places: _Places, kind: pa.DataType) -> pa.Array | None:
        """The values at one place; None: they are none of this type."""
        begins, ends = places
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

    def is_valid(self, value: Value, places: _Places) -> bool:
        """Whether what stands at one place is a value at all."""
        kinds = (pa.int64(), pa.float64()) if value.kind == "number" else (pa.bool_(),)
        return any(self.column(value, places, kind) is not None for kind in kinds)

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
                if not bool(is_long.all()) or not bool(self._stands(begins[chosen], text).all()):
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
