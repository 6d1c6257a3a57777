from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from coeval.errors import WrongTable
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._registry import detected, reader_named, reader_names


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WrongTable, match="no reader is named 'ngnix'"):
        reader_named("ngnix")


def test_every_reader_is_called_what_it_is_found_by() -> None:
    assert [reader_named(name).name for name in reader_names()] == list(reader_names())


@pytest.mark.parametrize(
    ("data", "told"), [(b"\x00\x01 hm\n", r"begins with '\\x00\\x01 hm'"), (b"", "is empty"), (b" \n", "is empty")]
)
def test_a_file_of_no_format_is_refused_with_its_beginning_and_what_to_say(data: bytes, told: str) -> None:
    with pytest.raises(WrongTable, match=told) as caught:
        detected(Head("mystery", data, True))
    assert "--reader NAME" in str(caught.value)


PLUGIN = """
class Odd:
    name = "odd"
    def match(self, head):
        return 0.9 if head.data.startswith(b"odd") else 0.0
"""
PROGRAM = """
from coeval.errors import CoevalWarning, WrongTable
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._registry import detected, reader_named, reader_names
import warnings
assert {"odd", "broken"} <= set(reader_names())
assert type(reader_named("odd")).__module__ == "plugin_of_test"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert detected(Head("x", b"odd thing", True)) == ("odd", 0.9)
assert [w.category for w in caught] == [CoevalWarning] and "broken" in str(caught[0].message), caught
try:
    reader_named("broken")
except WrongTable as error:
    assert "not_there_at_all" in str(error)
else:
    raise AssertionError
"""


def test_installed_packages_bring_readers_and_a_broken_one_stops_nobody(tmp_path: Path) -> None:
    info = tmp_path / "plugin_of_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[coeval.readers]\nodd = plugin_of_test:Odd\nbroken = not_there_at_all:X\n")
    (tmp_path / "plugin_of_test.py").write_text(PLUGIN)
    assert importlib.metadata.PathDistribution(info).version == "1"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
