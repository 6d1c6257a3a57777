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
_STEP_BYTES = 1 << 16
_ALL = 1 << 62


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
        return int(filesystem_of(path)[0].size(path))
    return Path(path).stat().st_size


def modified_s(path: str) -> int | None:
    """When a file was last written, seconds since 1970; None: its store does not say."""
    if not is_url(path):
        return int(Path(path).stat().st_mtime)
    filesystem, within = filesystem_of(path)
    try:
        return int(filesystem.modified(within).timestamp())
    except (NotImplementedError, KeyError, AttributeError):
        return None


def version_of(path: str) -> tuple[int, int]:
    """Size and time of the last change: where they are the same, so is what a file begins with."""
    if is_url(path):
        return size_of(path), modified_s(path) or 0
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns


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
    """
    A decompressed stream on a file. Decompressors leave open the file they are given, so both are closed here; and of a
    damaged file everything before the damage is given out before the error is.
    """

    def __init__(self, stream: Any, raw: IO[bytes]) -> None:
        self._stream = stream
        self._raw = raw
        # `read` of many bytes loses those before an error; `read1` gives what one step brings.
        self._step = getattr(stream, "read1", stream.read)
        self._error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces: list[bytes] = []
        left = size if size is not None and size >= 0 else _ALL
        while left > 0:
            piece = self._piece(min(left, _STEP_BYTES), is_first=not pieces)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _piece(self, size: int, *, is_first: bool) -> bytes:
        if self._error is None:
            try:
                piece: bytes = self._step(size)
                return piece
            except DAMAGED as error:
                self._error = error
        if is_first:
            raise self._error
        return b""

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
        filesystem, within = filesystem_of(path)
        return cast("IO[bytes]", filesystem.open(within, "rb"))
    return open(os.fspath(path), "rb")


def filesystem_of(path: str, *, is_shared: bool = True) -> tuple[Any, str]:
    """
    What fsspec opens a URL with, and its name there.

    Args:
        is_shared: whoever asks for the same gets the same; else it is the caller's own.

    Raises:
        MissingExtra: fsspec is not installed, or what it needs for such a URL.
        ValueError: nothing is known that opens such a URL.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(f"{path} is a URL, which fsspec opens: pip install 'coeval[remote]'") from error
    try:
        filesystem, within = fsspec.core.url_to_fs(path, **({} if is_shared else {"skip_instance_cache": True}))
    except ImportError as error:
        raise MissingExtra(f"{path} cannot be opened, as fsspec needs another package for it: {error}") from error
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be opened: {error}; expected a URL that fsspec knows, such as s3://, gs://, sftp:// or file://"
        ) from error
    return filesystem, within
