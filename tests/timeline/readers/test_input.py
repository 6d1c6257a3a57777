from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from coeval.timeline.readers._input import DAMAGED, Head, head_of, is_plain, open_input, size_of

DATA = b"".join(b"line %d of many\n" % number for number in range(20_000))


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
PACKERS["zst"] = zstd


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_files_are_told_by_their_bytes_and_give_what_was_packed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"web.log.{kind}"
    path.write_bytes(PACKERS[kind](DATA))
    assert not is_plain(str(path))
    with open_input(str(path)) as file:
        assert file.read(5) + file.read() == DATA
    assert head_of(str(path), 100) == Head("web.log", DATA[:100], False)


@pytest.mark.parametrize("kind", PACKERS)
def test_members_one_after_the_other_are_read_to_the_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "web.log"
    path.write_bytes(PACKERS[kind](b"a\n") + PACKERS[kind](b"b\n"))
    with open_input(str(path)) as file:
        assert b"".join(iter(lambda: file.read(4096), b"")) == b"a\nb\n"


@pytest.mark.parametrize("kind", PACKERS)
def test_a_cut_file_gives_what_it_has_and_then_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "web.log"
    packed = PACKERS[kind](DATA)
    path.write_bytes(packed[: len(packed) * 2 // 3])
    got = b""
    with open_input(str(path)) as file, pytest.raises(DAMAGED):
        while more := file.read(1000):
            got += more
    assert DATA.startswith(got)
    assert DATA.startswith(head_of(str(path)).data)


def test_plain_files_and_urls_are_read_from_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_bytes(DATA)
    for name in (str(path), path.as_uri()):
        assert is_plain(name)
        assert size_of(name) == len(DATA)
        with open_input(name) as file:
            assert file.read() == DATA
    assert head_of(str(path)).is_whole is False
    assert head_of(str(path), len(DATA)).is_whole
