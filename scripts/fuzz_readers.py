#!/usr/bin/env python3
"""
Break files of every reader at random, and see that nothing breaks and nothing is lost.

    python scripts/fuzz_readers.py --seconds 300 [--seed 17] [--reader iso]

A file of good records is changed in a few places: bytes flipped, cut out, put in, lines doubled, torn or joined, the
tail cut off. It must still be read, in parts of any size, without any error but `WrongTable` or `OSError` at opening;
read = events + set aside; and every record whose own lines were not touched must come, with the stamp it had. What
fails is printed with its seed and kept in a file.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from coeval.errors import WrongTable
from coeval.testing import ReaderContract
from tests.contracts import test_readers

SUBJECTS: dict[str, ReaderContract] = {
    kind.reader: kind() for kind in vars(test_readers).values() if isinstance(kind, type) and hasattr(kind, "golden")
}
RECORDS_MAX = 40
JUNK = [
    b"\0",
    b"\xff\xfe",
    b"\r",
    b"\r\n",
    b"\n",
    b'"',
    b"\\",
    b"[",
    b"]",
    b"Z",
    b"+01:00",
    b" ",
    b"9" * 30,
    b"\xe2\x82",
]


def fuzz(reader: str, seed: int, folder: Path) -> None:
    """
    One changed file.

    Raises:
        Exception: what must not happen.
    """
    rng = random.Random(f"{reader} {seed}")
    subject = SUBJECTS[reader]
    path = folder / "file"
    options: dict[str, Any] = {
        "size": rng.choice([1 << 60, 64, 200, 1000]),
        "wanted": rng.choice([None, (), ("text",)]),
    }
    if type(subject).content is ReaderContract.content:
        _fuzz_lines(subject, rng, path, options)
    else:
        _fuzz_bytes(subject, rng, path, options)


def _fuzz_lines(subject: ReaderContract, rng: random.Random, path: Path, options: dict[str, Any]) -> None:
    """Change some records: every other one must come."""
    records = subject.records(rng.randint(1, RECORDS_MAX))
    path.write_bytes(subject.content(records))
    stamps = [event["raw_ns"] for event in subject.read(path).without_lines()]
    touched: set[int] = set()
    for _ in range(rng.randint(1, 6)):
        number = rng.randrange(len(records))
        touched.add(number)
        records[number] = rng.choice(CHANGES)(rng, records[number])
    content = subject.content(records, rng.choice(LINE_ENDS))
    if rng.random() < 0.3:
        cut = rng.randint(len(subject.header), len(content))
        kept = [len(subject.content(records[:count], (b"",))) for count in range(len(records) + 1)]
        # As if every line end had two bytes, so that what is left is not overrated.
        touched |= {number for number in range(len(records)) if kept[number + 1] + 2 * (number + 2) > cut}
        content = content[:cut]
    path.write_bytes(content)
    try:
        read = subject.read(path, **options)
    except WrongTable:
        # Refused at opening: what stands at the begin can make it look like something else.
        if 0 not in touched:
            raise
        return
    given = Counter(event["raw_ns"] for event in read.events.values())
    lost = [number for number, stamp in enumerate(stamps) if number not in touched and not given[stamp]]
    if lost:
        raise AssertionError(f"records {lost} were not touched and are lost")


def _fuzz_bytes(subject: ReaderContract, rng: random.Random, path: Path, options: dict[str, Any]) -> None:
    """Change a file whose records cannot be changed one by one; it may be refused, and what is read must add up."""
    content = subject.content(subject.records(rng.randint(1, RECORDS_MAX)))
    for _ in range(rng.randint(1, 6)):
        content = rng.choice(CHANGES[:4] if rng.random() < 0.2 else CHANGES[:1])(rng, content)
    path.write_bytes(content)
    with contextlib.suppress(WrongTable, OSError):
        subject.read(path, **options)


def _flip(rng: random.Random, record: bytes) -> bytes:
    changed = bytearray(record)
    for _ in range(rng.randint(1, 4)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice([rng.randrange(256), *b'0123456789:-/. \n\r"\\'])
    return bytes(changed)


def _cut_out(rng: random.Random, record: bytes) -> bytes:
    begin = rng.randint(0, len(record))
    return record[:begin] + record[rng.randint(begin, len(record)) :]


def _put_in(rng: random.Random, record: bytes) -> bytes:
    place = rng.randint(0, len(record))
    return record[:place] + rng.choice(JUNK) * rng.choice([1, 1, 2, 600]) + record[place:]


def _tear(rng: random.Random, record: bytes) -> bytes:
    return record[: rng.randint(0, len(record))]


def _double(rng: random.Random, record: bytes) -> bytes:
    return record + rng.choice([b"", b"\n", b" "]) + record


def _digits(rng: random.Random, record: bytes) -> bytes:
    """Another stamp, which may be no time."""
    return bytes(rng.choice(b"0123456789") if 48 <= byte <= 57 and rng.random() < 0.2 else byte for byte in record)


CHANGES: list[Callable[[random.Random, bytes], bytes]] = [_flip, _cut_out, _put_in, _tear, _double, _digits]
LINE_ENDS: list[tuple[bytes, ...]] = [(b"\n",), (b"\r\n",), (b"\n", b"\r\n")]


def main() -> int:
    """Run for the time given; 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--reader", choices=sorted(SUBJECTS), action="append")
    parser.add_argument("--once", action="store_true", help="only this seed, to see a failure again")
    options = parser.parse_args()
    names = options.reader or sorted(SUBJECTS)
    print(f"seed {options.seed}, {options.seconds:g} s, {', '.join(names)}", flush=True)
    counts: Counter[str] = Counter()
    failed = 0
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        seed = options.seed
        while time.monotonic() < end:
            for name in names:
                try:
                    fuzz(name, seed, Path(folder))
                except Exception as error:
                    failed += 1
                    kept = Path(f"fuzz-{name}-{seed}")
                    kept.write_bytes((Path(folder) / "file").read_bytes())
                    print(f"{name}: seed {seed}: {type(error).__name__}: {error}; the file is {kept}", flush=True)
                counts[name] += 1
            seed += 1
            if options.once or failed >= 20:
                break
    print(f"{sum(counts.values()):,} files ({', '.join(f'{name} {count:,}' for name, count in counts.items())})")
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
