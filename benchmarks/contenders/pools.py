"""
One face for every contender: coeval and its rivals, each started and called as its own README does it.

A library is imported by what starts it and nowhere else, and this file imports nothing, for that import is part of what
a cold start measures. `start` gives a pool; what is not there yet in this version of coeval raises `NotThere`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

HEAVY = "benchmarks.contenders.heavy"


def library(name: str) -> Any:
    """A rival's module: the bench's environment has it, that of the tests and type checkers may not."""
    __import__(name)
    return sys.modules[name]


class NotThere(Exception):
    """The contender cannot do what the row measures: it has no such thing, or not yet."""


class Pool:
    """
    A contender. What is here fits whatever is a `concurrent.futures.Executor`.

    Attributes:
        submits, round_trips, map_items, chunked_items: how many a sample takes; fewer where they are slow.
        array_steps, shared_steps: likewise, of loops with large arrays.
        has_workers: False for what is no pool, but a floor.
    """

    has_workers = True

    submits = 10_000
    round_trips = 300
    map_items = 100_000
    chunked_items = 100_000
    # Each goes through a pipe, the first as the last.
    array_steps = 5
    shared_steps = 1

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(function, *arguments)

    def result(self, handle: Any, timeout_s: float | None = None) -> Any:
        return handle.result(timeout_s)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """One call, there and back."""
        return self.result(self.submit(function, *arguments))

    def each(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        """A submission for each argument, and then each result."""
        submit, result = self.submit, self.result
        return [result(handle) for handle in [submit(function, argument) for argument in arguments]]

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`map` with default settings."""
        return list(self.pool.map(function, items))

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        return list(self.pool.map(function, items, chunksize=size))

    def with_one_array(self, function: Callable[[Any, int], Any], array: Any, indices: Sequence[int]) -> list[Any]:
        """`function(array, index)` for each index, in the way that carries the array most cheaply."""
        handles = [self.submit(function, array, index) for index in indices]
        return [self.result(handle) for handle in handles]

    def close(self) -> None:
        self.pool.shutdown()


class Coeval(Pool):
    array_steps = 60
    shared_steps = 20

    def __init__(self, workers: int, **options: Any) -> None:
        from coeval import Executor

        super().__init__(Executor("local", max_workers=workers, **options))

    def with_one_array(self, function: Callable[[Any, int], Any], array: Any, indices: Sequence[int]) -> list[Any]:
        if not hasattr(self.pool, "share"):
            raise NotThere("ex.share")
        return super().with_one_array(function, self.pool.share(array), indices)


def coeval_preloaded(workers: int) -> Pool:
    try:
        return Coeval(workers, preload=[HEAVY], min_workers=workers)
    except TypeError as error:
        if "preload" not in str(error) and "min_workers" not in str(error):
            raise
        raise NotThere("Executor(preload=, min_workers=)") from None


def coeval_unrecorded(workers: int) -> Pool:
    """
    Coeval whose rows are neither built nor kept: what is left is what calls cost without a recording.

    There is no such option, as nobody should need one; so this reaches into the package. Stamps stay: they belong to
    every outcome. Were rows made or kept elsewhere one day, the two would record alike, which
    `measures.check_recorded` notices.
    """
    made = Coeval(workers)
    for name, module in list(sys.modules.items()):
        if name.startswith("coeval.executor."):
            for maker in [maker for maker in vars(module) if maker.endswith(("Row", "_row"))]:
                setattr(module, maker, _no_row)
    recorder = made.pool._dispatch.recorder
    for method in ("append", "snapshot_if_due", "note_clock"):
        setattr(recorder, method, _no_row)
    return made


def _no_row(*_: object, **__: object) -> None:
    return None


def standard_executor(way: str) -> Callable[[int], Pool]:
    def started(workers: int) -> Pool:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        return ByItem(ProcessPoolExecutor(workers, mp_context=get_context(way)))

    return started


class ByItem(Pool):
    """Those whose `map` sends each item by itself unless told."""

    map_items = 10_000


class StandardPool(Pool):
    def __init__(self, workers: int, way: str) -> None:
        from multiprocessing import get_context

        super().__init__(get_context(way).Pool(workers))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.apply_async(function, arguments)

    def result(self, handle: Any, timeout_s: float | None = None) -> Any:
        return handle.get(timeout_s)

    def close(self) -> None:
        self.pool.terminate()
        self.pool.join()


def preloaded(start_pool: Callable[[int], Pool]) -> Callable[[int], Pool]:
    """The standard fork server at its best: told what to import, and started before the caller imports it too."""

    def started(workers: int) -> Pool:
        from multiprocessing import forkserver, set_forkserver_preload

        set_forkserver_preload([HEAVY])
        forkserver.ensure_running()
        return start_pool(workers)

    return started


def loky(workers: int) -> Pool:
    return ByItem(library("loky").get_reusable_executor(max_workers=workers))


class Joblib(Pool):
    round_trips = 20
    submits = 5_000
    array_steps = 60
    shared_steps = 20

    def __init__(self, workers: int) -> None:
        joblib = library("joblib")
        self.delayed = joblib.delayed
        self.workers = workers
        super().__init__(joblib.Parallel)  # a new one for each use, as its README has it; the workers stay

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        raise NotThere("joblib submits no single call")

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool(n_jobs=self.workers)([self.delayed(function)(*arguments)])[0]

    def each(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        results: list[Any] = self.pool(n_jobs=self.workers)(self.delayed(function)(argument) for argument in arguments)
        return results

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return self.each(function, items)

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        several = self.pool(n_jobs=self.workers, batch_size=size)
        return list(several(self.delayed(function)(item) for item in items))

    def with_one_array(self, function: Callable[[Any, int], Any], array: Any, indices: Sequence[int]) -> list[Any]:
        results: list[Any] = self.pool(n_jobs=self.workers)(self.delayed(function)(array, index) for index in indices)
        return results

    def close(self) -> None:
        library("joblib.externals.loky").get_reusable_executor().shutdown(kill_workers=True)


class Mpire(StandardPool):
    def __init__(self, workers: int) -> None:
        Pool.__init__(self, library("mpire").WorkerPool(n_jobs=workers))

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self.pool.map(function, items))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        # A lone tuple among the arguments would be taken apart.
        return self.pool.apply_async(function, args=arguments)

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        return list(self.pool.map(function, items, chunk_size=size))

    def close(self) -> None:
        self.pool.terminate()


class Pebble(ByItem):
    def __init__(self, workers: int) -> None:
        super().__init__(library("pebble").ProcessPool(max_workers=workers))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.schedule(function, args=arguments)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self.pool.map(function, items).result())

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        return list(self.pool.map(function, items, chunksize=size).result())

    def close(self) -> None:
        self.pool.stop()
        self.pool.join()


class Pathos(StandardPool):
    def __init__(self, workers: int) -> None:
        Pool.__init__(self, library("pathos.multiprocessing").ProcessPool(nodes=workers))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.apipe(function, *arguments)

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        return list(self.pool.map(function, items, chunksize=size))

    def close(self) -> None:
        self.pool.terminate()
        self.pool.join()
        self.pool.clear()


class Dask(Pool):
    submits = 1_000
    round_trips = 20
    map_items = 2_000
    array_steps = 60
    shared_steps = 20
    chunked_items = 2_000  # its batches reach the scheduler together, and each item is a task of its own all the same

    def __init__(self, workers: int) -> None:
        client = library("distributed").Client
        super().__init__(client(n_workers=workers, threads_per_worker=1, dashboard_address=None))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.pool.submit(function, *arguments, pure=False)

    def each(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        results: list[Any] = self.pool.gather([self.submit(function, argument) for argument in arguments])
        return results

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return list(self.pool.gather(self.pool.map(function, items, pure=False)))

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        return list(self.pool.gather(self.pool.map(function, items, pure=False, batch_size=size)))

    def with_one_array(self, function: Callable[[Any, int], Any], array: Any, indices: Sequence[int]) -> list[Any]:
        spread = self.pool.scatter(array, broadcast=True, hash=False)
        return list(self.pool.gather([self.submit(function, spread, index) for index in indices]))

    def close(self) -> None:
        self.pool.shutdown()
        self.pool.close()


class Ray(Pool):
    submits = 2_000
    round_trips = 100
    map_items = 2_000
    array_steps = 60
    shared_steps = 20

    def __init__(self, workers: int) -> None:
        ray = library("ray")
        super().__init__(ray)
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
        self.remotes: dict[Any, Any] = {}

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        remote = self.remotes.get(function)
        if remote is None:
            # Without retries, as a call that killed its worker would kill three more.
            remote = self.remotes[function] = self.pool.remote(max_retries=0)(function)
        return remote.remote(*arguments)

    def result(self, handle: Any, timeout_s: float | None = None) -> Any:
        return self.pool.get(handle, timeout=timeout_s)

    def each(self, function: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        results: list[Any] = self.pool.get([self.submit(function, argument) for argument in arguments])
        return results

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return self.each(function, items)

    def map_in_chunks(self, function: Callable[[Any], Any], items: Sequence[Any], size: int) -> list[Any]:
        raise NotThere("ray has no chunks of its own for calls")

    def with_one_array(self, function: Callable[[Any, int], Any], array: Any, indices: Sequence[int]) -> list[Any]:
        return super().with_one_array(function, self.pool.put(array), indices)

    def close(self) -> None:
        self.pool.shutdown()


class CopyAlone(Pool):
    """
    No pool: an array is copied once, by numpy in one thread, into memory that is there already, and the call runs here.
    A floor for whoever has to copy it once as a program usually does.
    """

    has_workers = False
    array_steps = 60
    shared_steps = 20

    def __init__(self, workers: int) -> None:
        super().__init__(None)
        self.copied: Any = None

    def copy(self, array: Any) -> Any:
        if self.copied is None:
            self.copied = array.copy()
        else:
            self.copied[:] = array
        return self.copied

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        [given] = arguments
        if hasattr(given[0], "nbytes"):
            return function((self.copy(given[0]), *given[1:]))
        return self.copy(function(given))

    def with_one_array(self, function: Callable[[Any, int], Any], array: Any, indices: Sequence[int]) -> list[Any]:
        copied = self.copy(array)
        return [function(copied, index) for index in indices]

    def close(self) -> None:
        return


def standard_pool(way: str) -> Callable[[int], Pool]:
    return lambda workers: StandardPool(workers, way)


STARTS: dict[str, Callable[[int], Pool]] = {
    "coeval": Coeval,
    "coeval+preload": coeval_preloaded,
    "coeval-unrecorded": coeval_unrecorded,
    "ppe-fork": standard_executor("fork"),
    "ppe-forkserver": standard_executor("forkserver"),
    "ppe-spawn": standard_executor("spawn"),
    "ppe-forkserver+preload": preloaded(standard_executor("forkserver")),
    "mp.Pool-fork": standard_pool("fork"),
    "mp.Pool-forkserver": standard_pool("forkserver"),
    "mp.Pool-spawn": standard_pool("spawn"),
    "mp.Pool-forkserver+preload": preloaded(standard_pool("forkserver")),
    "loky": loky,
    "joblib": Joblib,
    "mpire": Mpire,
    "pebble": Pebble,
    "pathos": Pathos,
    "dask": Dask,
    "ray": Ray,
    "(copy alone)": CopyAlone,
}


def start(name: str, workers: int) -> Pool:
    """
    Start a contender with so many workers.

    Raises:
        KeyError: no contender has this name.
        NotThere: this version of it cannot start in this way.
    """
    return STARTS[name](workers)
