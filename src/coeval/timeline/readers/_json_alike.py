"""
Lines of JSON that all look alike: the same keys in the same order, with texts, numbers and flags as values.

Programs write such lines by the million. What stands between the values is then the same in every line, so a line is a
walk: over what is the same, over a value to the byte that ends it, and so on, for all lines of a block at once and
eight bytes at a time. A value ends about where it ends in the first lines; where it does not, every byte is looked at.
Values that had one length so far, as stamps and codes have, are walked over together with what is around them.

That no text holds a quote is not looked at text by text: there are no more in the block than those around texts and
keys. A block of which anything is not as the shape says is left to others, so nothing depends on what is known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._values import BoolArray, Int64Array

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

_QUOTE, _BACKSLASH, _SPACE, _MINUS, _ZERO, _NINE = 34, 92, 32, 45, 48, 57
_WORD = 8
# A value is looked for from so many bytes before the end that it has in the line that the shape is of.
_SHORTER_MAX = 4
# What is taken of each line at once. It hardly matters how many bytes these are, but they are compared with the shape.
_TAKEN_MAX = 96

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


class _Leg(NamedTuple):
    """
    A piece of the walk along a line: over what is the same in every line, up to a value whose end is looked for.

    Attributes:
        text, mask: what stands there; where the mask has a 0, any byte may.
        inner: values within, by their begin and end from the leg's begin on.
        skipped: from the value's begin to where its end is looked for.
        behind: the byte that follows the value; None: it is the line's last value, and nothing is looked for.
    """

    text: bytes
    mask: bytes
    inner: tuple[tuple[int, int], ...]
    skipped: int
    behind: int | None


def _legs(shape: JsonShape, steady: Collection[int]) -> list[_Leg]:
    """
    The walk along lines of a shape.

    Args:
        steady: numbers of values that are walked over as if all had one length.
    """
    legs: list[_Leg] = []
    text = mask = b""
    inner: list[tuple[int, int]] = []
    last = len(shape.values) - 1
    for number, (around, value) in enumerate(zip(shape.around[:-1], shape.values, strict=True)):
        text, mask = text + around, mask + b"\xff" * len(around)
        end = len(text) + value.length
        if number in steady and number < last and end + len(shape.around[number + 1]) <= _TAKEN_MAX:
            inner.append((len(text), end))
            text, mask = text.ljust(end, b"\0"), mask.ljust(end, b"\0")
            continue
        behind = shape.around[number + 1][0] if number < last else None
        legs.append(_Leg(text, mask, tuple(inner), max(value.length - _SHORTER_MAX, 0), behind))
        text = mask = b""
        inner = []
    return legs


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
        self._legs = _legs(shape, ())
        # Values that had one length in every line so far, and the way in fewer legs; None: no block was read yet.
        self._steady = frozenset(range(len(shape.values)))
        self._fewer_legs: list[_Leg] | None = None

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
        places = self._places(lines, offsets[:-1], offsets[1:] - 1)
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

    def _places(self, lines: _Block, begins: Int64Array, ends: Int64Array) -> list[_Places] | None:
        """Where each value stands; see `_Block.places`."""
        last = self.shape.around[-1]
        if self._fewer_legs is not None:
            places = lines.places(self._fewer_legs, last, begins, ends)
            if places is not None or not self._steady:
                return places
        places = lines.places(self._legs, last, begins, ends)
        if places is not None:
            self._steady &= {
                number
                for number, (value, place) in enumerate(zip(self.shape.values, places, strict=True))
                if bool((place.ends - place.begins == value.length).all())
            }
            self._fewer_legs = _legs(self.shape, self._steady)
        return places

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

    def places(self, legs: Sequence[_Leg], last: bytes, begins: Int64Array, ends: Int64Array) -> list[_Places] | None:
        """
        Where each value stands; None: what is around them is not the same in every line.

        Args:
            legs: of the way along each line.
            last: what stands behind the last value, up to the line's end.
            begins, ends: of each line.
        """
        places: list[_Places] = []
        begin, found = begins, begins
        for number, leg in enumerate(legs):
            at = found
            stands, found = self._step(at, ends, leg)
            if not bool(stands.all()):
                rows = np.flatnonzero(~stands)
                exact = self._first(begin[rows], ends[rows], leg.text[0]) if number else None
                if exact is None:
                    return None
                at[rows] = exact
                stands, found[rows] = self._step(exact, ends[rows], leg)
                if not bool(stands.all()):
                    return None
            if number:
                places.append(_Places(begin, at))
            places += [_Places(at + since, at + until) for since, until in leg.inner]
            begin = at + len(leg.text)
        at = ends - len(last)
        if bool((at < begin).any()) or not self._stands(at, last):
            return None
        return [*places, _Places(begin, at)]

    def _step(self, at: Int64Array, ends: Int64Array, leg: _Leg) -> tuple[BoolArray, Int64Array]:
        """
        Whether what is the same stands at each place, and where the value behind it ends, if that is near.

        Args:
            ends: of the lines; no result is beyond.
        """
        reach = len(leg.text) + leg.skipped
        is_at_once = leg.behind is not None and reach <= _TAKEN_MAX
        # The last of the words is where the end is looked for, so the first may begin before the text.
        lead = -reach % _WORD if is_at_once else 0
        count = (lead + reach) // _WORD + 1 if is_at_once else -(-len(leg.text) // _WORD)
        every = np.ndarray((len(self._words) - (count - 1) * _WORD,), f"V{count * _WORD}", self._data, 0, (1,))
        words = every[at - lead].view("<u8").reshape(len(at), count)
        stands = np.ones(len(at), np.bool_)
        for number in range((lead + len(leg.text) - 1) // _WORD + 1):
            mask, wanted = (
                np.uint64(int.from_bytes((bytes(lead) + each)[_WORD * number :][:_WORD], "little"))
                for each in (leg.mask, leg.text)
            )
            if mask:
                stands &= (words[:, number] & mask) == wanted
        if leg.behind is None:
            return stands, ends
        # Other lines may be much shorter, and the last ones end with the bytes.
        near = words[:, -1] if is_at_once else self._words[np.minimum(at + reach, len(self._words) - 1)]
        return stands, np.minimum(at + (reach + self._in_word(near, leg.behind)[0]), ends)

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
        found = (np.ascontiguousarray(words).view(np.uint8) == byte).view("<u8")
        lowest = np.negative(found)
        lowest &= found
        lowest *= _NUMBERS
        lowest >>= np.uint64(56)
        return lowest.view(np.int64), found != 0

    def _stands(self, at: Int64Array, text: bytes) -> bool:
        """Whether a text stands at all these places."""
        return bool(self._step(at, at, _Leg(text, b"\xff" * len(text), (), 0, None))[0].all())

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
        return pc.take(pieces, pa.array(np.arange(0, 2 * count, 2)), boundscheck=False)

    def _flags(self, begins: Int64Array, ends: Int64Array) -> pa.Array | None:
        is_true = ends - begins == 4
        for chosen, text in ((is_true, b"true"), (~is_true, b"false")):
            if bool(chosen.any()):
                is_long = ends[chosen] - begins[chosen] == len(text)
                if not bool(is_long.all()) or not self._stands(begins[chosen], text):
                    return None
        return pa.array(is_true)

    def _integers(self, begins: Int64Array, ends: Int64Array) -> pa.Array | None:
        # Arrow reads more than JSON has: zeros before the first digit, and 0x10 as 16.
        digits, first = begins, self._data[begins]
        is_negative = first == _MINUS
        if bool(is_negative.any()):
            digits = begins + is_negative
            first = self._data[digits]
        if bool(((first < _ZERO) | (first > _NINE) | ((first == _ZERO) & (ends - digits > 1))).any()):
            return None
        try:
            return self._texts(begins, ends).cast(pa.int64())
        except pa.ArrowInvalid:
            return None
