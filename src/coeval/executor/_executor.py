"""`Executor`: the standard interface, and what coeval adds to it."""

from __future__ import annotations

import os

from coeval.executor._standard import StandardExecutor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from types import EllipsisType, TracebackType
    from typing import Any, Literal, ParamSpec, Self, TextIO, TypeVar

    from coeval.clocks import Clock
    from coeval.engines import Capabilities, Engine
    from coeval.executor._call import CallOptions
    from coeval.executor._resume import KeptCalls
    from coeval.executor._retry import Retry
    from coeval.executor._share import Shared
    from coeval.executor._statistics import Statistics
    from coeval.recording import RunFolder
    from coeval.timeline import RunTimeline

    P = ParamSpec("P")
    T = TypeVar("T")

# How far a wall clock may surely be off before it is warned of. Hosts that are synchronised are within milliseconds,
# but one that follows servers which smear a leap second is up to a second off those that do not, and rightly so. Beyond
# a second nothing keeps the clock, and what works with whole seconds (make, leases, file times) goes wrong.
WARNING_S_DEFAULT = 1.0


class Executor(StandardExecutor):
    """
    A `concurrent.futures.Executor` over any engine, that keeps a timeline of what happened.

    Leaving its `with` block waits for all calls, unless by `KeyboardInterrupt` or `SystemExit`: then what waits is
    cancelled and what runs is ended.

    Args:
        engine: where calls run, as a URL ("local", "local:4", "inline:", "dask://host:8786") or an `Engine`. None:
            `COEVAL_ENGINE`, or else "local", one process for each usable core.
        max_workers: at most so many workers.
        min_workers: so many start at once, and not when there are calls for them, where the engine starts them itself.
            They find the directory, environment and levels of loggers as they are now; name in `preload` what calls
            need.
        run: a new or empty folder to record into; what is in memory is bounded, what is there is all. A `RunFolder` is
            recorded into as it is. None: the run that `coeval run` opened, if any.
        retries: how often a failed call is tried again; a `Retry` says more.
        time_limit: seconds that each try may run, counted from its start; then the work itself is ended.
        memory: how far a worker may grow in one try, in bytes or as text such as "2 GB"; beyond it allocations fail,
            and the call fails with `MemoryLimitExceeded` (see the how-to page "Limit a call").
        seed: gives each call its own stream of random numbers, `coeval.call_random()` and `coeval.call_generator()`, by
            the order in which calls are submitted.
        stall_after: a call that runs for so many seconds has the Python stacks of all running calls written to standard
            error, once (see `dump_stacks`).
        recycle_after: a worker is replaced, between two calls, when it has run so many (an int), or when after a call
            it holds more memory for itself than this (text, such as "2 GB").
        output: what becomes of lines that calls print. "plain": they go where this process prints, as they are.
            "labelled": they go there with the call's function and number, host and pid before each line, also from
            other hosts, and stand on the timeline.
        preload: modules that the calls need, such as `["pandas"]`, where the engine can import them ahead: local
            workers share what was imported once, in memory and in time, and it begins here, while the program goes on.
        ntp: time servers, as `HOST` or `HOST:PORT`, such as `["ntp1.example.org", "ntp2.example.org"]`. They are asked
            at the start, now and then, and at the end, beside the calls, so that the timeline is on UTC. One that gives
            no time is a `ClockWarning`. Name three or more, and a false one is outvoted.
        clock_width: how wide, in seconds, the interval that bounds the clock of another host may become while calls
            run. Calls keep most narrower by themselves; where they do not, as where they wait or run for long, the host
            is asked for its clock without a call, and `statistics().probes` counts it. None: never. Not given:
            `COEVAL_CLOCK_WIDTH`, or else 10 ms. Workers on this host have its clock, so they are never asked.
        clock_warning: warn (`ClockWarning`) of a host whose wall clock is, beyond doubt, more than so many seconds off
            this one's; once, and again when it is twice as bad. None: never.

    Raises:
        UnknownEngine: no engine answers to the URL.
        UnsupportedByEngine: the engine cannot keep such a limit, cannot tell what stalls, replaces no workers, labels
            no lines, or cannot ask for a clock.
        RunExists: the folder has something in it.
        ValueError: `max_workers` is less than one, or less than `min_workers`.
    """

    def __init__(
        self,
        engine: str | Engine | None = None,
        max_workers: int | None = None,
        *,
        min_workers: int = 0,
        run: str | os.PathLike[str] | RunFolder | None = None,
        retries: int | Retry = 0,
        time_limit: float | None = None,
        memory: int | str | None = None,
        seed: int | None = None,
        stall_after: float | None = None,
        recycle_after: int | str | None = None,
        output: Literal["plain", "labelled"] = "plain",
        preload: Sequence[str] = (),
        ntp: str | Sequence[str] = (),
        clock: Clock | None = None,
        clock_width: float | EllipsisType | None = ...,
        clock_warning: float | None = WARNING_S_DEFAULT,
    ) -> None:
        if ntp:
            from coeval.clocks._ntp import parse_time_servers

            servers = parse_time_servers(ntp)
        if isinstance(engine, int):
            raise TypeError(
                f"engine is {engine!r}; expected a URL or an Engine. For {engine} local workers write "
                f"Executor(max_workers={engine}) or Executor('local:{engine}')."
            )
        opened: Engine
        if engine is None or isinstance(engine, str):
            from coeval.engines._open import open_engine

            # What starts workers boots while this process goes on importing.
            more = {} if recycle_after is None and output == "plain" else _engine_options(recycle_after, output)
            opened = open_engine(engine, max_workers, min_workers=min_workers, preload=preload, launch=True, **more)
        else:
            if min_workers or recycle_after is not None or output != "plain":
                raise ValueError(
                    f"min_workers={min_workers!r}, recycle_after={recycle_after!r}, output={output!r}: an engine that "
                    f"was made already says so itself, as in LocalEngine(2, min_workers=2, recycle_after=100)"
                )
            opened = engine
        try:
            self._open(opened, run, retries, time_limit, memory, seed, clock, clock_width, clock_warning)
            if ntp:
                self._dispatch.recorder.watch_time(servers)
        except BaseException:
            opened.close()
            raise
        if stall_after is not None:
            from coeval.executor._stacks import StallWatch

            try:
                StallWatch(self._dispatch, stall_after)
            except BaseException:
                self._dispatch.abort()
                raise

    def _open(
        self,
        opened: Engine,
        run: str | os.PathLike[str] | RunFolder | None,
        retries: int | Retry,
        time_limit: float | None,
        memory: int | str | None,
        seed: int | None,
        clock: Clock | None,
        clock_width: float | EllipsisType | None,
        clock_warning: float | None,
    ) -> None:
        # Here and not above, as what starts workers boots meanwhile.
        import weakref

        from coeval.clocks import SYSTEM_CLOCK
        from coeval.executor._call import CallOptions
        from coeval.executor._clock_options import far_clocks
        from coeval.executor._dispatch import Dispatch
        from coeval.executor._submission import Submission
        from coeval.recording._ambient import ambient_run
        from coeval.recording._recorder import Recorder

        clock = clock or SYSTEM_CLOCK
        self._options = _checked(
            CallOptions(), opened, retries=retries, time_limit=time_limit, memory=memory, seed=seed, name=None
        )
        far = far_clocks(opened, clock, clock_width, clock_warning)
        folder = ambient_run() if run is None else run
        if isinstance(folder, str | os.PathLike):
            from coeval.recording import RunFolder

            folder = RunFolder.create(folder, command=_command_line())
        recorder = Recorder(engine=opened.name, folder=folder, clock=clock)
        self._dispatch = Dispatch(opened, recorder, clock, far)
        self._submission = Submission(self._dispatch)
        self._clock = clock
        self._parent: Executor | None = None
        # An executor that nobody holds any more finishes what it has and goes.
        finalizer = weakref.finalize(self, Dispatch.leave, self._dispatch)
        finalizer.atexit = False  # _dispatch.py sees to that

    # The standard interface -------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Schedule `fn(*args, **kwargs)`; its future gives the value or the exception.

        Arguments are copied now: what the caller does to them later, or the call does to its copy, the other does not
        see.

        Raises:
            RuntimeError: the executor is shut down.
        """
        return self._submission.call(fn, args, kwargs, self._options)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = False,
        trust_changes: bool = False,
    ) -> Iterator[T]:
        """
        Yield `fn(*items)` for the items of the iterables, in their order; the shortest one ends it.

        Lazy and bounded: items are read, and calls submitted, a bounded number ahead of the result that is waited for,
        so an endless iterable is fine. Closing the iterator cancels what has not started. Take the results before the
        executor is shut down: what was not submitted by then never is, and asking for it raises `RuntimeError`.

        Args:
            timeout: seconds from now; a result that is not there by then raises `TimeoutError`.
            chunksize: so many items travel together; None: as many as proved to be some milliseconds of work.
            buffersize: submit at most so many items ahead; None: 4 for each worker and at least 32, or some chunks.
            run: a folder in which each result is kept, as a pickle, before it is given.
            resume: `run` may hold results of a run that died; finished items are not run again.
            trust_changes: resume although the function's source or an input changed since.

        Raises:
            RunExists: `run` has something in it, and `resume` is not asked for.
            CannotResume: what is there are results of another function, of other source, or (as it is reached) for
                another input.
        """
        from coeval.executor._map import bounded_map, check_map_arguments, items_ahead, zipped
        from coeval.executor._packed_map import PackedMap

        check_map_arguments(1 if chunksize is None else chunksize, buffersize)
        if run is None and (resume or trust_changes):
            raise ValueError("resume and trust_changes say what to do with a run folder; name it: run=PATH")
        engine = self._dispatch.engine
        is_packed = buffersize is None and engine.capabilities.batch_items_max > 1 and self._options.is_plain()
        if is_packed and run is None and chunksize != 1 and iterables:
            return PackedMap(
                self._submission,
                self._submission.prepare(fn),
                iterables,
                self._options,
                chunksize=chunksize,
                window=engine.window,
                timeout_s=timeout,
                clock=self._clock,
            ).results()
        chunksize = chunksize or 1
        ahead = buffersize or items_ahead(engine.window(), chunksize)
        if run is not None:
            return self._resumable_map(fn, zipped(iterables), run, resume, trust_changes, ahead, timeout)
        return bounded_map(
            self._chunk_submitter(fn),
            zipped(iterables),
            chunksize=chunksize,
            ahead=ahead,
            timeout_s=timeout,
            clock=self._clock,
            give_up=self._submission.give_up,
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """
        Take no more calls and, once all are done, end the workers.

        Args:
            wait: until all calls are done and all workers are gone.
            cancel_futures: cancel calls that have not started.
        """
        self._dispatch.shutdown(wait=wait, cancel=cancel_futures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if kind is not None and not issubclass(kind, Exception):
            self._dispatch.abort()
            return None
        try:
            self.shutdown(wait=True)
        except BaseException:  # Ctrl-C while waiting
            self._dispatch.abort()
            raise
        return None

    # What coeval adds -------------------------------------------------------------------------------------------------

    def options(
        self,
        *,
        retries: int | Retry | None = None,
        time_limit: float | None = None,
        memory: int | str | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> Self:
        """
        Give a view of this executor whose calls have these options; `None` keeps what this one has.

            ex.options(time_limit=30, name="january").submit(simulate, january)

        Args:
            retries, time_limit, memory: as for the executor.
            seed: as for the executor; it begins anew with each `options(seed=)`.
            name: names the calls for people and in the recording.

        Raises:
            UnsupportedByEngine: the engine cannot keep such a limit.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._parent = self._parent or self  # the executor lives as long as its views
        view._options = _checked(
            self._options,
            self._dispatch.engine,
            retries=retries,
            time_limit=time_limit,
            memory=memory,
            seed=seed,
            name=name,
        )
        return view

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Run `fn(*args, **kwargs)` and wait for it in an event loop: `value = await ex.run(simulate, parameters)`.

        Cancelling the task cancels the call if it has not started, as `asyncio.wrap_future` does it; one that runs goes
        on.
        """
        import asyncio  # most programs never need it, and it takes 30 ms

        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def amap(
        self, fn: Callable[..., T], *iterables: Iterable[Any], chunksize: int = 1, buffersize: int | None = None
    ) -> AsyncIterator[T]:
        """
        Yield results as `map` does, in an event loop: `async for result in ex.amap(simulate, parameters)`.

        Nothing is submitted before the first result is asked for. Leaving the loop cancels what has not started.

        Args:
            chunksize, buffersize: as for `map`.
        """
        from coeval.executor._asynchronous import bounded_amap
        from coeval.executor._map import check_map_arguments, items_ahead, zipped

        check_map_arguments(chunksize, buffersize)
        return bounded_amap(
            self._chunk_submitter(fn),
            zipped(iterables),
            chunksize=chunksize,
            ahead=buffersize or items_ahead(self._dispatch.engine.window(), chunksize),
        )

    def stop(self, future: Future[Any]) -> bool:
        """
        End a call, running or not.

        One that has not started is cancelled; one that runs is ended where the engine can, and fails with
        `CallStopped`.

        Returns:
            False if it is done already, or the engine cannot end running work (`capabilities.stops_running_work`).

        Raises:
            ValueError: the future is not one of this executor's calls.
        """
        from coeval.executor._call import CallFuture

        if not isinstance(future, CallFuture) or future.home not in (None, self._dispatch):
            raise ValueError(f"{future!r} is not a future of this executor")
        return self._dispatch.stop(future)

    def share(self, value: T) -> Shared[T]:
        """
        Put an object where all workers find it: sent once to a host, and mapped by each of its workers.

            with ex.share(table) as shared:
                results = list(ex.map(partial(look_up, shared), questions))

        Given to a call, the handle arrives as the object itself, its arrays read-only. See `Shared` for how long it
        stays. A host gets it when the first call there needs it.

        Raises:
            MemoryError: there is no room for it.
            EngineError: the engine is closed, or broken.
        """
        from coeval.executor._share import Shared

        engine, segments = self._dispatch.engine, self._dispatch.segments
        if segments is None:
            from coeval.engines import SharesObjects

            if isinstance(engine, SharesObjects):
                return Shared(value, engine.share_segments, engine)
        return Shared(value, segments)

    def dump_stacks(self, file: TextIO | None = None) -> None:
        """
        Write the Python stacks of every running call, with the call, where it runs and since when.

        They are read from outside, so a call is shown also while it sits in C code, waits, or deadlocks.

        Args:
            file: None: standard error.

        Raises:
            UnsupportedByEngine: the engine cannot tell (`capabilities.stacks`).
        """
        from coeval.executor._stacks import write_stacks

        write_stacks(self._dispatch, file)

    def statistics(self) -> Statistics:
        """
        Tell how many calls wait, run and are done, and how many workers are ready.

        What has come and nobody has read yet is read first, so a callback may run here.
        """
        self._dispatch.take_news()
        return self._dispatch.statistics()

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do."""
        return self._dispatch.engine.capabilities

    @property
    def timeline(self) -> RunTimeline:
        """What happened until now, on one timeline; computed at each access."""
        from coeval.timeline import RunTimeline

        return RunTimeline.of(self._dispatch.recorder.recording())

    def __repr__(self) -> str:
        counts = self._dispatch.statistics()
        return (
            f"<coeval.Executor {self._dispatch.engine.name}: {counts.running} running, {counts.waiting} waiting, "
            f"{counts.finished} finished, {counts.failed} failed>"
        )

    def _chunk_submitter(self, fn: Callable[..., Any]) -> Callable[[list[tuple[Any, ...]]], list[Future[Any]]]:
        prepared = self._submission.prepare(fn)  # once: a map calls the function as it is now
        return lambda chunk: [self._submission.submit(prepared, args, {}, self._options) for args in chunk]

    def keeping(self, fn: Callable[..., Any], folder: RunFolder, *, trust_changes: bool = False) -> KeptCalls:
        """
        Give what submits calls of `fn` whose results are kept in a run folder, for programs that resume by themselves.

        Raises:
            CannotResume: the folder has results of another function, or of other source.
        """
        from coeval.executor._resume import KeptCalls

        return KeptCalls(self._submission, fn, folder.path, self._options, trust_changes=trust_changes)

    def _resumable_map(
        self,
        fn: Callable[..., Any],
        items: Iterator[tuple[Any, ...]],
        run: str | os.PathLike[str],
        resume: bool,
        trust_changes: bool,
        ahead: int,
        timeout: float | None,
    ) -> Iterator[Any]:
        import itertools

        from coeval.executor._map import bounded_map
        from coeval.executor._resume import begin_or_resume

        folder = begin_or_resume(run, _command_line(), resume=resume)
        kept = self.keeping(fn, folder, trust_changes=trust_changes)
        count = itertools.count()
        return bounded_map(
            lambda chunk: [kept.submit(next(count), args) for args in chunk],
            items,
            chunksize=1,  # so that at most what is in flight runs twice
            ahead=ahead,
            timeout_s=timeout,
            clock=self._clock,
            give_up=self._submission.give_up,
            on_end=kept.close,
        )


def _engine_options(recycle_after: int | str | None, output: str) -> dict[str, Any]:
    from coeval.executor._size import size_bytes

    if output not in ("plain", "labelled"):
        raise ValueError(f"output is {output!r}; expected 'plain' or 'labelled'")
    options: dict[str, Any] = {"labels_output": output == "labelled"}
    if isinstance(recycle_after, str):
        options["recycle_after_bytes"] = size_bytes(recycle_after, "recycle_after")
    elif recycle_after is not None:
        if isinstance(recycle_after, bool) or not isinstance(recycle_after, int):
            raise TypeError(
                f"recycle_after is {recycle_after!r}; expected a number of calls, or memory as text such as '2 GB'"
            )
        if recycle_after < 1:
            raise ValueError(
                f"recycle_after is {recycle_after}; expected at least 1 call, or memory as text such as '2 GB'"
            )
        options["recycle_after"] = recycle_after
    return options


def _checked(
    base: CallOptions,
    engine: Engine,
    *,
    retries: int | Retry | None,
    time_limit: float | None,
    memory: int | str | None,
    seed: int | None,
    name: str | None,
) -> CallOptions:
    from coeval.errors import UnsupportedByEngine
    from coeval.executor._call import CallOptions
    from coeval.executor._retry import Retry

    retry = base.retry if retries is None else retries if isinstance(retries, Retry) else Retry(retries)
    limits = base.limits
    if time_limit is not None:
        if not time_limit > 0:
            raise ValueError(f"time_limit is {time_limit!r}; expected seconds above 0, or None for no limit")
        if not engine.capabilities.time_limit:
            raise UnsupportedByEngine(
                f"time_limit={time_limit:g} was asked of engine {engine.name!r}, which cannot end a running call. "
                f"Use another engine (local), or no limit."
            )
        limits = limits._replace(time_s=float(time_limit))
    if memory is not None:
        from coeval.executor._size import size_bytes

        limits = limits._replace(memory_bytes=size_bytes(memory, "memory"))
        if not engine.capabilities.memory_limit:
            raise UnsupportedByEngine(
                f"memory={memory!r} was asked of engine {engine.name!r}, which cannot limit the memory of a call. "
                f"Use another engine (local), or no limit."
            )
    planted = base.seed
    if seed is not None:
        from coeval.executor._random import Seed

        planted = Seed(seed)
    return CallOptions(retry, limits, base.name if name is None else name, planted)


def _command_line() -> list[str]:
    import sys

    return list(sys.orig_argv)
