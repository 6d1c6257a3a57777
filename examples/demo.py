"""
The demo: a survey of every Python file of the standard library, by the real command line, and what it recorded.

    python examples/demo.py [FOLDER]        another folder than the standard library

It writes to demo-out/, which is replaced each time.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
OUT = Path("demo-out")


def main() -> int:
    """Run the demo; give the exit code."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("stdlib"))
    files = python_files(folder)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    (OUT / "files.txt").write_text("".join(f"{file}\n" for file in files), encoding="utf-8")
    say(f"{len(files):,} Python files of {folder} are listed in {OUT}/files.txt.")

    measured, run = f"{OUT}/survey.jsonl", f"{OUT}/run"
    code = coeval("map", f"{shown(EXAMPLES / 'survey.py')}:measure", f"@{OUT}/files.txt", "-o", measured, "--run", run)
    if code not in (0, 1):  # 1: some files failed. The standard library keeps a few that are no Python, as test data.
        return code

    say("What it found:", "")
    subprocess.run([sys.executable, str(EXAMPLES / "survey.py"), measured], check=True)

    say("What happened, and when, as the run was recorded:")
    code = coeval("timeline", run, "--limit", "6")
    say(
        "To look closer:",
        "",
        f"  coeval timeline {run} --events    every call and event",
        f"  coeval clocks {run}               whose clock said so, and how sure that is",
        f"  less {measured}             one line of JSON for each file",
    )
    return code


def python_files(folder: Path) -> list[Path]:
    """Every Python file below a folder, without installed packages."""
    return [path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.relative_to(folder).parts]


def coeval(*arguments: str) -> int:
    """Show a command as a person would type it, and run it; give its exit code."""
    say(f"$ coeval {shlex.join(arguments)}", "")
    return subprocess.run([sys.executable, "-m", "coeval", *arguments], check=False).returncode


def shown(path: Path) -> str:
    """A path as seen from here, where that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def say(*lines: str) -> None:
    """Say something, set apart from what was before."""
    print("", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
