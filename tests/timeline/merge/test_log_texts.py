"""Texts by their places in logs: what is read of them is what stands there, in any cut and together with others."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.merge import _log_texts
from coeval.timeline.merge._log_texts import WHOLE_TEXTS, LogTexts, OpenLog, as_batch, as_table

LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20), max_size=12)


def written(path: Path, lines: list[str]) -> LogTexts:
    """Of a log that begins and ends with other lines."""
    texts = [f"{line}\n".encode() for line in lines]
    path.write_bytes(b"before\n" + b"".join(texts) + b"after\n")
    return LogTexts(OpenLog(str(path)), 7 + np.cumsum([0, *map(len, texts)], dtype=np.int64))


@given(logs=st.lists(st.tuples(LINES, st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=4))
def test_some_texts_of_several_logs_come_one_after_the_other(
    logs: list[tuple[list[str], int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    parts, expected = [], []
    for number, (lines, start, count) in enumerate(logs):
        start = min(start, len(lines))
        count = min(count, len(lines) - start)
        parts.append(written(folder / str(number), lines).slice(start, count))
        chosen = [f"{line}\n" for line in lines[start : start + count]]
        assert (len(parts[-1]), as_batch(parts[-1]).column(0).to_pylist()) == (len(chosen), chosen)
        expected += chosen
    table = as_table(parts, WHOLE_TEXTS)
    assert table is not None
    table.validate(full=True)
    assert table.column(0).to_pylist() == expected


def test_other_payloads_and_more_columns_are_left_to_whoever_asks(tmp_path: Path) -> None:
    texts = written(tmp_path / "a", ["one"])
    assert as_table([texts, as_batch(texts)], WHOLE_TEXTS) is None
    assert as_table([texts], WHOLE_TEXTS.append(pa.field("more", pa.int64()))) is None


def test_more_than_one_column_can_hold_is_left_to_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(tmp_path / "a", ["one", "two"])
    monkeypatch.setattr(_log_texts, "_TOGETHER_BYTES_MAX", texts.size)
    assert as_table([texts], WHOLE_TEXTS) is not None
    assert as_table([texts, texts.slice(0, 1)], WHOLE_TEXTS) is None


def test_a_log_that_is_too_short_is_an_error_that_names_it(tmp_path: Path) -> None:
    texts = written(tmp_path / "a.log", ["one", "two"])
    os.truncate(tmp_path / "a.log", 9)
    with pytest.raises(OSError, match=r"a\.log became shorter while it was merged: byte 15 is gone"):
        as_batch(texts)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_log_is_closed_when_nobody_has_texts_of_it(tmp_path: Path) -> None:
    def opened() -> int:
        return sum(link.resolve() == tmp_path / "a" for link in Path("/proc/self/fd").iterdir())

    kept = written(tmp_path / "a", ["one", "two"]).slice(1, 1)
    gc.collect()
    assert (opened(), as_batch(kept).column(0).to_pylist()) == (1, ["two\n"])
    del kept
    gc.collect()
    assert opened() == 0
