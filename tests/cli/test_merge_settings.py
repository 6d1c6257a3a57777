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
