"""
Where the time of one empty call goes: each step of its way through the local pool by itself, as the code does it, and
the same way through `concurrent.futures.ProcessPoolExecutor` as far as its steps can be called by themselves.

    python benchmarks/spikes/call_path.py

Each figure is the least of the medians of several rounds, in microseconds: what a step costs when nobody disturbs it.
The steps' sum is less than a round trip, which also has the ways between two processes in it.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import os
import queue
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import _CallItem, _ResultItem
from multiprocessing.reduction import ForkingPickler

from coeval import Executor
from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines import Batch, Capabilities, Function, Outcome, Stamps, Worker
from coeval.engines._attempt import Piece, run_batch
from coeval.engines._payload import dump, dump_call, load
from coeval.engines._protocol import Deliver
from coeval.engines._segments import Segments
from coeval.engines.local._board import ROW_BYTES, Board, Row
from coeval.engines.local._frames import FrameReader, frame
from coeval.engines.local._interrupts import Uninterrupted
from coeval.engines.local._pool_state import PoolState
from coeval.executor._call import CallFuture

ROUNDS = 9
CALLS = 2_000


class KeepingEngine:
    """Takes batches and keeps them, so that what is above an engine can be measured by itself."""

    name = "keeping"
    capabilities = Capabilities(True, False, False, False, True)
    segments = None

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def start(self, deliver: Deliver) -> None:
        self.deliver = deliver

    def window(self) -> int:
        return 1 << 30

    def send(self, batch: Batch) -> None:
        self.batches.append(batch)

    def pump(self, is_wanted: Callable[[], bool], timeout_s: float | None) -> None:
        return

    def stop(self, batch: int, item: int) -> bool:
        return False

    def call_back(self, batch: int) -> None:
        return

    def workers(self) -> Sequence[Worker]:
        return ()

    def running(self) -> Sequence[object]:
        return ()

    def stacks(self) -> Sequence[object]:
        return ()

    def close(self) -> None:
        return


def least_us(prepare: Callable[[], Callable[[], object]]) -> float:
    """The least median of several rounds; each round gets its step anew."""
    medians = []
    for _ in range(ROUNDS):
        step = prepare()
        taken = []
        for _ in range(CALLS):
            began_ns = time.perf_counter_ns()
            step()
            taken.append(time.perf_counter_ns() - began_ns)
        medians.append(statistics.median(taken))
    return min(medians) / 1000


def always(step: Callable[[], object]) -> Callable[[], Callable[[], object]]:
    return lambda: step


def show(title: str, rows: list[tuple[str, float]]) -> None:
    nothing_us = least_us(always(lambda: None))
    print(f"\n{title}")
    for name, took_us in rows:
        print(f"  {name:<58}{max(0.0, took_us - nothing_us):7.2f}")
    print(f"  {'together':<58}{sum(max(0.0, took_us - nothing_us) for _, took_us in rows):7.2f}")


WORKER = Worker(0, "host", 1, clock_id(SYSTEM_CLOCK), "3.11.7")
FUNCTION = Function(0, "builtins:abs", dump(abs))
SEGMENTS = Segments(SYSTEM_CLOCK)
PAYLOAD = dump_call((-1,), {}, SEGMENTS)
VALUE = 1


def caller_to_pipe() -> list[tuple[str, float]]:
    engine = KeepingEngine()
    with Executor(engine) as ex:
        submission, dispatch, options = ex._submission, ex._dispatch, ex._options
        ex.submit(abs, -1)
        function = submission._find(abs)

        def make() -> CallFuture:
            return CallFuture(function, (-1,), {}, PAYLOAD, options, dispatch)

        def submitted() -> Callable[[], object]:
            calls = iter([make() for _ in range(CALLS)])
            return lambda: dispatch.submit(next(calls))

        rows = [
            ("find the function's number", least_us(always(lambda: submission._find(abs)))),
            ("make the arguments ready to travel", least_us(always(lambda: dump_call((-1,), {}, SEGMENTS)))),
            ("make the future", least_us(always(make))),
            ("queue, batch, record", least_us(submitted)),
        ]
        ex._dispatch.abort()
    batch = Batch(0, 1, FUNCTION, [PAYLOAD], (0,))
    rows += [
        ("decide who gets it", least_us(decided)),
        ("put Ctrl-C off", least_us(always(uninterrupted))),
        ("frame the batch", least_us(always(lambda: framed_batch(batch)))),
        ("write the frame", least_us(written)),
    ]
    return rows


def framed_batch(batch: Batch) -> bytes:
    return frame(("batch", 0, 1, 0, None, batch.items, batch.calls, None))


def uninterrupted() -> None:
    with Uninterrupted():
        pass


def decided() -> Callable[[], object]:
    state = ready()
    batches = iter([Batch(number, 1, FUNCTION, [PAYLOAD], (number,)) for number in range(CALLS)])
    piece = Piece(0, 1, (VALUE,), None, 1, 2, (), ())
    turns = iter(range(CALLS))

    def step() -> None:
        turn = next(turns)
        state.batch_sent(next(batches))
        state.handed_over(0, turn)
        state.piece_arrived(0, turn, piece, turn)

    return step


def ready() -> PoolState:
    state = PoolState(1)
    state._queue.clear()
    state.batch_sent(Batch(-1, 1, FUNCTION, [PAYLOAD], (0,)))
    state.worker_ready(0, WORKER)
    state.handed_over(0, 0)
    state.piece_arrived(0, 0, Piece(0, 1, (VALUE,), None, 1, 2, (), ()), 0)
    state._next_turn = 0
    return state


def written(data: bytes = framed_batch(Batch(0, 1, FUNCTION, [PAYLOAD], (0,)))) -> Callable[[], object]:
    read_end, write_end = os.pipe()
    drained = threading.Thread(target=drain, args=(read_end,), daemon=True)
    drained.start()
    return lambda: os.write(write_end, data)


def drain(fd: int) -> None:
    while os.read(fd, 1 << 16):
        pass


def read_back(data: bytes) -> Callable[[], object]:
    """Take a frame that is there."""
    reader = FrameReader()

    def step() -> object:
        return reader.take(data)

    return step


def read_of(data: bytes) -> Callable[[], Callable[[], object]]:
    read_end, write_end = os.pipe()
    os.write(write_end, data)

    def step() -> None:
        os.read(read_end, 1 << 16)
        os.write(write_end, data)

    return always(step)


def worker_side() -> list[tuple[str, float]]:
    board = Board(1)
    row = Row(board.fd, board.take_row() * ROW_BYTES)
    begin = row.beginner(0)
    data = framed_batch(Batch(0, 1, FUNCTION, [PAYLOAD], (0,)))
    piece = ("piece", 0, tuple(Piece(0, 1, [VALUE], None, 1, 2, [], [])))

    def run() -> None:
        for _ in run_batch(
            abs, [PAYLOAD], (0,), 1, clock=SYSTEM_CLOCK, begin=begin, segments=SEGMENTS, whole_process=True
        ):
            pass

    rows = [
        ("read the pipe (with a write, to have something there)", least_us(read_of(data))),
        ("take the frame", least_us(lambda: read_back(data))),
        ("show it on the board, run, two stamps", least_us(always(run))),
        ("frame the piece", least_us(always(lambda: frame(piece)))),
        ("write the frame", least_us(lambda: written(frame(piece)))),
    ]
    board.close()
    return rows


def pipe_to_future() -> list[tuple[str, float]]:
    piece = frame(("piece", 0, tuple(Piece(0, 1, [VALUE], None, 1, 2, [], []))))
    return [
        ("read the pipe (with a write, to have something there)", least_us(read_of(piece))),
        ("take the frame", least_us(lambda: read_back(piece))),
        ("record, resolve the future", least_us(delivered)),
    ]


def delivered() -> Callable[[], object]:
    engine = KeepingEngine()
    ex = Executor(engine)
    for _ in range(CALLS):
        ex.submit(abs, -1)
    batches = iter(engine.batches)
    stamps = Stamps(1, 2, 3, 4)
    return lambda: engine.deliver(Outcome(next(batches).id, 0, 1, (VALUE,), None, stamps, WORKER))


def standard() -> list[tuple[str, float]]:
    """What `ProcessPoolExecutor` does for one call, step by step, in its own parts."""
    context = multiprocessing.get_context("fork")
    item = _CallItem(0, abs, (-1,), {})
    result = _ResultItem(0, result=1)
    pending: dict[int, Future[int]] = {}
    ids: queue.Queue[int] = queue.Queue()
    calls = context.Queue()  # through a feeder thread, as its call queue
    results = multiprocessing.queues.SimpleQueue[object](ctx=context)

    def resolve() -> None:
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        future.set_result(1)

    def enqueue() -> None:
        pending[0] = Future()
        ids.put(0)
        ids.get()

    def through_queue() -> None:
        calls.put(item)
        calls.get()

    def through_results() -> None:
        results.put(result)
        results.get()

    rows = [
        ("make and queue the work item", least_us(always(enqueue))),
        ("pickle call and result, and back", least_us(always(lambda: pickled_twice(item, result)))),
        ("call queue: put, feeder thread, lock, pipe, get", least_us(always(through_queue))),
        ("result queue: lock, pipe, get", least_us(always(through_results))),
        ("wake the manager thread, and the one that waits", 2 * least_us(woken)),
        ("resolve the future", least_us(always(resolve))),
    ]
    calls.close()
    calls.join_thread()
    results.close()
    return rows


def pickled_twice(item: object, result: object) -> None:
    load(bytes(ForkingPickler.dumps(item)))
    load(bytes(ForkingPickler.dumps(result)))


def woken() -> Callable[[], object]:
    """Another thread waits at a lock; until it has answered."""
    ask, answer = threading.Semaphore(0), threading.Semaphore(0)

    def serve() -> None:
        while True:
            ask.acquire()
            answer.release()

    threading.Thread(target=serve, daemon=True).start()

    def step() -> None:
        ask.release()
        answer.acquire()

    return step


def round_trips() -> list[tuple[str, float]]:
    rows = []
    with Executor("local:1") as ex, ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as rival:
        for name, one in (
            ("coeval", lambda: ex.submit(abs, -1).result()),
            ("ProcessPoolExecutor", lambda: rival.submit(abs, -1).result()),
        ):
            one()  # type: ignore[no-untyped-call]
            rows.append((name, least_us(always(one))))
    return rows


def main() -> None:
    print(f"{os.uname().sysname} {os.uname().release}, {os.cpu_count()} cores, us per call")
    with ProcessPoolExecutor(1) as first:  # before there are threads
        first.submit(abs, -1).result()
    show("coeval: the caller, from submit to the pipe", caller_to_pipe())
    show("coeval: the worker", worker_side())
    show("coeval: the caller, from the pipe to the future", pipe_to_future())
    show("ProcessPoolExecutor: its parts, by themselves", standard())
    print("\nround trips, one warm call after the other")
    for name, took_us in round_trips():
        print(f"  {name:<58}{took_us:7.2f}")


if __name__ == "__main__":
    main()
