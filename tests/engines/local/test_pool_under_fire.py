"""The local pool while its processes are killed and stopped, and its callers interrupted, called back and forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from coeval.engines import Batch, Function, Outcome
from coeval.engines._payload import dump
from coeval.engines.local import LocalEngine
from coeval.executor import Executor
from coeval.testing import Gate

PATIENCE_S = 30.0


class Home:
    """A pool, and what it brought home. What was moved is sent again, as the executor does it."""

    def __init__(self, engine: LocalEngine) -> None:
        self.engine = engine
        self.outcomes: list[Outcome] = []
        self.unfinished: set[int] = set()
        self.batches: dict[int, Batch] = {}
        self.functions: list[Callable[..., object]] = []
        self.numbers = iter(range(1 << 30))
        engine.start(self.deliver)

    def send(self, function: Callable[..., object], *arguments: object) -> int:
        if function not in self.functions:
            self.functions.append(function)
        travelling = Function(self.functions.index(function), function.__name__, dump(function))
        number = next(self.numbers)
        self._send(Batch(number, 1, travelling, [dump((arguments, {}))], [number]))
        return number

    def _send(self, batch: Batch) -> None:
        self.batches[batch.id] = batch
        self.unfinished.add(batch.id)
        self.engine.send(batch)

    def deliver(self, outcome: Outcome) -> None:
        if outcome.batch < 0:
            return
        self.outcomes.append(outcome)
        if outcome.failure is not None and outcome.failure.kind == "moved":
            self._send(self.batches[outcome.batch]._replace(id=next(self.numbers)))
        self.unfinished.remove(outcome.batch)

    def wait(self) -> list[str]:
        """Until all is home; the kinds of all failures that are nobody's wish."""
        self.engine.pump(lambda: bool(self.unfinished), PATIENCE_S)
        wait_for(lambda: not self.unfinished)
        return [o.failure.kind for o in self.outcomes if o.failure is not None and o.failure.kind != "moved"]

    def fill(self, gate: Gate, workers: int) -> list[int]:
        """Start so many workers, and leave them idle; their process ids."""
        for _ in range(workers):
            self.send(gate.wait)
        arrived = gate.wait_for_arrivals(workers)
        gate.open()
        assert self.wait() == []
        assert len(set(arrived)) == workers
        return arrived


@contextmanager
def pool(workers: int, recycle_after: int | None = None) -> Iterator[Home]:
    engine = LocalEngine(workers, recycle_after=recycle_after)
    try:
        yield Home(engine)
    finally:
        engine.close()


def gate(folder: Path) -> Gate:
    folder.mkdir()
    return Gate(folder, PATIENCE_S)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def end(pid: int) -> None:
    """Kill a process and wait until it is dead."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_dead(pid))


def state_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["X", "0"]


def is_dead(pid: int) -> bool:
    return state_of(pid)[0] in "XZ"


def parent(pid: int) -> int:
    return int(state_of(pid)[1])


def test_idle_workers_that_were_all_killed_cost_no_call(tmp_path: Path) -> None:
    with pool(8) as home:
        for pid in home.fill(gate(tmp_path / "a"), 8):
            end(pid)
        for _ in range(20):
            home.send(abs, -1)
        assert home.wait() == []


def test_calls_that_a_stopped_worker_has_not_begun_are_run_by_another(tmp_path: Path) -> None:
    with pool(2) as home:
        stopped, _ = home.fill(gate(tmp_path / "a"), 2)
        os.kill(stopped, signal.SIGSTOP)
        try:
            for _ in range(10):
                home.send(abs, -1)
            assert home.wait() == []
            assert stopped not in {o.worker.pid for o in home.outcomes[2:] if o.worker is not None}
        finally:
            os.kill(stopped, signal.SIGCONT)
        home.send(abs, -1)
        assert home.wait() == []


def test_a_worker_may_die_while_a_batch_is_half_written_to_it(tmp_path: Path) -> None:
    with pool(1) as home:
        [pid] = home.fill(gate(tmp_path / "a"), 1)
        os.kill(pid, signal.SIGSTOP)
        home.send(len, bytes(1 << 22))  # more than a pipe holds
        end(pid)
        assert home.wait() == []


def test_killing_the_fork_server_ends_no_call_and_later_workers_have_another_one(tmp_path: Path) -> None:
    with pool(2) as home:
        there = gate(tmp_path / "a")
        home.send(there.wait)
        [first] = there.wait_for_arrivals(1)
        end(parent(first))
        later = gate(tmp_path / "b")
        later.open()
        home.send(later.wait)
        later.wait_for_arrivals(1)
        there.open()
        assert home.wait() == []
        assert first not in later.arrived()


def leave_a_thread(stay: Gate) -> None:
    threading.Thread(target=stay.wait).start()


def test_a_recycled_worker_that_cannot_leave_is_ended_and_replaced(tmp_path: Path) -> None:
    with pool(1, recycle_after=1) as home:
        home.send(leave_a_thread, gate(tmp_path / "never opened"))
        home.send(abs, -1)
        assert home.wait() == []


def test_sixty_four_workers_share_the_calls(tmp_path: Path) -> None:
    with pool(64) as home:
        home.fill(gate(tmp_path / "a"), 64)
        for _ in range(200):
            home.send(abs, -1)
        assert home.wait() == []


def test_it_may_be_closed_from_everywhere_at_once(tmp_path: Path) -> None:
    with pool(2) as home:
        closers = [threading.Thread(target=home.engine.close) for _ in range(4)]
        deliver = home.engine._deliver

        def deliver_and_close(outcome: Outcome) -> None:
            deliver(outcome)
            for closer in closers:
                closer.start()
            home.engine.close()

        home.fill(gate(tmp_path / "a"), 2)
        home.engine._deliver = deliver_and_close
        home.send(abs, -1)
        home.engine.pump(lambda: bool(home.unfinished), PATIENCE_S)
        for closer in closers:
            closer.join(PATIENCE_S)
            assert not closer.is_alive()


def test_callbacks_that_submit_do_not_nest_however_many_outcomes_come_at_once() -> None:
    with Executor("local:2") as ex:
        ex.submit(abs, -1).result(PATIENCE_S)
        seconds: list[Future[int]] = []
        # Each failure is an outcome of its own.
        firsts = [ex.submit(int, "no number") for _ in range(2000)]
        for first in firsts:
            first.add_done_callback(lambda _: seconds.append(ex.submit(abs, -1)))
        assert all(isinstance(first.exception(PATIENCE_S), ValueError) for first in firsts)
        wait_for(lambda: len(seconds) == 2000)
        assert {second.result(PATIENCE_S) for second in seconds} == {1}


def test_a_callback_may_wait_for_another_call() -> None:
    with Executor("local:2") as ex:
        seen: list[int] = []
        done = threading.Event()

        def wait_for_another(_: Future[int]) -> None:
            seen.append(ex.submit(abs, -2).result(PATIENCE_S))
            done.set()

        first = ex.submit(abs, -1)
        first.add_done_callback(wait_for_another)
        first.result(PATIENCE_S)
        assert done.wait(PATIENCE_S)
        assert seen == [2]


def script(text: str) -> str:
    """What a program of its own prints."""
    command = [sys.executable, "-c", textwrap.dedent(text)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_interrupts_at_any_moment_leave_a_pool_that_works() -> None:
    printed = script(
        """
        import os, random, signal, threading
        from coeval.executor import Executor

        may_fire, is_over = threading.Event(), threading.Event()

        def fire():
            while may_fire.wait() and not is_over.is_set():
                may_fire.clear()
                for _ in range(random.randrange(3000)):
                    pass
                os.kill(os.getpid(), signal.SIGINT)

        with Executor("local:2") as ex:
            ex.submit(abs, -1).result(60)
            firing = threading.Thread(target=fire)
            firing.start()
            interrupts = 0
            for _ in range(300):
                try:
                    may_fire.set()
                    while True:
                        ex.submit(abs, -1).result(60)
                except KeyboardInterrupt:
                    interrupts += 1
            is_over.set()
            try:
                may_fire.set()
                firing.join()
            except KeyboardInterrupt:
                firing.join()
            print(interrupts, sum(ex.map(abs, range(1000))), ex.submit(abs, -7).result(60))
        """
    )
    assert printed == "300 499500 7\n"


def test_a_callback_that_never_ends_is_interrupted_by_the_second_interrupt() -> None:
    printed = script(
        """
        import os, signal, threading
        from coeval.executor import Executor

        def never_end(_):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait()

        ex = Executor("local:1")
        gate = threading.Event()
        try:
            future = ex.submit(abs, -1)
            future.add_done_callback(never_end)
            future.result()
            while True:  # it may have run in the helper's thread
                threading.Event().wait()
        except KeyboardInterrupt:
            os.write(1, b"interrupted")
            os._exit(0)
        """
    )
    assert printed == "interrupted"


def test_children_forked_at_any_moment_leave_the_pool_alone() -> None:
    printed = script(
        """
        import os, threading, warnings
        from coeval.executor import Executor

        warnings.simplefilter("ignore")
        with Executor("local:2") as ex:
            is_over = threading.Event()
            sums = []

            def work():
                while not is_over.is_set():
                    sums.append(ex.submit(abs, -1).result(60))

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for _ in range(50):
                child = os.fork()
                if child == 0:
                    try:
                        ex.submit(abs, -1)
                    except RuntimeError:
                        os._exit(0)
                    os._exit(1)
                assert os.waitpid(child, 0)[1] == 0
            is_over.set()
            for thread in threads:
                thread.join()
            print(set(sums), ex.submit(abs, -3).result(60))
        """
    )
    assert printed == "{1} 3\n"
