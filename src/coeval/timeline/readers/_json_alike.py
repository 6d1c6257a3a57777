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
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._values import BoolArray, Int64Array

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

_QUOTE, _BACKSLASH, _SPACE, _MINUS, _ZERO = 34, 92, 32, 45, 48
_WORD = 8
_DIGITS_MAX = 16
# A value is looked for from so many bytes before the end that it has in the line that the shape is of.
_SHORTER_MAX = 4
# What is taken of each line at once; more is slower than to take two pieces.
_TAKEN_MAX = 64

_LOWS, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
# Times a byte's lowest bit, this has the byte's number on top.
_NUMBERS = np.uint64(0x0001020304050607)

_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_FIELD = re.compile(rf'\s*"([^"\\]*)"\s*:\s*(?:"([^"\\]*)"|({_NUMBER})|(true|false))\s*([,}}])')


@dataclass(frozen=True)
class Value:
    """
    One that each line has.

    Attributes:
        length: in the line that the shape is of, in bytes; it may differ in others.
    """

    key: str
    kind: Literal["text", "number", "flag"]
    length: int = field(compare=False)


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
        values.append(Value(found[1], kind, len(text[begin:end].encode())))
        around.append(text[since:begin])
        since, at = end, found.end()
        if found[5] == "}":
            break
    if found is None or at != len(text) or len({value.key for value in values}) < len(values):
        return None
    return JsonShape(tuple(values), tuple(each.encode() for each in (*around, text[since:])))


class JsonAlike:
    """
    Reads lines of one shape, block by block.

    Attributes:
        shape: theirs.
    """

    def __init__(self, shape: JsonShape) -> None:
        self.shape = shape
        # Looking at a value's end and what is around it goes so far beyond a line, or before it.
        self._padding = _TAKEN_MAX + max(map(len, shape.around)) + 2 * _WORD
        self._held: Bytes = np.empty(0, np.uint8)
        self._flags: BoolArray = np.empty(0, np.bool_)

    def read(
        self, data: Bytes, offsets: Int64Array, types: Mapping[str, pa.DataType], only: Collection[str] | None
    ) -> pa.RecordBatch | None:
        """
        Read a block.

        Args:
            data: the bytes of lines, UTF-8, from the first to the last one's line end.
            offsets: where each begins, and where the last one ends; each has one \\n at its end.
            types: of the columns that are made; one for each value that is asked for.
            only: the columns that are asked for; None: all.

        Returns:
            The columns of `types` in their order, null where the shape has none of the name; None: some line is not
            like that, or a value is none of its column's type.
        """
        count = len(offsets) - 1
        wanted = {value.key for value in self.shape.values if only is None or value.key in only}
        if not wanted <= set(types):
            return None
        if len(self._flags) < len(data):
            self._flags = np.empty(len(data) + len(data) // 4, np.bool_)
        flags = self._flags[: len(data)]
        if (
            bool(np.equal(data, _BACKSLASH, out=flags).any())
            or int(np.count_nonzero(np.less(data, _SPACE, out=flags))) != count
            or int(np.count_nonzero(np.equal(data, _QUOTE, out=flags))) != count * self.shape.quotes
        ):
            return None
        offsets = offsets + self._padding
        lines = _Block(self._padded(data))
        places = lines.places(self.shape, offsets[:-1], offsets[1:] - 1)
        if places is None:
            return None
        columns: dict[str, pa.Array] = {}
        for value, place in zip(self.shape.values, places, strict=True):
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

    def _padded(self, data: Bytes) -> Bytes:
        """With more bytes around, in memory that the next block takes, too: fresh memory takes longer than the copy."""
        begin, end = self._padding, self._padding + len(data)
        if len(self._held) < end + begin:
            self._held = np.zeros(len(data) + len(data) // 4 + 2 * begin, np.uint8)
        self._held[begin:end] = data
        return self._held[: end + begin]


class _Places(NamedTuple):
    """Where a value begins and ends in each line."""

    begins: Int64Array
    ends: Int64Array


class _Block:
    """The bytes of lines, with more around them."""

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
        begin, found = begins, begins
        for number, (text, value) in enumerate(zip(shape.around[:-1], shape.values, strict=True)):
            at, behind = found, shape.around[number + 1][0]
            skipped = max(value.length - _SHORTER_MAX, 0)
            stands, found = self._step(at, ends, text, skipped, behind)
            if not bool(stands.all()):
                rows = np.flatnonzero(~stands)
                exact = self._first(begin[rows], ends[rows], text[0]) if number else None
                if exact is None:
                    return None
                at[rows] = exact
                stands, found[rows] = self._step(exact, ends[rows], text, skipped, behind)
                if not bool(stands.all()):
                    return None
            if number:
                places.append(_Places(begin, at))
            begin = at + len(text)
        at = ends - len(shape.around[-1])
        if bool((at < begin).any()) or not self._stands(at, shape.around[-1]):
            return None
        return [*places, _Places(begin, at)]

    def _step(
        self, at: Int64Array, ends: Int64Array, text: bytes, skipped: int, behind: int
    ) -> tuple[BoolArray, Int64Array]:
        """
        Whether a text stands at each place, and where the value behind it ends, if that is near.

        Args:
            ends: of the lines; no result is beyond.
            skipped: from the value's begin to where its end is looked for.
            behind: the byte that follows the value.
        """
        reach = len(text) + skipped
        if skipped and reach > _TAKEN_MAX - 2 * _WORD:
            stands, _ = self._step(at, ends, text, 0, behind)
            # Other lines may be much shorter, and the last ones end with the bytes.
            near = np.minimum(at + reach, len(self._words) - 1)
            return stands, np.minimum(near + self._in_word(self._words[near], behind)[0], ends)
        # The last of the words is where the end is looked for, so the first may begin before the text.
        lead = -reach % _WORD
        count = (lead + reach) // _WORD + 1
        every = np.ndarray((len(self._words) - (count - 1) * _WORD,), f"V{count * _WORD}", self._data, 0, (1,))
        words = every[at - lead].view("<u8").reshape(len(at), count)
        wanted = (bytes(lead) + text).ljust(count * _WORD, b"\0")
        mask = (bytes(lead) + b"\xff" * len(text)).ljust(count * _WORD, b"\0")
        stands = np.ones(len(at), np.bool_)
        for number in range((lead + len(text) - 1) // _WORD + 1):
            bits, word = (
                np.uint64(int.from_bytes(each[8 * number : 8 * number + 8], "little")) for each in (mask, wanted)
            )
            stands &= (words[:, number] & bits) == word
        return stands, np.minimum(at + reach + self._in_word(words[:, -1], behind)[0], ends)

    def _first(self, begins: Int64Array, ends: Int64Array, byte: int) -> Int64Array | None:
        """Where this byte stands first from each place on; None: somewhere there is none before the end."""
        places, rows, at = np.empty_like(begins), np.arange(len(begins)), begins
        while len(rows):
            place, is_found = self._in_word(self._words[at], byte)
            places[rows] = at + place
            rows, at = rows[~is_found], at[~is_found] + _WORD
            if bool((at >= ends[rows]).any()):
                return None
        return places if bool((places < ends).all()) else None

    def _in_word(self, words: Words, byte: int) -> tuple[Int64Array, BoolArray]:
        """Which byte of each word is the first of this value, and whether one is; 0 where none is."""
        bits = words ^ (_LOWS * np.uint64(byte))
        noughts = bits - _LOWS
        noughts &= np.invert(bits, out=bits)
        noughts &= _HIGHS
        is_found = noughts != 0
        # The lowest bit that is left is of the first byte that is nought; what is above it may be a borrow.
        lowest = np.negative(noughts, out=bits)
        lowest &= noughts
        lowest >>= np.uint64(7)
        lowest *= _NUMBERS
        lowest >>= np.uint64(56)
        return lowest.view(np.int64), is_found

    def _stands(self, at: Int64Array, text: bytes) -> bool:
        """Whether a text stands at all these places."""
        return bool(self._step(at, at, text, 0, 0)[0].all())

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
