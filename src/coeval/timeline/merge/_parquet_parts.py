"""
A Parquet file whose groups of rows were encoded side by side.

Encoding takes longer than all else that a merge does to a row once it is read, and the library encodes one group after
the other, in one thread. But pages know nothing of where they lie; only the footer does. So each group is written as
a file of its own, in memory and in a thread of its own. The pages go into the one file as they are, and the footers
become one, with every place moved by as much as its pages were.

    PAR1 pages footer | PAR1 pages footer | …   ->   PAR1 pages pages … footer

A footer is a struct of Thrift's compact protocol. It is read without knowing what its fields mean, but for those that
are places, so whatever else the library puts there stays.

Source: https://github.com/apache/parquet-format (parquet.thrift), https://github.com/apache/thrift
(doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

MAGIC = b"PAR1"

_TRUE, _FALSE, _BYTE, _INT16, _INT32, _INT64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = (_INT16, _INT32, _INT64)
_ORDINAL_MAX = 2**15 - 1

# Fields of the footer, as parquet.thrift numbers them.
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_PLACE, _GROUP_ORDINAL = 1, 5, 7
_COLUMN_PLACES, _COLUMN_META = (2,), 3
_META_PLACES = (9, 10, 11)


class Value(NamedTuple):
    """A Thrift value: of a list its elements' type and the elements, of a struct the fields by number."""

    kind: int
    value: Any


Struct: TypeAlias = dict[int, Value]


class ParquetPart(NamedTuple):
    """
    A file of its own, taken apart.

    Attributes:
        pages: what stands between its first four bytes and its footer.
        footer: without its length.
    """

    pages: memoryview
    footer: Struct


def parquet_part(data: memoryview) -> ParquetPart:
    """
    Take a Parquet file apart.

    Args:
        data: the file, without indexes of pages and without filters, which would lie between pages and footer.
    """
    assert data[:4] == MAGIC == data[-4:]
    size = int.from_bytes(data[-8:-4], "little")
    begin = len(data) - 8 - size
    return ParquetPart(data[len(MAGIC) : begin], _Reader(bytes(data[begin:-8])).struct())


class Footers:
    """
    Footers that become one.

    Attributes:
        place: where the next part's pages go.
    """

    def __init__(self) -> None:
        self.place = len(MAGIC)
        self._whole: Struct = {}
        self._groups: list[Struct] = []
        self._rows = 0

    def add(self, part: ParquetPart) -> None:
        """The next part; what all have in common is taken from the first."""
        self._whole = self._whole or part.footer
        self._rows += part.footer[_FILE_ROWS].value
        moved = self.place - len(MAGIC)
        for group in part.footer[_FILE_GROUPS].value[1]:
            self._groups.append(_moved(group, moved, len(self._groups)))
        self.place += len(part.pages)

    def whole(self) -> bytes:
        """What the file ends with."""
        footer = self._whole | {
            _FILE_ROWS: Value(_INT64, self._rows),
            _FILE_GROUPS: Value(_LIST, (_STRUCT, self._groups)),
        }
        written = b"".join(_written(Value(_STRUCT, footer)))
        return written + len(written).to_bytes(4, "little") + MAGIC


def _moved(group: Struct, by: int, ordinal: int) -> Struct:
    moved = _with_places_moved(group, (_GROUP_PLACE,), by)
    kind, columns = group[_GROUP_COLUMNS].value
    made = []
    for column in columns:
        column = _with_places_moved(column, _COLUMN_PLACES, by)
        meta = _with_places_moved(column[_COLUMN_META].value, _META_PLACES, by)
        made.append(column | {_COLUMN_META: Value(_STRUCT, meta)})
    moved[_GROUP_COLUMNS] = Value(_LIST, (kind, made))
    if moved.pop(_GROUP_ORDINAL, None) is not None and ordinal <= _ORDINAL_MAX:
        moved[_GROUP_ORDINAL] = Value(_INT16, ordinal)
    return moved


def _with_places_moved(struct: Struct, places: Sequence[int], by: int) -> Struct:
    # A place of 0 is none: no page stands before the first four bytes.
    return struct | {
        number: Value(_INT64, struct[number].value + by)
        for number in places
        if number in struct and struct[number].value
    }


# Thrift's compact protocol --------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = Value(kind, None if kind in (_TRUE, _FALSE) else self._value(kind))
        return found

    def _value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self._signed()
        if kind in (_TRUE, _FALSE, _BYTE):  # flags have a byte of their own where they stand in lists
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return head & 15, [self._value(head & 15) for _ in range(count)]
        assert kind == _STRUCT, f"a footer has a field of type {kind}, which none has"
        return self.struct()

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)


def _written(item: Value) -> Iterator[bytes]:
    kind, value = item
    if kind in _INTEGERS:
        yield _signed(value)
    elif kind in (_TRUE, _FALSE, _BYTE):
        yield bytes([value])
    elif kind == _DOUBLE:
        yield value
    elif kind == _BINARY:
        yield _unsigned(len(value)) + value
    elif kind in (_LIST, _SET):
        inner, elements = value
        count = len(elements)
        yield bytes([min(count, 15) << 4 | inner]) + (_unsigned(count) if count >= 15 else b"")
        for element in elements:
            yield from _written(Value(inner, element))
    else:
        before = 0
        for number, entry in sorted(value.items()):
            step = number - before
            yield bytes([step << 4 | entry.kind]) if 0 < step <= 15 else bytes([entry.kind]) + _signed(number)
            if entry.kind not in (_TRUE, _FALSE):
                yield from _written(entry)
            before = number
        yield b"\0"


def _unsigned(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _signed(value: int) -> bytes:
    return _unsigned(value << 1 if value >= 0 else (-value << 1) - 1)
