"""
The ledger of a run folder: which items of one map are finished, with their results, so that the run can be resumed.

    run/0001.ledger     rows of the process that began the map
    run/0002.ledger     rows of the process that resumed it

The files are spools (`_spool.py`), so whatever a crash leaves can be read up to its last whole frame. A result is in
the file before `keep` returns: a killed process has lost none that anybody saw. Results are opaque here; only who
resumes decodes them.
"""

from __future__ import annotations

import base64
import itertools
import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from coeval.errors import CannotResume, NewerFormat
from coeval.recording._rows import FORMAT, ResultRow, WorkRow
from coeval.recording._spool import FRAME_BYTES_MAX, SpoolWriter, decode_spool

LEDGER_SUFFIX = ".ledger"

# Larger results are not kept, and so their items run again; base64 makes four bytes of three.
RESULT_BYTES_MAX = FRAME_BYTES_MAX // 2


class Work(NamedTuple):
    """
    What a map does, as far as a resumed one must be the same.

    Attributes:
        function: `module:qualname`.
        source: hex SHA-256 of its source.
    """

    function: str
    source: str


class Ledger:
    """
    Finished items of one map; safe from any thread.

    Args:
        folder: a run folder that exists.
        work: what is being done.
        trust_changes: take results of another source, or for other inputs, as if they were of these.

    Raises:
        CannotResume: the folder's results are of another function, or of other source, and changes are not trusted.
    """

    def __init__(self, folder: Path, work: Work, *, trust_changes: bool = False) -> None:
        self._trust_changes = trust_changes
        self._results: dict[int, tuple[str, str]] = {}
        self._is_closed = False
        for file in sorted(folder.glob(f"*{LEDGER_SUFFIX}")):
            self._read(file, work)
        self._spool = _open_new(folder)
        self._spool.append(WorkRow(*work))
        self._spool.flush()

    def find(self, item: int, given: bytes) -> bytes | None:
        """
        Give the result of an item that was finished before; None: it is not finished.

        Args:
            item: its index.
            given: its input as bytes.

        Raises:
            CannotResume: it was finished with another input, and changes are not trusted.
        """
        found = self._results.get(item)
        if found is None:
            return None
        digest, result = found
        if digest != _digest(given) and not self._trust_changes:
            raise CannotResume(
                f"input {item} is not what it was when this run was begun. Give the inputs of then, start a new run, "
                f"or say that the change does not matter (trust_changes, --trust-changes)."
            )
        return base64.b64decode(result)

    def keep(self, item: int, given: bytes, result: bytes) -> bool:
        """
        Write a result down; when this returns, a kill of this process does not lose it.

        Returns:
            False if it is too large to be kept (`RESULT_BYTES_MAX`): the item will run again.
        """
        if len(result) > RESULT_BYTES_MAX:
            return False
        self._spool.append(ResultRow(item, _digest(given), base64.b64encode(result).decode()))
        if self._is_closed:  # a call that was still running then
            self._spool.rest()
        else:
            self._spool.flush()
        return True

    def close(self) -> None:
        """Write everything through to the disk, and hold neither thread nor file. Safe to call twice."""
        self._is_closed = True
        self._spool.rest(sync=True)

    def _read(self, file: Path, work: Work) -> None:
        contents = decode_spool(file.read_bytes())
        if contents.format > FORMAT:
            raise NewerFormat(
                f"{file} was written in format {contents.format}; this coeval reads formats up to {FORMAT}. "
                f"Upgrade coeval to resume it."
            )
        for row in contents.rows:  # what is damaged is not here, and so runs again
            match row:
                case ["work", str(function), str(source)]:
                    self._check(file, Work(function, source), work)
                case ["result", int(item), str(digest), str(result)]:
                    self._results[item] = (digest, result)

    def _check(self, file: Path, before: Work, now: Work) -> None:
        folder = file.parent
        if before.function != now.function:
            raise CannotResume(
                f"{folder} holds results of {before.function}, and this run calls {now.function}. "
                f"Resume with that function, or record into another folder."
            )
        if before.source != now.source and not self._trust_changes:
            raise CannotResume(
                f"the source of {now.function} is not what it was when {folder} was begun. "
                f"Start a new run, or say that the change does not matter (trust_changes, --trust-changes)."
            )


def _digest(given: bytes) -> str:
    return sha256(given).hexdigest()


def _open_new(folder: Path) -> SpoolWriter:
    for number in itertools.count(1):
        try:
            return SpoolWriter(folder / f"{number:04}{LEDGER_SUFFIX}")
        except FileExistsError:
            continue
    raise AssertionError(os.fspath(folder))
