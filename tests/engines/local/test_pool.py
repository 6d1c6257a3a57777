"""The local pool as a shell: descriptors, threads and processes, and what becomes of them where something is short."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipapp
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import coeval
from coeval.engines import Batch, Function, Outcome
from coeval.engines._payload import dump, take
from coeval.engines.local import LocalEngine
from coeval.engines.local._launch import is_open
from coeval.executor import Executor
from coeval.testing import Gate, leaks

if TYPE_CHECKING:
    from coeval.engines.local._starters import Method


LARGE = 1_000_000  # travels beside its piece


def run(*command: str) -> str:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=100, check=True).stdout


def script(text: str) -> str:
    """What a program of its own prints."""
    return run("-c", textwrap.dedent(text))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def call(number: int, function: Callable[..., object], *arguments: object) -> Batch:
    return Batch(number, 1, Function(0, function.__name__, dump(function)), [dump((arguments, {}))], [number])


class Home:
    """Outcomes as they come home."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def deliver(self, outcome: Outcome) -> None:
        if outcome.batch >= 0:
            self.outcomes.append(outcome)

    def wait_for_items(self, count: int) -> None:
        """Until so many items have come, each once."""
        wait_for(lambda: sum(outcome.item_count for outcome in self.outcomes) == count)

    def kinds(self) -> list[str | None]:
        """What became of each item, in the order in which they came home; None: it has a value."""
        items = [item for o in self.outcomes for item in range(o.first, o.first + o.item_count)]
        assert items == list(range(len(items)))
        return [o.failure and o.failure.kind for o in self.outcomes for _ in range(o.item_count)]


@contextlib.contextmanager
def one_worker(home: Home) -> Iterator[LocalEngine]:
    """An engine of one worker, whose outcomes come home; closed behind it."""
    engine = LocalEngine(1)
    engine.start(home.deliver)
    try:
        yield engine
    finally:
        engine.close()


def calls(function: Callable[..., object], *arguments: tuple[object, ...]) -> Batch:
    """Several calls that travel together."""
    items = [dump((each, {})) for each in arguments]
    return Batch(0, 1, Function(0, function.__name__, dump(function)), items, range(len(items)))


def values_of(home: Home) -> list[object]:
    return [take(value) for outcome in home.outcomes for value in outcome.values]


class TooLarge:
    """What there is no memory for when it is written down."""

    def __reduce__(self) -> str:
        raise MemoryError("no room")


def test_a_batch_that_cannot_be_written_down_fails_alone_and_its_worker_lives() -> None:
    home = Home()
    with one_worker(home) as engine:
        engine.send(call(0, os.getpid))
        engine.send(call(1, os.getpid)._replace(items=[TooLarge()]))  # type: ignore[list-item]  # as no payload is
        engine.send(call(2, os.getpid))
        home.wait_for_items(3)
        by_batch = {outcome.batch: outcome for outcome in home.outcomes}
        failure = by_batch[1].failure
        assert failure is not None
        assert failure.kind == "engine"
        assert failure.message == (
            "it cannot be written down for a worker (MemoryError: no room). "
            "Send it less at once, or what is large by ex.share(…)."
        )
        assert take(by_batch[0].values[0]) == take(by_batch[2].values[0])


def mark_and_pass(gate: Gate | None, number: int) -> int:
    coeval.mark("passed", number=number)
    if gate is not None:
        gate.wait()
    return number


def note_and_kill(notes: Path, number: int, is_deadly: bool) -> int:
    with notes.open("a") as file:
        file.write(f"{number}\n")
    if is_deadly:
        signal.raise_signal(signal.SIGKILL)
    return number


def test_what_was_finished_comes_home_while_a_call_that_travels_with_it_runs(tmp_path: Path) -> None:
    gate, home = Gate(tmp_path, 60), Home()
    with one_worker(home) as engine:
        engine.send(calls(mark_and_pass, (None, 0), (None, 1), (gate, 2), (None, 3)))
        home.wait_for_items(2)
        gate.wait_for_arrivals(1)
        assert home.kinds() == [None, None]
        gate.open()
        home.wait_for_items(4)
    assert values_of(home) == [0, 1, 2, 3]
    marks = [event for outcome in home.outcomes for event in outcome.events if event.kind == "mark"]
    assert [event.fields["number"] for event in marks] == [0, 1, 2, 3]  # each once, and with its call
    assert all(event.item in range(o.first, o.first + o.item_count) for o in home.outcomes for event in o.events)
    assert all(list(outcome.stamps) == sorted(outcome.stamps) for outcome in home.outcomes)


def test_what_was_finished_before_a_call_that_kills_the_worker_is_not_run_again(tmp_path: Path) -> None:
    notes, home = tmp_path / "notes", Home()
    with one_worker(home) as engine:
        engine.send(calls(note_and_kill, *((notes, number, number == 2) for number in range(4))))
        home.wait_for_items(4)
    assert home.kinds() == [None, None, "died", "moved"]
    assert notes.read_text() == "0\n1\n2\n"


def large_and_gate(gate: Gate | None, number: int) -> bytes:
    if gate is not None:
        gate.wait()
    return bytes([number]) * LARGE


def test_large_results_come_home_too_while_a_call_that_travels_with_them_runs(tmp_path: Path) -> None:
    gate, home = Gate(tmp_path, 60), Home()
    with leaks():
        with one_worker(home) as engine:
            engine.send(calls(large_and_gate, (None, 0), (None, 1), (gate, 2), (None, 3)))
            home.wait_for_items(2)
            gate.wait_for_arrivals(1)
            assert home.kinds() == [None, None]
            gate.open()
            home.wait_for_items(4)
        assert values_of(home) == [bytes([number]) * LARGE for number in range(4)]
        home.outcomes.clear()


def large_then_kill(notes: Path, number: int, is_deadly: bool) -> bytes:
    return bytes([note_and_kill(notes, number, is_deadly)]) * LARGE


def test_large_results_survive_their_worker_and_are_not_made_again(tmp_path: Path) -> None:
    notes, home = tmp_path / "notes", Home()
    with leaks():
        with one_worker(home) as engine:
            engine.send(calls(large_then_kill, *((notes, number, number == 2) for number in range(4))))
            home.wait_for_items(4)
        assert home.kinds() == [None, None, "died", "moved"]
        assert notes.read_text() == "0\n1\n2\n"
        assert values_of(home) == [bytes([number]) * LARGE for number in range(2)]
        home.outcomes.clear()


def test_what_nobody_takes_of_large_results_is_freed() -> None:
    home = Home()
    with leaks():
        with one_worker(home) as engine:
            engine.send(calls(large_and_gate, *((None, number) for number in range(4))))
            home.wait_for_items(4)
        home.outcomes.clear()


def test_one_slow_call_among_many_quick_ones_holds_none_of_those_before_it_back(tmp_path: Path) -> None:
    gate = Gate(tmp_path, 60)
    with Executor("local:1") as ex:
        for future in [ex.submit(pass_gate_if, None, number) for number in range(1_000)]:
            future.result(30)
        futures = [ex.submit(pass_gate_if, gate if number == 5_000 else None, number) for number in range(10_000)]
        done = {future.result(30) for future in as_completed(futures[:5_000], 30)}
        assert done == set(range(5_000))
        gate.wait_for_arrivals(1)
        assert not futures[5_000].done()
        gate.open()
        assert [future.result(30) for future in futures] == list(range(10_000))


def pass_gate_if(gate: Gate | None, number: int) -> int:
    if gate is not None:
        gate.wait()
    return number


def test_workers_that_never_start_end_all_waiting_calls_also_where_several_are_wanted() -> None:
    printed = script(
        """
        import os
        os.environ["PYTHONHOME"] = "/nowhere"  # for workers; this process has started
        from coeval.executor import Executor
        with Executor("local:4") as ex:
            futures = [ex.submit(abs, -n) for n in range(4)]
            print({type(future.exception(60)).__name__ for future in futures})
        """
    )
    assert printed == "{'WorkersDoNotStart'}\n"


FILLED = """
    import os, resource
    from coeval.executor import Executor

    def fill(left):
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            for fd in held[len(held) - left:]:
                os.close(fd)
        return held[: len(held) - left]
"""


def test_without_descriptors_no_worker_starts_and_none_leaks() -> None:
    """However far a start gets, it gives everything back, and the next call works when there are some again."""
    printed = script(
        FILLED
        + """
    for left in range(2, 20):
        ex = Executor("local:1")
        held = fill(left)
        before = len(held)
        error = ex.submit(abs, -1).exception(60)
        for fd in held:
            os.close(fd)
        if error is None:
            break
        print(str(error)[-60:])
        assert len(os.listdir("/proc/self/fd")) < 30
        ex.submit(abs, -1).result(60)
        ex.shutdown()
    ex.shutdown()
    """
    )
    assert printed
    assert all("Too many open files" in line for line in printed.splitlines())


def test_without_descriptors_the_workers_that_are_there_do_the_work() -> None:
    printed = script(
        FILLED
        + """
    with Executor("local:2") as ex:
        ex.submit(abs, -1).result(60)
        fill(0)
        futures = [ex.submit(abs, -n) for n in range(20)]
        print(sum(future.result(60) for future in futures))
    """
    )
    assert printed == "190\n"


def test_a_thread_that_cannot_start_is_started_by_the_next_call() -> None:
    printed = script(
        """
        import threading
        from coeval.executor import Executor
        with Executor("local:1") as ex:
            threading.stack_size(1 << 46)
            print(type(ex.submit(abs, -1).exception(60)).__name__)
            threading.stack_size(0)
            print(ex.submit(abs, -1).result(60))
        """
    )
    assert printed.split() == ["EngineError", "1"]


def test_closing_again_writes_into_nobodys_file(tmp_path: Path) -> None:
    engine, home = LocalEngine(1), threading.Event()
    engine.start(lambda outcome: home.set() if outcome.batch == 0 else None)
    engine.send(call(0, abs, -1))
    assert home.wait(30)
    engine.close()
    others = [os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT) for number in range(20)]
    engine.close()
    assert {os.fstat(fd).st_size for fd in others} == {0}
    for fd in others:
        os.close(fd)


def test_stop_has_an_answer_also_while_the_pool_closes() -> None:
    engine = LocalEngine(1)
    engine.start(lambda _: None)
    engine.send(call(0, signal.pause))
    answers: list[bool] = []
    may_close = threading.Barrier(2)

    def ask() -> None:
        may_close.wait()
        answers.append(engine.stop(0, 0))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    may_close.wait()
    engine.close()
    asking.join(30)
    assert len(answers) == 1
    assert engine.stop(0, 0) is False


@pytest.mark.parametrize("scribbled", ['(8).to_bytes(8, "little") + b"no frame"', 'b"hello, world"'])
def test_a_call_that_writes_into_the_pools_pipe_fails_alone(scribbled: str) -> None:
    printed = script(
        """
        from coeval.executor import Executor

        def scribble():
            import os, signal, stat
            for fd in range(3, 20):
                try:
                    if stat.S_ISFIFO(os.fstat(fd).st_mode):
                        os.write(fd, SCRIBBLED)
                except OSError:
                    pass
            signal.pause()

        with Executor("local:1") as ex:
            print(type(ex.submit(scribble).exception(60)).__name__, ex.submit(abs, -1).result(60))
        """.replace("SCRIBBLED", scribbled)
    )
    assert printed == "WorkerDied 1\n"


def test_how_a_worker_ended_is_known_also_where_the_program_has_its_children_reaped() -> None:
    printed = script(
        """
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        from coeval.executor import Executor
        with Executor("local:1") as ex:
            died = ex.submit(signal.raise_signal, signal.SIGKILL).exception(60)
            print(repr(died.signal), died.exit_code, ex.submit(abs, -1).result(60))
        """
    )
    assert printed == "'SIGKILL' None 1\n"


def test_a_worker_gets_its_pipes_where_standard_input_was_closed() -> None:
    printed = script(
        """
        import os
        from coeval.executor import Executor
        with Executor("local:1") as first, Executor("local:1") as second:
            first.submit(abs, -1).result(60)
            os.close(0)
            print(second.submit(abs, -2).result(60))
        """
    )
    assert printed == "2\n"


@pytest.mark.parametrize("method", ["server", "fork", "spawn"])
def test_a_child_that_a_call_forks_keeps_every_file_of_the_call(method: Method) -> None:
    with Executor(LocalEngine(1, start_method=method)) as ex:
        assert ex.submit(fork_with_many_files).result(60) == 0


def fork_with_many_files() -> int:
    files = [os.memfd_create("file") for _ in range(60)]  # they fill the numbers that are free
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(sum(not is_open(file) for file in files))
        finally:
            os._exit(255)
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("output", ["plain", "labelled"])
@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_calls_may_print_where_the_program_began_without_standard_streams_and_no_file_of_its_gets_that(
    tmp_path: Path, closed: str, output: str
) -> None:
    program = f"""
import os, sys
from coeval.executor import Executor
def tell(number):
    print("out", number)
    print("error", number, file=sys.stderr)
    return number
with Executor("local:2", output={output!r}) as ex:
    files = [open(os.path.join({str(tmp_path)!r}, str(number)), "w+") for number in range(4)]  # they get those numbers
    numbers = list(ex.map(tell, range(20)))
    written = [open(file.name).read() for file in files]
with open({str(tmp_path / "told")!r}, "w") as told:
    told.write(f"{{numbers == list(range(20))}} {{written}}")
"""
    closing = " ".join(f"{number}>&-" for number in closed.split())
    command = ["sh", "-c", f'exec "$0" -c "$1" {closing}', sys.executable, program]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert (tmp_path / "told").read_text() == "True ['', '', '', '']"


def test_workers_of_a_zipped_application_start(tmp_path: Path) -> None:
    application = tmp_path / "with blank, ü"
    package = application / "coeval"
    for source in Path(coeval.__file__).parent.rglob("*.py"):
        copy = package / source.relative_to(Path(coeval.__file__).parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    (application / "__main__.py").write_text(
        "from coeval.executor import Executor\nwith Executor('local:1') as ex: print(ex.submit(abs, -3).result(60))\n"
    )
    zipapp.create_archive(application, tmp_path / "with blank, ü.pyz")
    assert run(str(tmp_path / "with blank, ü.pyz")) == "3\n"


def test_an_idle_worker_keeps_nothing_of_what_it_was_sent() -> None:
    engine, is_home = LocalEngine(1), threading.Event()
    engine.start(lambda outcome: is_home.set() if outcome.batch == 0 else None)
    engine.send(call(0, len, bytes(1 << 28)))
    assert is_home.wait(60)
    [worker] = engine.workers()
    memory = Path(f"/proc/{worker.pid}/statm")
    wait_for(lambda: int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < 1 << 27)
    engine.close()
