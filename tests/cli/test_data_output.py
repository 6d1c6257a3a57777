"""Where `coeval map` writes its lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coeval.cli._data_output import DataOutput, OutputClosed, OutputRefused, check_output


def test_lines_arrive_at_once_and_whole(tmp_path: Path) -> None:
    output = DataOutput.to_file(tmp_path / "out")
    output.write([b"one\n", b"two\n"])
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
    output.write([b"three\n"])
    output.close()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\nthree\n"


def test_a_file_with_something_in_it_is_refused_unless_forced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("precious\n")
    with pytest.raises(OutputRefused, match=r"is there already \(9 bytes\).*--force"):
        check_output(out, force=False)
    check_output(out, force=True)
    assert out.read_text() == "precious\n"
    DataOutput.to_file(out).close()
    assert out.read_text() == ""


def test_an_empty_file_and_a_device_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    check_output(tmp_path / "empty", force=False)
    check_output(Path("/dev/null"), force=False)


def test_a_folder_a_file_in_no_folder_and_a_url_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="is a folder"):
        check_output(tmp_path, force=False)
    with pytest.raises(OutputRefused, match="there is no folder"):
        check_output(tmp_path / "no" / "out", force=False)
    with pytest.raises(OutputRefused, match=r"s3://bucket/all\.parquet is a URL"):
        check_output(Path("s3://bucket/all.parquet"), force=False)
    with pytest.raises(OutputRefused, match="cannot be written"):
        DataOutput.to_file(tmp_path / "no" / "out")


def test_a_reader_that_has_gone_is_noticed() -> None:
    read, write = os.pipe()
    output = DataOutput(write, "pipe")
    os.close(read)
    with pytest.raises(OutputClosed):
        output.write([b"line\n"])
    output.close()


FULL = """
import resource, signal, sys
from pathlib import Path
from coeval.cli._data_output import DataOutput, OutputFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, 25))
output = DataOutput.to_file(Path(sys.argv[1]))
output.write([b"0123456789\\n"])
try:
    output.write([b"0123456789\\n", b"0123456789\\n"])
except OutputFailed as error:
    print(error)
"""


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "out"], capture_output=True, text=True, check=True)
    assert "out cannot be written any more: File too large" in done.stdout
    assert (tmp_path / "out").read_bytes() == b"0123456789\n0123456789\n"


STANDARD_OUTPUT = """
import os, subprocess
from coeval.cli._data_output import DataOutput
print("said before")
output = DataOutput.to_standard_output()
print("said after", flush=True)
subprocess.run(["echo", "said by a child"])
output.write([b"data\\n"])
"""


def test_standard_output_is_kept_for_data_alone() -> None:
    done = subprocess.run([sys.executable, "-c", STANDARD_OUTPUT], capture_output=True, text=True, check=True)
    assert done.stdout == "said before\ndata\n"
    assert done.stderr == "said after\nsaid by a child\n"


def test_a_closed_standard_output_is_said() -> None:
    code = "from coeval.cli._data_output import DataOutput\nDataOutput.to_standard_output()"
    done = subprocess.run(["sh", "-c", f"{sys.executable} -c '{code}' >&-"], stderr=subprocess.PIPE, text=True)
    assert "standard output is closed; name a file with -o" in done.stderr
