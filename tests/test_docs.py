"""The programs in the documentation do what they say: each page's Python blocks, together, are one script that runs."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SVG = "{http://www.w3.org/2000/svg}"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


FILE = re.compile(r"^`([a-z.]+)`[^\n]*:\n\n```[a-z]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
# What differs from one run to the next: how long it took, and how far it had come in between.
PROGRESS = re.compile(r"^(?:scan|merge|relate) [\d,]+/[\d,]+ .*\n", re.MULTILINE)
TOOK = re.compile(r"in [\d.]+ s$", re.MULTILINE)
# Pages all of whose commands are run, in order, and print what the page shows below them.
SHOWN = ["merge-logs-from-many-hosts", "put-a-trace-and-its-logs-together", "sort-a-table-of-many-clocks"]
SHOWN += ["ask-a-timeline-in-sql"]


def commands(block: str) -> list[tuple[str, str]]:
    """The commands of a block, each with what is shown below it."""
    found = [each.partition("\n") for each in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, shown) for command, _, shown in found]


def shell(command: str, folder: Path) -> str:
    """Run a command as in a shell in a folder; all that it prints."""
    script = f'exec 2>&1\ncoeval() {{ "{sys.executable}" -m coeval "$@"; }}\n{command}'
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(["sh", "-c", script], cwd=folder, env=environment, stdout=-1, text=True, timeout=60)
    return TOOK.sub("in 0.4 s", PROGRESS.sub("", done.stdout))


def write_files(page: Path, folder: Path) -> None:
    """The files that a page shows, for its programs and commands."""
    for name, text in FILE.findall(page.read_text()):
        (folder / name).write_text(text)


def programs() -> list[Path]:
    return [page for page in PAGES if BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", programs(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_programs_of_a_page_run(page: Path, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCK.findall(page.read_text())))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_page_on_which_happened_first_run_and_print_what_it_shows(tmp_path: Path) -> None:
    page = ROOT / "docs" / "how-to" / "which-happened-first.md"
    write_files(page, tmp_path)
    (tmp_path / "coeval.toml").rename(tmp_path / "kept.toml")
    first, kept = re.findall(r"^\$ coeval (.*)$", page.read_text(), re.MULTILINE)
    said = []
    for command in (first, f"{kept} --project kept.toml"):
        line = [sys.executable, "-m", "coeval", *shlex.split(command)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        said.append(done)
    shown = re.search(r"^```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] in said[0].stdout
    assert "2 clocks, all related" in said[1].stderr


@pytest.mark.parametrize("name", SHOWN)
def test_the_commands_of_a_page_print_what_it_shows(name: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / "how-to" / f"{name}.md"
    write_files(page, tmp_path)
    project = tmp_path / "coeval.toml"
    kept = project.read_text() if project.exists() else ""
    project.unlink(missing_ok=True)  # the first command is there to show what is missing
    blocks = CONSOLE.findall(page.read_text())
    assert blocks
    for command, shown in (each for block in blocks for each in commands(block)):
        assert shell(command, tmp_path) == shown, command
        if kept and not project.exists():
            project.write_text(kept)


def test_the_merge_of_the_readme_prints_what_it_shows(tmp_path: Path) -> None:
    write_files(ROOT / "docs" / "how-to" / "which-happened-first.md", tmp_path)
    (tmp_path / "coeval.toml").unlink()
    (block,) = (each for each in CONSOLE.findall((ROOT / "README.md").read_text()) if "$ coeval merge web.log" in each)
    for command, shown in commands(block):
        assert shell(command, tmp_path) == shown, command


def test_the_commands_of_the_page_on_following_logs_run_and_account_for_every_line(tmp_path: Path) -> None:
    page = ROOT / "docs" / "how-to" / "follow-logs-live.md"
    write_files(page, tmp_path)
    (shown,) = [
        text for text in re.findall(r"^```text\n(.*?)^```$", page.read_text(), re.M | re.S) if " read = " in text
    ]
    commands = re.findall(r"^\$ coeval (.*)$", page.read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        line = [sys.executable, "-m", "coeval", *shlex.split(command)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done.stderr
        assert shown in done.stderr
        lines = [json.loads(each) for each in (tmp_path / "all.jsonl").read_text().splitlines()]
        words = [each["text"].split(" ", 1)[1] for each in lines]
        assert words == ["asks for the cart", "reads the cart", "shows the cart", "asks to pay", "takes the money"]
    assert "no longer waited for" in done.stderr


def test_the_project_file_of_the_reference_is_read(tmp_path: Path) -> None:
    from coeval.timeline.sources import read_project

    text = (ROOT / "docs" / "reference" / "evidence-in-sources.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "coeval.toml").write_text(block)
    project = read_project(tmp_path / "coeval.toml")
    assert [name for name, _ in project.sources] == ["web*.log"]
    assert [claim.clock for claim in project.claims] == ["web", "app"]
    assert project.pairs[0].order == ("web", "app", "db")


def test_the_commands_of_the_page_on_your_own_logs_run_on_its_tables(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "relate-clocks-from-your-own-logs.md").read_text()
    write_files(ROOT / "docs" / "how-to" / "relate-clocks-from-your-own-logs.md", tmp_path)
    commands = re.findall(r"^\$ coeval (.*)$", text, re.MULTILINE)
    said = []
    for command in commands:
        line = [sys.executable, "-m", "coeval", *command.split()]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "+2.5000 s" in said[0]
    placed = list(csv.DictReader((tmp_path / "placed.csv").read_text().splitlines()))
    assert [row["event"] for row in placed] == ["order arrived", "row written"]
    assert all(int(row["earliest_ns"]) <= int(row["estimate_ns"]) <= int(row["latest_ns"]) for row in placed)


def test_the_commands_of_the_page_on_joins_find_what_it_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / "join-two-streams.md").read_text()
    (tmp_path / "page.py").write_text("\n".join(BLOCK.findall(text)))
    subprocess.run([sys.executable, "page.py"], cwd=tmp_path, check=True, timeout=100)
    said = {
        "pairs": "5 rows: 5 certain, 0 possible, 0 none; 5 written in pairs.parquet",
        "counted": "5 rows: 5 certain, 0 possible, 0 none; 5 written in counted.parquet",
        "meanwhile": "2 rows: 1 certain, 0 possible, 1 none; 1 written in meanwhile.parquet",
    }
    names = []
    for command in re.findall(r"^\$ coeval (.*)$", text, re.MULTILINE):
        done = subprocess.run(
            [sys.executable, "-m", "coeval", *command.split()], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        names.append(command.split()[command.split().index("-o") + 1].removesuffix(".parquet"))
        assert done.stderr.startswith(said[names[-1]])
        if names[-1] == "pairs":
            pairs = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
            assert [(row["frame"], row["scan"]) for row in pairs] == list(zip("ABCDE", range(1, 6), strict=True))
    assert names == ["pairs", "pairs", "counted", "meanwhile"]
    counted = pq.read_table(tmp_path / "counted.parquet")
    assert counted["certain_count"].to_pylist() == [2, 2, 2, 2, 1]
    assert counted["possible_count"].to_pylist() == [2, 3, 3, 3, 2]
    (pair,) = pq.read_table(tmp_path / "meanwhile.parquet").to_pylist()
    assert (pair["request"], pair["job"], pair["verdict"]) == (1, 1, "certain")


def test_the_page_on_clocks_shows_what_its_programs_print(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "explanation" / "clocks.md").read_text()
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCK.findall(text)))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip()
    assert f"```\n{done.stdout}```" in text


def test_the_pictures_of_the_page_on_clocks_are_those_that_its_script_draws(tmp_path: Path) -> None:
    folder = ROOT / "docs" / "explanation"
    shown = re.findall(r"\]\((clocks-[a-z]+\.svg)\)", (folder / "clocks.md").read_text())
    drawing = [sys.executable, str(folder / "draw_clocks.py"), str(tmp_path)]
    done = subprocess.run(drawing, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    drawn = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(drawn) == sorted(shown) == sorted(path.name for path in folder.glob("clocks-*.svg"))
    for name, text in drawn.items():
        words = ["".join(node.itertext()).strip() for node in ElementTree.fromstring(text).iter(f"{SVG}text")]
        kept = ElementTree.parse(folder / name).iter(f"{SVG}text")
        assert words == ["".join(node.itertext()).strip() for node in kept], f"draw {name} anew"
        assert len(text.encode()) < 60_000
        assert any("µs" in word or "ms" in word for word in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []
