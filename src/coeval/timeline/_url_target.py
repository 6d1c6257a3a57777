"""
A file behind a URL that is there under its name once it is whole.

fsspec keeps what is written within a transaction apart until it ends: under another name, as parts of an upload that is
not complete, or in memory. Stores that cannot do that have the file when it is closed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from coeval.timeline.readers._input import filesystem_of, is_url


def place_of(text: str) -> Path | str:
    """What a user names: a URL stays text, anything else is a path."""
    return text if is_url(text) else Path(text)


def is_there(place: Path | str) -> bool:
    """
    Whether something has this path or URL.

    Raises:
        MissingExtra, ValueError: see `filesystem_of`.
        OSError: its store cannot be asked.
    """
    if isinstance(place, Path):
        return place.exists()
    filesystem, within = filesystem_of(place)
    return bool(filesystem.exists(within))


class UrlTarget:
    """
    A file that appears under its URL when it is whole, and not at all if that goes wrong.

    Args:
        url: its name. What is there already is replaced.

    Raises:
        MissingExtra: fsspec is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # Not the file system that everybody has who asks for one: what others write meanwhile is no part of this.
        self._filesystem, self._within = filesystem_of(url, is_shared=False)

    def __enter__(self) -> IO[bytes]:
        """
        Raises:
            OSError: nothing can be written there; also where the store is one to read from only.
        """
        self._filesystem.start_transaction()
        try:
            self._file = self._filesystem.open(self._within, "wb")
        except (NotImplementedError, ValueError) as error:
            told = str(error) or "nothing writes to such URLs"
            raise OSError(f"{self._url} cannot be written: {told}") from error
        return cast("IO[bytes]", self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.close()
            self._filesystem.end_transaction()
            return
        # What went wrong is what counts, and the store may say the same once more.
        with contextlib.suppress(Exception):
            self._filesystem.transaction.complete(commit=False)
        with contextlib.suppress(Exception):
            self._file.close()
