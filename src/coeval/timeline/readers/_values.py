"""
Values of one Arrow column, checked all at once: integers in ns, clocks' names, flags.

A value that cannot be used is a fault with its reason and never stops the others. A column that cannot hold what it is
for, whatever its values, is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.errors import WrongTable

Int64Array: TypeAlias = npt.NDArray[np.int64]
CodeArray: TypeAlias = npt.NDArray[np.int32]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

_INT64_MAX_TEXT = str(2**63 - 1)
_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_TRUE, _FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}


class Fault(NamedTuple):
    """Rows with the same thing wrong."""

    reason: str
    rows: Int64Array


class Values(NamedTuple):
    """One value per row; of rows that are in a fault, it means nothing."""

    values: npt.NDArray[Any]
    faults: list[Fault]


def as_numpy(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """
    A column of numbers or flags, none of them null, without a copy where that can be.

    Arrow's own way imports pandas wherever that is installed, which takes as long as many a merge.
    """
    if isinstance(column, pa.ChunkedArray):
        column = (
            column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays([*column.chunks, pa.nulls(0, column.type)])
        )
    kind = column.type
    if column.null_count or not (pa.types.is_integer(kind) or pa.types.is_float64(kind) or pa.types.is_boolean(kind)):
        odd: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return odd
    if not len(column):
        return np.empty(0, dtype=np.bool_ if pa.types.is_boolean(kind) else kind.to_pandas_dtype())
    if pa.types.is_boolean(kind):
        start, stop = column.offset, column.offset + len(column)
        bits = np.frombuffer(column.buffers()[1], np.uint8)[start >> 3 : (stop + 7) >> 3]
        flags: BoolArray = np.unpackbits(bits, bitorder="little", count=(start & 7) + len(column)).view(np.bool_)
        return flags[start & 7 :]
    values: npt.NDArray[Any] = np.from_dlpack(column)
    return values


def no_rows(schema: pa.Schema) -> pa.RecordBatch:
    """A batch of columns of any types, without a row."""
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def check_integer_type(name: str, kind: pa.DataType, source: str) -> None:
    """
    Refuse a column that cannot be integer nanoseconds.

    Raises:
        WrongTable: says why, and what to do.
    """
    kind = _decoded(kind)
    if pa.types.is_integer(kind) or _is_text(kind) or pa.types.is_null(kind):
        return
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        why = (
            f"is {kind}, and expected are whole nanoseconds: a float of seconds since 1970 is only good to 240 ns. "
            "Give int64 nanoseconds, made from the original text or integers where there are some, else "
            "round(seconds * 1e9) with a resolution of what the float leaves out"
        )
        if pa.types.is_floating(kind):
            why += ". Pandas makes floats of integers where one is missing: read it as dtype 'Int64'"
    elif pa.types.is_timestamp(kind):
        why = (
            f"is {kind} without a time zone, which is no time. Give int64 nanoseconds, or say the zone, such as "
            "tz_localize('UTC') of pandas"
        )
    else:
        why = f"is {kind}, and expected are int64 nanoseconds"
    raise WrongTable(f"column {name} of {source} {why}.")


def integers(column: pa.Array) -> Values:
    """Whole numbers: of any integer type, text, or times with a zone (ns since 1970)."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return Values(np.zeros(len(column), dtype=np.int64), _faults(column, {}))
    if _is_text(column.type):
        return _integers_of_text(column)
    if pa.types.is_timestamp(column.type):
        return _scaled(column, _NS[column.type.unit])
    beyond = np.zeros(len(column), dtype=np.bool_)
    if column.type == pa.uint64():
        beyond = _mask(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())))
        column = pc.if_else(pa.array(~beyond), column, pa.scalar(0, pa.uint64()))
    return Values(_filled(pc.cast(column, pa.int64())), _faults(column, {"is beyond int64": beyond}))


def names(column: pa.Array) -> tuple[Int64Array, list[str | None]]:
    """
    Texts as codes.

    Returns:
        A code per row, -1 where there is none, and the texts by code without the space around them; None: not UTF-8.
    """
    column = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    indices = pc.cast(column.indices, pa.int64())
    indices = pc.fill_null(indices, -1) if indices.null_count else indices
    texts: list[str | None] = []
    codes: dict[str | None, int] = {"": -1}
    table = [-1]
    for value in column.dictionary.to_pylist():
        text = _text_of(value)
        code = -1 if value is None else codes.setdefault(text, len(texts))
        if code == len(texts):
            texts.append(text)
        table.append(code)
    return np.array(table, dtype=np.int64)[as_numpy(indices) + 1], texts


def flags(column: pa.Array) -> Values:
    """True or false, also as text or 0 and 1; true where nothing is said."""
    codes, texts = names(column)
    known = [text is not None and text.lower() in _TRUE | _FALSE for text in texts]
    true = [text is not None and text.lower() in _TRUE for text in texts]
    bad = ~np.array([*known, True])[codes]
    return Values(np.array([*true, True])[codes], [Fault("is neither true nor false", np.flatnonzero(bad))])


def texts(column: pa.Array) -> pa.Array:
    """As text; what is not UTF-8 is shown with signs for what cannot be read."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowInvalid:
        return pa.array([_readable(value) for value in column.to_pylist()], pa.string())
    except pa.ArrowNotImplementedError:
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def _integers_of_text(column: pa.Array) -> Values:
    try:
        text = pc.cast(column, pa.string())
        # Arrow reads 0x10 as 16, and nobody writes times so.
        if not any(pc.any(pc.match_substring(text, sign)).as_py() for sign in "xX"):
            parsed = pc.cast(text, pa.int64())
            return Values(_filled(parsed), _faults(parsed, {}))
    except pa.ArrowInvalid:
        pass
    column = texts(column)
    text = pc.replace_substring_regex(pc.utf8_trim_whitespace(column), r"^\+([0-9])", r"\1")
    digits = pc.match_substring_regex(text, r"^-?[0-9]+$")
    magnitude = pc.replace_substring_regex(text, r"^-?0*", "")
    length = pc.utf8_length(magnitude)
    fits = pc.or_(
        pc.less(length, len(_INT64_MAX_TEXT)),
        pc.and_(pc.equal(length, len(_INT64_MAX_TEXT)), pc.less_equal(magnitude, _INT64_MAX_TEXT)),
    )
    good = pc.and_(digits, fits)
    negative = pc.starts_with(text, "-")
    # Leading zeros count for Arrow's cast, so they go first.
    plain = pc.if_else(pc.equal(magnitude, ""), "0", magnitude)
    parsed = pc.cast(pc.if_else(good, plain, None), pa.int64())
    parsed = pc.if_else(negative, pc.negate(parsed), parsed)
    empty = pc.equal(text, "")
    faults = {
        "is missing": _mask(empty),
        "is beyond int64": _mask(pc.and_not(digits, fits)),
        "is no whole number": _mask(pc.invert(pc.or_(digits, empty))),
    }
    return Values(_filled(parsed), _faults(column, faults))


def _scaled(column: pa.Array, factor: int) -> Values:
    counts = _filled(pc.cast(column, pa.int64()))
    limit = (2**63 - 1) // factor
    beyond = (counts > limit) | (counts < -limit)
    return Values(np.where(beyond, 0, counts) * factor, _faults(column, {"is beyond int64": beyond}))


def _faults(column: pa.Array, masks: dict[str, BoolArray]) -> list[Fault]:
    faults = [Fault(reason, np.flatnonzero(mask)) for reason, mask in masks.items() if mask.any()]
    if column.null_count:
        faults.append(Fault("is missing", np.flatnonzero(_mask(pc.is_null(column)))))
    return faults


def _mask(condition: pa.Array) -> BoolArray:
    mask: BoolArray = as_numpy(pc.fill_null(condition, False))
    return mask


def _filled(column: pa.Array) -> Int64Array:
    values: Int64Array = as_numpy(pc.fill_null(column, 0) if column.null_count else column)
    return values


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


_TEXT: tuple[Callable[[pa.DataType], bool], ...] = tuple(
    getattr(pa.types, name)
    for name in ("is_string", "is_large_string", "is_binary", "is_large_binary", "is_string_view", "is_binary_view")
)


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in _TEXT)


def encodable(text: str) -> str:
    """
    A text that UTF-8 can hold: halves of characters, as JSON writes them (\\ud800) and names of files that are no
    Unicode come, are written out.
    """
    return text.encode(errors="backslashreplace").decode()


def array_of(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """An array of what was found one by one, texts as `encodable`."""
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([encodable(value) if isinstance(value, str) else value for value in values], kind)


def _text_of(value: object) -> str | None:
    if isinstance(value, bytes):
        try:
            return value.decode().strip()
        except UnicodeDecodeError:
            return None
    return str(value).strip()


def _readable(value: object) -> str | None:
    return (
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else None if value is None else str(value)
    )


def described(batch: pa.RecordBatch, row: int, wanted: Sequence[str]) -> dict[str, str | None]:
    """What a row says, as text, for people."""
    return {name: _shown(batch.column(name)[row]) for name in wanted if name in batch.schema.names}


def _shown(value: pa.Scalar) -> str | None:
    try:
        return _readable(value.as_py())
    except (OverflowError, ValueError):  # a time beyond what Python counts
        return f"{value.type} {value.cast(pa.int64()).as_py()}" if pa.types.is_temporal(value.type) else None
