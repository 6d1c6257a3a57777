"""
No pool: an interpreter that imports numpy and pandas beside the caller, then forks so many processes that use them.

    bare.py FOLDER WORKERS      writes a byte to standard output for each that has met the others

It is what no start can leave out whose workers are not forked from the caller and share what was imported ahead: the
collector is off, numpy has one thread, and there are no pipes, no limits, no surroundings to take over, and nobody is
watched.
"""

import gc
import os
import sys


def main(folder: str, workers: int) -> None:
    gc.disable()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from benchmarks.contenders import heavy

    gc.freeze()
    for _ in range(workers):
        if os.fork() == 0:
            try:
                heavy.meet((folder, workers))
                os.write(1, b".")
            finally:
                os._exit(0)
    for _ in range(workers):
        os.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
