"""Seconds of what `scripts/fuzz_readers.py` does for minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
READERS = ["iso", "syslog", "rfc5424", "clf", "nginx-error", "python-logging", "log4j", "go", "pattern"]


def test_broken_files_break_no_reader_and_lose_no_record(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_readers.py"), "--seconds", "4"]
    for name in READERS:
        command += ["--reader", name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    # It says its seed, with which a failure is seen again.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 failed" in done.stdout
