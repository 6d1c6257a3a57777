"""
Make the golden run of a format version: `python tests/recording/make_golden.py [--force]`.

A golden run is made once, when its version is, and never again: the tests open it for ever, as our users' runs. It has
a row of every kind. Beside it goes what must come out, straight from the rows below and not by way of any of our code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from coeval.recording import RunFolder
from coeval.recording._rows import FORMAT, KINDS
from coeval.recording._spool import SpoolWriter

DATA = Path(__file__).parent.parent / "data"

CLOCK = "5f3a1c52-7d2e-4f0b-9a61-0d6c4c1b2e77/4026531834/monotonic_raw"
FAR_CLOCK = "c0ffee00-1111-4222-8333-944455556666/4026531834/monotonic_raw"
T = 86_400_000_000_000  # the driver had been up for a day
FAR_T = 1_000_000_000_000
WALL = 1_790_000_000_000_000_000

# One frame each.
FRAMES: list[list[list[Any]]] = [
    [
        ["process", 0, "driver", "near", 4100, CLOCK, "3.11.7", -1],
        ["host", 0, T, "Europe/Zurich", 7200, "no", 16_000_000_000, "install chrony: apt-get install chrony"],
        ["clock", 0, T, WALL, T + 500, T + 90],
        ["executor", 0, "local", T + 1_000],
        ["function", 0, 0, "simulate:run", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        ["sent", 0, 0, 1, 0, [0, 1, 2], T + 2_000, ["january", "february", "märz"]],
        ["sent", 0, 1, 1, 0, [3], T + 2_500, []],
    ],
    [
        ["process", 1, "worker", "far", 7, FAR_CLOCK, "3.13.0", 0],
        ["clock", 1, FAR_T, WALL + 1_000, FAR_T, FAR_T + 80],
        ["host", 1, FAR_T, "", -12_600, "unknown", -1, ""],
        ["outcome", 0, 0, 0, 2, "ok", 1, T + 3_000, FAR_T + 500, FAR_T + 3_000_500, T + 3_004_000],
        ["item", 0, 0, 1, FAR_T + 900, FAR_T + 3_000_400],
        ["event", 1, 0, 0, 1, "mark", FAR_T + 1_000, None, "halfway", {"share": 0.5, "of": None, "done": False}],
        [
            "event",
            1,
            0,
            0,
            1,
            "span",
            FAR_T + 1_100,
            FAR_T + 1_900,
            "solve 😀",
            {"steps": 12, "note": "\udcff"},
        ],
        [
            "event",
            1,
            0,
            0,
            1,
            "log",
            FAR_T + 2_000,
            None,
            "simulate",
            {"level": 30, "message": "slow\nvery", "line": 4},
        ],
        ["event", 0, -1, -1, -1, "mark", T + 3_005_000, None, "asked", {}],
        ["outcome", 0, 0, 2, 1, "raised", 1, T + 3_000, FAR_T + 3_100_000, FAR_T + 3_200_000, T + 3_300_000],
        ["failure", 0, 0, 2, "raised", "builtins.ValueError", "no march", "(str 'march')", False],
    ],
    [
        ["sent", 0, 2, 2, 0, [2], T + 3_400_000, ["märz"]],
        ["outcome", 0, 2, 0, 1, "died", 1, T + 3_410_000, FAR_T + 3_500_000, 0, T + 4_000_000],
        ["failure", 0, 2, 0, "died", "", "SIGKILL", "(str 'march')", True],
        ["outcome", 0, 1, 0, 1, "moved", -1, 0, 0, 0, T + 4_100_000],
        ["gap", 12, "the disk took no more: No space left on device (errno 28)"],
        ["clock", 0, T + 5_000_000_000, WALL + 5_000_000_100, T + 5_000_000_500, T + 5_000_000_070],
        ["end", 0, T + 5_000_001_000, 2, 2, 0],
        # These two have files of their own (ledgers); the format is one.
        ["work", "simulate:run", "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"],
        ["result", 3, "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", "gASVAgAAAAAAAABLKi4="],
    ],
]


def main(arguments: list[str]) -> int:
    run, expected = DATA / f"run-v{FORMAT}", DATA / f"run-v{FORMAT}.json"
    if (run.exists() or expected.exists()) and arguments != ["--force"]:
        print(f"{run} is there, and a golden run is never made again. If you are sure: --force", file=sys.stderr)
        return 1
    assert {row[0] for frame in FRAMES for row in frame} == set(KINDS), "a row of every kind"
    for file in [*run.glob("*"), expected]:
        file.unlink(missing_ok=True)
    folder = RunFolder.create(run, command=["python", "simulate.py", "--months", "3"])
    description = json.loads((run / "run.json").read_text())
    description |= {"host": "near", "python": "3.11.7", "started_realtime_ns": WALL}
    (run / "run.json").write_text(json.dumps(description, indent=2) + "\n")
    spool = SpoolWriter(folder.path / "0001.spool")
    for frame in FRAMES:
        for name, *fields in frame:
            spool.append(KINDS[name](*fields))
        spool.flush()
    spool.rest()
    rows = ",\n    ".join(json.dumps(row) for frame in FRAMES for row in frame)
    expected.write_text(f'{{\n  "run": {json.dumps(description)},\n  "rows": [\n    {rows}\n  ]\n}}\n')
    print(f"{run}: {sum(map(len, FRAMES))} rows in {len(FRAMES)} frames")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
