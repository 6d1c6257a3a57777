"""
Do the contracts carry speed? A throwaway engine and executor, fast where it counts and careless everywhere else.

It drives calls through the real `Batch`, `Outcome` and `Engine` shapes and the real recorder: private pipes to forked
workers, calls pickled at submit and sent in batches while there is a backlog, the thread that waits for a result
reading the pipes itself, and futures whose lock is made when somebody first needs it. What is missing (a worker's
death, limits, threads, `__main__`) is the pool's work; what is measured is what the shapes cost.

    python benchmarks/spikes/hot_path.py [CALLS]
"""

from __future__ import annotations

import os
import pickle
import select
import statistics
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures._base import FINISHED, PENDING
from pathlib import Path
from typing import Any

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines import Batch, Capabilities, Deliver, Engine, Function, Outcome, Stamps, Worker
from coeval.engines._attempt import load_function, run_batch
from coeval.engines._payload import dump, load
from coeval.recording import Recorder, RunFolder
from coeval.recording._rows import OutcomeRow, SentRow

WORKERS = 2
BATCH_ITEMS_MAX = 256
WINDOW = 2 * WORKERS
PICKLE_LENGTH_BYTES = 4


def nothing() -> None:
    """The empty call."""


class PumpedEngine:
    """Forked workers on private pipes; whoever waits for a result pumps."""

    name = "spike"
    capabilities = Capabilities(True, False, False, False, True)

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._raw_ns = SYSTEM_CLOCK.raw_ns
        self._pipes: list[tuple[int, int, Worker]] = []
        self._load: list[int] = []
        self._out: dict[int, tuple[int, int]] = {}  # when a batch was handed over, and its size
        self._buffers: list[bytes] = []
        self._pids: list[int] = []
        self._known: list[set[int]] = []
        self._poll = select.poll()
        self._by_fd: dict[int, int] = {}
        for number in range(WORKERS):
            commands_read, commands = os.pipe()
            results, results_write = os.pipe()
            pid = os.fork()
            if pid == 0:
                for fd in (commands, results, *(fd for pipe in self._pipes for fd in pipe[:2])):
                    os.close(fd)
                serve(commands_read, results_write)
                os._exit(0)
            os.close(commands_read)
            os.close(results_write)
            self._pids.append(pid)
            self._pipes.append((commands, results, Worker(number, "here", pid, clock_id(SYSTEM_CLOCK), "")))
            self._load.append(0)
            self._buffers.append(b"")
            self._known.append(set())
            self._poll.register(results, select.POLLIN)
            self._by_fd[results] = number

    def window(self) -> int:
        return WINDOW

    def send(self, batch: Batch) -> None:
        number = min(range(WORKERS), key=self._load.__getitem__)
        self._load[number] += 1
        body = None if batch.function.number in self._known[number] else batch.function.body
        self._known[number].add(batch.function.number)
        data = pickle.dumps((batch.id, batch.attempt, batch.function.number, body, batch.items, batch.calls), 5)
        self._out[batch.id] = (self._raw_ns(), len(batch.items))
        write(self._pipes[number][0], data)

    def pump(self, timeout_s: float | None) -> None:
        for fd, _ in self._poll.poll(None if timeout_s is None else timeout_s * 1000):
            number = self._by_fd[fd]
            data = self._buffers[number] + os.read(fd, 1 << 20)
            while len(data) >= PICKLE_LENGTH_BYTES:
                end = PICKLE_LENGTH_BYTES + int.from_bytes(data[:PICKLE_LENGTH_BYTES], "little")
                if len(data) < end:
                    break
                seen_ns = self._raw_ns()
                batch, piece = pickle.loads(data[PICKLE_LENGTH_BYTES:end])
                data = data[end:]
                first, count, values, failure, started_ns, finished_ns, events, item_stamps = piece
                handed_over_ns, size = self._out[batch]
                if first + count == size:
                    self._load[number] -= 1
                    del self._out[batch]
                stamps = Stamps(handed_over_ns, started_ns, finished_ns, seen_ns)
                worker = self._pipes[number][2]
                self._deliver(Outcome(batch, first, count, values, failure, stamps, worker, events, item_stamps))
            self._buffers[number] = data

    def stop(self, batch: int, item: int) -> bool:
        return False

    def workers(self) -> Sequence[Worker]:
        return [worker for _, _, worker in self._pipes]

    def close(self) -> None:
        for commands, results, _ in self._pipes:
            os.close(commands)
            os.close(results)
        for pid in self._pids:
            os.waitpid(pid, 0)


def write(fd: int, data: bytes) -> None:
    rest = memoryview(len(data).to_bytes(PICKLE_LENGTH_BYTES, "little") + data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def serve(commands: int, results: int) -> None:
    """The worker: the package's own `run_batch`, and one frame for each batch."""
    functions: dict[int, Any] = {}
    while True:
        head = os.read(commands, PICKLE_LENGTH_BYTES)
        if not head:
            return
        data, length = b"", int.from_bytes(head, "little")
        while len(data) < length:
            data += os.read(commands, length - len(data))
        batch, attempt, number, body, items, calls = pickle.loads(data)
        if body is not None:
            functions[number] = load_function(body)
        for piece in run_batch(functions[number], items, calls, attempt, clock=SYSTEM_CLOCK, whole_process=True):
            write(results, pickle.dumps((batch, tuple(piece)), 5))


class CheapFuture(Future[Any]):
    """A real Future whose condition is made on first use; nobody who only calls `result()` needs it."""

    pumped: SpikeExecutor

    def __init__(self) -> None:
        self._state = PENDING
        self._result = self._exception = None

    def __getattr__(self, name: str) -> Any:
        if name == "_condition":
            self._condition = threading.Condition()
            return self._condition
        if name in ("_waiters", "_done_callbacks"):
            made: list[Any] = []
            setattr(self, name, made)
            return made
        raise AttributeError(name)

    def finish(self, value: object) -> None:
        if "_condition" in self.__dict__:
            self.set_result(value)
        else:
            self._result, self._state = value, FINISHED

    def result(self, timeout: float | None = None) -> Any:
        while self._state != FINISHED:
            self.pumped.pump()
        return super().result(0) if self._exception else self._result


class SpikeExecutor:
    """Submit, batches while there is a backlog, recording, futures."""

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine, self._recorder = engine, recorder
        self._function: Function | None = None
        self._payloads: list[bytes] = []
        self._futures: list[CheapFuture] = []
        self._waiting: deque[tuple[list[bytes], list[CheapFuture]]] = deque()
        self._flights: dict[int, list[CheapFuture]] = {}
        self._next_batch = self._next_call = 0
        engine.start(self._deliver)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> CheapFuture:
        if self._function is None:
            self._function = Function(0, function.__qualname__, dump(function))
        self._payloads.append(dump((args, kwargs)))
        future = CheapFuture()
        future.pumped = self
        self._futures.append(future)
        if len(self._payloads) >= BATCH_ITEMS_MAX:
            self._flush()
            self._engine.pump(0)
        return future

    def _flush(self) -> None:
        if self._payloads:
            self._waiting.append((self._payloads, self._futures))
            self._payloads, self._futures = [], []
        self._feed()

    def _feed(self) -> None:
        assert self._function is not None
        while self._waiting and len(self._flights) < self._engine.window():
            payloads, futures = self._waiting.popleft()
            number, self._next_batch = self._next_batch, self._next_batch + 1
            calls = list(range(self._next_call, self._next_call + len(payloads)))
            self._next_call += len(payloads)
            self._flights[number] = futures
            sent_ns = SYSTEM_CLOCK.raw_ns()
            self._recorder.append(SentRow(self._recorder.executor, number, 1, 0, calls, sent_ns))
            self._engine.send(Batch(number, 1, self._function, payloads, calls))

    def _deliver(self, outcome: Outcome) -> None:
        end = outcome.first + outcome.item_count
        futures = self._flights[outcome.batch]
        if end == len(futures):
            del self._flights[outcome.batch]
            self._feed()
        self._recorder.append(
            OutcomeRow(
                self._recorder.executor, outcome.batch, outcome.first, outcome.item_count, "ok", 1, *outcome.stamps
            )
        )
        for future, value in zip(futures[outcome.first : end], outcome.values, strict=True):
            future.finish(load(value))

    def pump(self) -> None:
        self._flush()
        self._engine.pump(None)


def calls_per_second(calls: int, folder: RunFolder | None) -> float:
    recorder = Recorder(engine="spike", folder=folder)
    engine = PumpedEngine()
    executor = SpikeExecutor(engine, recorder)
    executor.submit(nothing).result()
    began_ns = SYSTEM_CLOCK.raw_ns()
    futures = [executor.submit(nothing) for _ in range(calls)]
    values = [future.result() for future in futures]
    took_s = (SYSTEM_CLOCK.raw_ns() - began_ns) / 1e9
    assert len(values) == calls
    assert recorder.recording().outcomes
    engine.close()
    recorder.close(finished=calls, failed=0, cancelled=0)
    return calls / took_s


def peer_calls_per_second(calls: int) -> float:
    with ProcessPoolExecutor(WORKERS) as pool:
        pool.submit(nothing).result()
        began_ns = SYSTEM_CLOCK.raw_ns()
        for future in [pool.submit(nothing) for _ in range(calls)]:
            future.result()
        return calls * 1e9 / (SYSTEM_CLOCK.raw_ns() - began_ns)


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rates: dict[str, list[float]] = {
        "spike, recording in memory": [],
        "spike, run folder": [],
        "ProcessPoolExecutor": [],
    }
    for _ in range(5):
        rates["spike, recording in memory"].append(calls_per_second(calls, None))
        with tempfile.TemporaryDirectory() as parent:
            folder = RunFolder.create(Path(parent) / "run", command=["spike"])
            rates["spike, run folder"].append(calls_per_second(calls, folder))
            folder.close()
        rates["ProcessPoolExecutor"].append(peer_calls_per_second(calls))
    print(f"{calls} empty calls with futures, {WORKERS} workers; calls per second, median of 5 (least, most)")
    for name, values in rates.items():
        print(f"  {name:28} {statistics.median(values):>10,.0f}  ({min(values):,.0f} … {max(values):,.0f})")


if __name__ == "__main__":
    main()
