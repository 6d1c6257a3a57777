"""Files that are there under their name once they are whole."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coeval.timeline._target import Target, as_text

HOLDS = """
import sys
from pathlib import Path
from coeval.timeline._target import Target
with Target(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_file_appears_when_it_is_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with Target(path) as file, as_text(file) as text:
        text.write("né\n")
        text.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == "né\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half-way"), Target(path) as file, as_text(file) as text:
        text.write("new")
        raise ValueError("half-way")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "out[1].txt"
    writers = [
        subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == b"open\n"
    killed, living = writers
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    with Target(path) as file:
        file.write(b"whole")
        assert not (tmp_path / f"{path.name}.partial-{killed.pid}").exists()
        assert (tmp_path / f"{path.name}.partial-{living.pid}").exists()
    assert path.read_bytes() == b"whole"
    living.communicate(b"")
    assert path.read_bytes() == b"half" and list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_is_said_once_and_the_file_stays_open_for_its_owner() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        with pytest.raises(OSError, match="No space left"), as_text(full) as text:
            text.write("x" * 100)
        assert not full.closed


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor() as reader:
        read = reader.submit(path.read_bytes)
        with Target(path) as file:
            file.write(b"whole")
        assert read.result() == b"whole"
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_outlives_what_is_written_to_it_and_what_fails() -> None:
    ours, theirs = os.openpty()
    try:
        terminal = Path(os.ttyname(theirs))
        with Target(terminal) as file:
            file.write(b"whole")
        with pytest.raises(ValueError, match="half-way"), Target(terminal) as file:
            file.write(b"")
            raise ValueError("half-way")
        assert stat.S_ISCHR(terminal.stat().st_mode)
        assert os.read(ours, 100) == b"whole"
    finally:
        os.close(ours)
        os.close(theirs)
