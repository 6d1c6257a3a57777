"""The examples, run as their README says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coeval.recording import Recording

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

SOURCE = """\
class Shape:
    def area(self, sides):
        if sides > 2 and sides < 9:
            return [side for side in range(sides) if side]
        try:
            return 1
        except ValueError:
            return 2

    async def draw(self):
        def inner():
            while True:
                pass
        return inner
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a few Python files, one of them none, and the working directory beside it."""
    folder = tmp_path / "sources"
    (folder / "package").mkdir(parents=True)
    (folder / "shape.py").write_text(SOURCE)
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "broken.py").write_text("def f(:\n")
    (folder / "site-packages").mkdir()
    (folder / "site-packages" / "foreign.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return folder


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=100, check=False
    )


def test_survey_measures_files_and_reports(sources: Path) -> None:
    files = [sources / "shape.py", sources / "package" / "__init__.py", sources / "package" / "broken.py"]
    mapped = run("-m", "coeval", "map", f"{EXAMPLES}/survey.py:measure", *files, "-o", "survey.jsonl")
    assert mapped.returncode == 1, mapped.stderr  # one file is no Python
    shape, empty, broken = [json.loads(line) for line in Path("survey.jsonl").read_text().splitlines()]
    assert shape["value"] == {
        "bytes": len(SOURCE),
        "lines": 14,
        "classes": 1,
        "functions": 3,
        "complexity": 6 + 1 + 2,  # area: if, and, comprehension, its if, except; draw; inner: while
        "longest": {"name": "area", "line": 2, "lines": 7, "complexity": 6},
        "most_complex": {"name": "area", "line": 2, "lines": 7, "complexity": 6},
    }
    assert empty["value"]["lines"] == 0 and empty["value"]["longest"] is None
    assert broken["error"]["type"] == "SyntaxError"

    report = run(EXAMPLES / "survey.py", "survey.jsonl")
    assert report.returncode == 0, report.stderr
    assert report.stdout.startswith("2 Python files in ") and "/sources\n14 lines, " in report.stdout
    assert "      6  area                          shape.py:2\n" in report.stdout
    assert "1 could not be parsed\n  package/broken.py" in report.stdout
    assert max(map(len, report.stdout.splitlines())) <= 80


def test_the_demo_surveys_reports_and_shows_its_timeline_and_does_so_again(sources: Path) -> None:
    for _ in range(2):
        demo = run(EXAMPLES / "demo.py", sources)
        assert demo.returncode == 0, demo.stderr
        said = demo.stdout.splitlines()
        assert f"3 Python files of {sources} are listed in demo-out/files.txt." in said
        assert any(line.startswith("$ coeval map ") and line.endswith(" --run demo-out/run") for line in said)
        assert "1 could not be parsed" in said
        assert any(line.startswith("$ coeval timeline demo-out/run") for line in said)
        recording = Recording.open("demo-out/run")
        assert sum(row.item_count for row in recording.outcomes) == 3


def test_the_incident_is_ordered_as_it_happened(tmp_path: Path) -> None:
    incident = run(EXAMPLES / "incident" / "incident.py", tmp_path / "incident")
    assert incident.returncode == 0, incident.stderr
    counted = dict(re.findall(r"^(.+?): +([\d,]+)", incident.stdout, re.MULTILINE))
    assert counted["ordered wrongly by coeval"] == "0"
    assert counted["unknown although further apart than both widths"] == "0"
    assert int(counted["ordered wrongly by raw time"].replace(",", "")) > 10_000
    # The clocks are 3.2 s apart, and all of it is over in less, unless the machine is very busy.
    served = re.search(r"before the deploy: (\d+) by the stamps as written; (\d+) for certain", incident.stdout)
    assert served is not None
    by_stamps, certain = int(served[1]), int(served[2])
    assert by_stamps < certain and 25 <= certain <= 30  # the last of them was served just before
    story = re.findall(r"^  20.* (WARNING|ERROR) +(.+)$", incident.stdout, re.MULTILINE)
    assert [told.split(" request=")[0] for _, told in story] == [
        "deploys version 1.4.1",
        "has no column reservations.shelf",
        "answers 500",
        "answers 502",
    ]
    again = run(EXAMPLES / "incident" / "incident.py", tmp_path / "incident")
    assert again.returncode == 1 and "is there already; name a new folder" in again.stderr


def test_the_readme_lists_every_example() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    folders = {path.parent.name for path in EXAMPLES.glob("*/README.md")}
    assert [name for name in folders if f"[{name}/]({name}/README.md)" not in listed] == []
    assert [path.name for path in EXAMPLES.glob("*.py") if f"[{path.name}]({path.name})" not in listed] == []
