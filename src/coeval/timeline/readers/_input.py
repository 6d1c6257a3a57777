"""
The bytes of a source: a local file or a URL, decompressed. What a file is, its first bytes say: names lie.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from coeval.errors import MissingExtra

GZIP, BZ2, XZ, ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, pa.ArrowInvalid)
"""What reading a damaged compressed file raises; an OSError with an `errno` is the system's word and no damage."""

HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Head:
    """
    How a file begins.

    Attributes:
        name: the file's, without its folder and the suffix of its compression.
        data: its first bytes, decompressed.
        is_whole: it has no more.
    """

    name: str
    data: bytes
    is_whole: bool


def head_of(path: str, size: int = HEAD_BYTES) -> Head:
    """
    Look at a file's first bytes; of a damaged one, as far as they can be read.

    Raises:
        OSError: it cannot be read.
    """
    name = PurePosixPath(path).name
    if name.endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    data = b""
    with closing(open_input(path)) as file:
        try:
            while len(data) <= size and (more := file.read(size + 1 - len(data))):
                data += more
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
    return Head(name, data[:size], len(data) <= size)


def is_plain(path: str) -> bool:
    """Whether the file is not compressed, so that it can be read from any byte on."""
    with closing(_open(path)) as file:
        return not file.read(8).startswith((GZIP, BZ2, XZ, ZSTD))


def size_of(path: str) -> int:
    """How many bytes it has as it lies there."""
    if is_url(path):
        return int(_filesystem(path)[0].size(path))
    return Path(path).stat().st_size


def is_url(path: str) -> bool:
    """Whether a path is one for fsspec, such as `s3://bucket/log`."""
    return "://" in path


def open_input(path: str) -> IO[bytes]:
    """
    Open a file for reading, decompressed. Closing what comes back closes all that is under it.

    Raises:
        OSError: it cannot be read.
        MissingExtra: it is a URL, and fsspec is not installed.
    """
    with closing(_open(path)) as file:
        start = file.read(8)
    raw = _open(path)
    if start.startswith(GZIP):
        return _layered(gzip.GzipFile(fileobj=raw, mode="rb"), raw)
    if start.startswith(BZ2):
        return _layered(bz2.open(raw, "rb"), raw)
    if start.startswith(XZ):
        return _layered(lzma.open(raw, "rb"), raw)
    if start.startswith(ZSTD):
        return _layered(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"), raw)
    return raw


def _layered(stream: Any, raw: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", _Layers(stream, raw))


class _Layers(io.RawIOBase):
    """A stream on a file: the decompressors leave open the file they are given, so both are closed here."""

    def __init__(self, stream: Any, raw: IO[bytes]) -> None:
        self._stream = stream
        self._raw = raw

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read() if size is None or size < 0 else self._stream.read(size)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._raw.close()
            super().close()


def _open(path: str) -> IO[bytes]:
    if is_url(path):
        filesystem, within = _filesystem(path)
        return cast("IO[bytes]", filesystem.open(within, "rb"))
    return open(os.fspath(path), "rb")


def _filesystem(path: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(f"{path} is a URL, which fsspec reads: pip install 'coeval[remote]'") from error
    filesystem, within = fsspec.core.url_to_fs(path)
    return filesystem, within
