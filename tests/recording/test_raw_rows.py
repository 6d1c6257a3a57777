"""Raw rows and the kinds of rows that they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from coeval.recording import _raw_rows
from coeval.recording._raw_rows import OUTCOME_PROCESS, SENT_FUNCTION, RawRow, raw_row, typed_row
from coeval.recording._rows import KINDS, OutcomeRow, ResultRow, Row, SentRow, WorkRow

# A ledger's rows are made by the ledger alone.
MADE_RAW = sorted(name for name, kind in KINDS.items() if kind not in (WorkRow, ResultRow))


def maker(name: str) -> Callable[..., RawRow]:
    found: Callable[..., RawRow] = getattr(_raw_rows, f"{name}_row")
    return found


@pytest.mark.parametrize("name", MADE_RAW)
def test_each_kind_is_made_raw_with_the_same_arguments(name: str) -> None:
    kind, make = KINDS[name], maker(name)
    parameters = inspect.signature(make).parameters
    assert tuple(parameters) == kind._fields
    defaults = {field: one.default for field, one in parameters.items() if one.default is not inspect.Parameter.empty}
    assert defaults == kind._field_defaults
    assert {field: one.annotation for field, one in parameters.items()} == {
        field: getattr(annotation, "__forward_arg__", annotation) for field, annotation in kind.__annotations__.items()
    }


@pytest.mark.parametrize("name", MADE_RAW)
def test_a_row_is_the_same_raw_and_typed(name: str) -> None:
    kind = KINDS[name]
    values = [f"{name} {place}" for place in range(len(kind._fields))]
    raw = maker(name)(*values)
    typed: Row = typed_row(raw)
    assert (type(raw), type(typed)) == (tuple, kind)
    assert typed == tuple(values)
    assert raw_row(typed) == raw_row(raw) == raw


def test_the_places_that_memory_looks_at_are_those_of_the_fields() -> None:
    assert 1 + SentRow._fields.index("function") == SENT_FUNCTION
    assert 1 + OutcomeRow._fields.index("process") == OUTCOME_PROCESS
