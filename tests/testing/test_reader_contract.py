"""The contract of readers says what a subject lacks."""

from __future__ import annotations

import pytest

from coeval.testing import ReaderContract


def test_a_subject_that_writes_no_record_is_told_what_to_write() -> None:
    class OfNothing(ReaderContract):
        reader = "mine"

    said = r"OfNothing does not say how a good record of 'mine' is written; give it a method record\(number, message\)"
    with pytest.raises(NotImplementedError, match=said):
        OfNothing().records(1)
