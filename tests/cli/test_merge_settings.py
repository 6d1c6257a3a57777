"""`coeval merge --save-settings` keeps what was said of sources, and the next merge needs their names only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def merge(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "coeval", "merge", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60)


def test_what_was_said_once_is_known_to_the_next_merge(tmp_path: Path) -> None:
    (tmp_path / "web.csv").write_text("time,id\n2026-11-26 10:00:00.1,a\n2026-11-26 10:00:00.9,b\n")
    (tmp_path / "app.csv").write_text("time,id\n2026-11-26 12:00:03.2,a\n2026-11-26 12:00:03.4,b\n")
    said = ["web.csv:tz=UTC", "app.csv", "--source", "app*:tz=Europe/Athens", "--pair", "id:order=web>app"]
    first = merge(tmp_path, *said, "--clock", "app=+3s\u00b10.1s@web", "-o", "first.jsonl", "--save-settings")
    assert first.returncode == 0, first.stderr
    second = merge(tmp_path, "web.csv", "app.csv", "-o", "second.jsonl")
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "first.jsonl").read_text() == (tmp_path / "second.jsonl").read_text() != ""
    kept = (tmp_path / "coeval.toml").read_text()
    assert '[source."app*"]\ntz = "Europe/Athens"' in kept
    assert '[pairs.id]\norder = ["web", "app"]' in kept


def test_what_was_said_of_clocks_that_are_not_here_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """One word per cluster is kept, and today only some of its logs are merged."""
    (tmp_path / "web.csv").write_text("time,id\n2026-11-26 10:00:00.1Z,a\n")
    (tmp_path / "coeval.toml").write_text('[clocks]\nweb = "+1s±1ms"\napp = "+3s±0.1s@web"\n', encoding="utf-8")
    done = merge(tmp_path, "web.csv", "-o", "all.jsonl")
    assert done.returncode == 0, done.stderr
    assert "times: UTC, one clock\n" in done.stderr
    assert "evidence: said: app=+3s±100ms@web: not used, as no event is by such a clock\n" in done.stderr
    typed = merge(tmp_path, "web.csv", "-o", "more.jsonl", "--clock", "app=+3s±0.1s@web")
    assert typed.returncode == 2 and "is about clock 'app', and there is none" in typed.stderr
