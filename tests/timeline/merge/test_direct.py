"""A file past the cache holds what was written, in whatever pieces, and tells of what goes wrong."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from coeval.timeline.merge._direct import _ALIGNED, _BUFFER_BYTES, DirectFile


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0, 5, 0],
        [_ALIGNED],
        [_BUFFER_BYTES],
        [_BUFFER_BYTES - 1, 1, 7],
        [3 * _BUFFER_BYTES + 11],
        [1 << 20] * 33 + [1],
        [_BUFFER_BYTES + 1, 2 * _BUFFER_BYTES, _ALIGNED - 1],
    ],
)
def test_what_was_written_is_in_the_file(tmp_path: Path, sizes: list[int]) -> None:
    whole = np.random.default_rng(1).integers(0, 256, sum(sizes), np.uint8).tobytes()
    threads = threading.active_count()
    with DirectFile(tmp_path / "file") as file:
        at = 0
        for size in sizes:
            assert file.write(memoryview(whole)[at : at + size]) == size
            at += size
            assert file.tell() == at
    assert (tmp_path / "file").read_bytes() == whole
    assert threading.active_count() == threads


def test_more_may_be_written_after_a_flush_of_any_size(tmp_path: Path) -> None:
    whole = np.random.default_rng(2).integers(0, 256, 3 * _BUFFER_BYTES + 3, np.uint8).tobytes()
    with DirectFile(tmp_path / "file") as file:
        for start, stop in ((0, 3), (3, _BUFFER_BYTES + 9), (_BUFFER_BYTES + 9, len(whole))):
            file.write(whole[start:stop])
            file.flush()
            assert (tmp_path / "file").stat().st_size == stop
    assert (tmp_path / "file").read_bytes() == whole


def test_numbers_are_written_as_bytes(tmp_path: Path) -> None:
    with DirectFile(tmp_path / "file") as file:
        assert file.write(np.arange(3)) == 24
    assert (tmp_path / "file").read_bytes() == np.arange(3).tobytes()


def test_a_file_that_may_not_grow_is_told(tmp_path: Path) -> None:
    """The limit stands for a full disk: the thread meets it, and whoever writes or flushes hears of it."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * _BUFFER_BYTES, limits[1]))
    try:
        file = DirectFile(tmp_path / "file")
        with pytest.raises(OSError, match=os.strerror(27)):
            for _ in range(5):
                file.write(b"x" * _BUFFER_BYTES)
            file.flush()
        file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert file.closed
