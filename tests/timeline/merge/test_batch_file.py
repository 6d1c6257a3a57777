"""Chunks of events in a file: what was written is read again, whatever came before it in a column of its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from coeval.timeline.merge._batch_file import ChunkFile, ChunkWriter
from coeval.timeline.readers._reader import EventBatch

OK = ["ok"] * 100


@pytest.mark.parametrize(
    "second",
    [
        pa.array([5] * 100),
        pa.array([b"\xff"] * 100),
        pa.array([None] * 100),
        pa.array([None, *OK], pa.string()),
        pa.array([str(number) for number in range(20_000)]),
        pa.array([], pa.string()),
        pa.array(OK, pa.large_string()),
    ],
    ids=["integers", "bytes", "nulls", "texts", "too many texts", "no row", "large texts"],
)
def test_texts_with_codes_may_be_followed_by_anything_of_their_name(tmp_path: Path, second: pa.Array) -> None:
    columns = [pa.array(OK), second, pa.array(["ok", "else"] * 50)]
    path = str(tmp_path / "chunks.arrow")
    with ChunkWriter(path, has_codes=True) as writer:
        for column in columns:
            moments = np.arange(len(column))
            writer.write(EventBatch(moments, moments, 1, pa.record_batch({"v": column})))
    file = ChunkFile(path, "")
    read = [file.chunk(number).payload.column("v") for number in range(3)]
    assert [column.to_pylist() for column in read] == [column.to_pylist() for column in columns]
    assert pa.types.is_dictionary(read[0].type)
