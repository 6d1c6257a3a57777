"""
One contender with its pool up: run as a script, it measures once for each line that it reads.

    warm.py NAME WORKERS QUICK      then lines with a measure's name; each is answered by a line of JSON:
                                    {"figures": {...}}, {"missing": "..."} or {"failed": "..."}

It ends when its standard input does. Rivals talk on standard output, so the answers have a descriptor of their own.
"""

from __future__ import annotations

import json
import os
import sys

from benchmarks.contenders import pools
from benchmarks.contenders.measures import MEASURES, Contender, WrongResult


def main(name: str, workers: int, *, quick: bool) -> None:
    answers = os.dup(1)
    os.dup2(2, 1)
    contender = Contender(name, workers, quick=quick)
    try:
        for line in iter(sys.stdin.readline, ""):
            os.write(answers, (json.dumps(answer(contender, line.strip())) + "\n").encode())
    finally:
        if contender.is_started:
            contender.pool.close()


def answer(contender: Contender, measure: str) -> dict[str, object]:
    try:
        return {"figures": MEASURES[measure](contender)}
    except pools.NotThere as missing:
        return {"missing": str(missing)}
    except WrongResult as error:
        return {"failed": f"wrong result: {error}"}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}".partition("\n")[0][:200]}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), quick=sys.argv[3] == "quick")
