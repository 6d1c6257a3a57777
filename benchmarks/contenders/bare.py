"""
No pool: an interpreter that imports numpy and pandas beside the caller, then forks so many processes that use them.

It is what no start can leave out whose workers are not forked from the caller and share what was imported ahead: the
collector is off, numpy has one thread, and there are no calls, no limits, no surroundings to take over, and nobody is
watched.
"""

import gc
import os


def main(folder: str, workers: int, met: int) -> None:
    """Write a byte to the pipe `met` for each process that has met the others in the folder."""
    gc.disable()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from benchmarks.contenders import heavy

    gc.freeze()
    for _ in range(workers):
        if os.fork() == 0:
            try:
                heavy.meet((folder, workers))
                os.write(met, b".")
            finally:
                os._exit(0)
    for _ in range(workers):
        os.wait()
