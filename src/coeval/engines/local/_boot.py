"""
The first lines of a worker, run as a script: `python _boot.py COMMANDS RESULTS LIFELINE BOARD` (descriptor numbers).

It may use the standard library only, until the first frame has brought the caller's `sys.path`: coeval itself may be
somewhere that this interpreter would not look.
"""

import os
import pickle
import sys


def _boot() -> None:
    commands, results, lifeline, board = map(int, sys.argv[1:5])
    data = b""
    while len(data) < 8:
        data += os.read(commands, 8 - len(data)) or sys.exit(0)
    length, data = int.from_bytes(data, "little"), b""
    while len(data) < length:
        data += os.read(commands, length - len(data)) or sys.exit(0)
    hello = pickle.loads(data)
    sys.path[:] = hello["path"]
    sys.argv[1:] = []

    from coeval.engines.local._worker import work

    work(commands, results, lifeline, board, hello)


if __name__ == "__main__":
    _boot()
