"""
Files with anything in them: no reader raises but what it may, and none loses a record.

For longer: `COEVAL_FUZZ_S=300 pytest tests/timeline/readers/test_table_fuzz.py --timeout 1000`, which says its seeds.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from coeval.errors import WrongTable
from coeval.timeline.readers._reader import SourceSettings
from tests.timeline.readers.reading import Read

DATA = Path(__file__).parent.parent.parent / "data" / "readers"
FUZZ_S = float(os.environ.get("COEVAL_FUZZ_S", 0))
FILES_MIN = 40

GOLDEN = {
    "jsonl": ("app.jsonl", "nested.jsonl"),
    "journald": ("journald.json",),
    "csv": ("table.csv",),
    "otlp": ("otlp.jsonl",),
    "chrome": ("viztracer.json",),
    "shiviz": ("shiviz.log",),
    "parquet": ("table.parquet",),
    "arrow": ("table.arrow",),
    "sqlite": ("table.sqlite",),
}
_SIGNS = (b'"', b"{", b"}", b"\n", b"\r", b"\0", b",", b"[", b"]", b";;", b"\xff", b"\xef\xbb\xbf")
_VALUES = (b"1e999", b"-1", b"null", b"9" * 23, b'"\\ud800"', b"0.1", b"NaN")
ODD: tuple[bytes, ...] = (*_SIGNS, *_VALUES)


def mutated(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(made) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(made):
            made[at] = rng.randrange(256)
        elif kind == 1:
            del made[at : at + rng.choice((1, 2, 10, 100))]
        elif kind == 2:
            made[at:at] = rng.choice(ODD)
        elif kind == 3:
            begin = rng.randrange(len(made) + 1)
            made[at:at] = made[begin : begin + rng.choice((1, 10, 100))]
        elif kind == 4 and rng.random() < 0.2:
            del made[at:]
    return bytes(made)


@pytest.mark.parametrize("reader", sorted(GOLDEN))
def test_file_of_any_bytes_is_read_or_refused_and_every_record_is_an_event_or_set_aside(
    tmp_path: Path, reader: str
) -> None:
    path = tmp_path / "file"
    end = time.monotonic() + FUZZ_S / len(GOLDEN)
    count = 0
    while count < FILES_MIN or time.monotonic() < end:
        seed = f"{reader} {count if not FUZZ_S else random.randrange(1 << 40)}"
        rng = random.Random(seed)
        path.write_bytes(mutated((DATA / rng.choice(GOLDEN[reader])).read_bytes(), rng))
        count += 1
        try:
            read = Read(reader, path, SourceSettings(assume_utc=True), size=rng.choice((64, 300, 1 << 40)))
            for batch in read.batches:
                batch.payload.validate(full=True)
                assert len(batch.lines) == len(batch.raw_ns) == batch.payload.num_rows
        except WrongTable:
            continue
        except Exception as error:
            kept = Path(os.environ.get("COEVAL_FUZZ_DIR", tmp_path)) / f"{seed}.bin"
            kept.write_bytes(path.read_bytes())
            raise AssertionError(f"seed {seed!r}, file {kept}") from error
