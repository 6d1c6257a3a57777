from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.readers._numbering import Numbering


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=60))
def test_rows_that_are_left_keep_the_numbers_they_had(first: int, kept: list[bool]) -> None:
    numbering = Numbering(first)
    for index, is_kept in enumerate(kept):
        if not is_kept:
            numbering.leave_out(first + index)
    expected = [first + index for index, is_kept in enumerate(kept) if is_kept]
    assert numbering.numbers_of(np.arange(len(expected))).tolist() == expected
