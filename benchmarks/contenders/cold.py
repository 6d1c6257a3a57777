"""
One cold start: run as a script in a fresh interpreter, it prints the seconds from before the contender's import.

    cold.py NAME first WORKERS      until the first result of an empty call
    cold.py NAME heavy WORKERS      until every worker has run a call that needs numpy and pandas

With a floor for NAME, no pool at all: "(import alone)" until the caller has imported both, which is in all the others;
"(forks alone)" until it has and processes forked from another interpreter have used both (see `bare.py`).

Python's own start is not in it, the same for all. Nothing but what every interpreter has is imported before.
"""

import os
import sys
import time

from benchmarks.contenders import calls


def main(name: str, what: str, workers: int) -> float:
    # Not a name of this program, whose workers have no use for a file about all the contenders.
    from benchmarks.contenders import pools

    began_s = time.perf_counter()
    if name == "(import alone)":
        from benchmarks.contenders import heavy

        return time.perf_counter() - began_s
    if name == "(forks alone)":
        return forks_alone(sys.argv[4], workers, began_s)
    if what == "first":
        pool = pools.start(name, workers)
        pool.each(calls.empty, [0])
        taken_s = time.perf_counter() - began_s
    else:
        folder = sys.argv[4]
        if name.endswith("+preload"):  # its best: the server imports while the caller does
            pool = pools.start(name, workers)
            from benchmarks.contenders import heavy
        else:
            from benchmarks.contenders import heavy

            pool = pools.start(name, workers)
        pool.each(heavy.meet, [(folder, workers)] * workers)
        taken_s = time.perf_counter() - began_s
    pool.close()
    return taken_s


def forks_alone(folder: str, workers: int, began_s: float) -> float:
    met, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    code = f"from benchmarks.contenders import bare; bare.main({folder!r}, {workers}, {theirs})"
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    os.close(theirs)
    __import__("benchmarks.contenders.heavy")  # as everybody's caller does; nothing in it is called here
    count = 0
    while count < workers and (came := os.read(met, workers)):
        count += len(came)
    taken_s = time.perf_counter() - began_s
    os.waitpid(pid, 0)
    if count < workers:
        raise RuntimeError(f"{count} of {workers} processes came")
    return taken_s


if __name__ == "__main__":
    answers = os.dup(1)  # rivals talk on standard output
    os.dup2(2, 1)
    try:
        answer = repr(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    except Exception as missing:
        if type(missing).__name__ != "NotThere":
            raise
        answer = f"not there: {missing}"
    os.write(answers, (answer + "\n").encode())
