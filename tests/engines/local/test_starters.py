"""
Starters with real processes. The workers of these tests evaluate what they are sent, so that a test can ask them.

`COEVAL_PYTHONS` names further interpreters, separated as in PATH. Workers must start with each; each must exist.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import resource
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import coeval
from coeval.engines.local import _starters
from coeval.engines.local._child import NATIVE_THREADS, changes_between
from coeval.engines.local._launch import LaunchedServer
from coeval.engines.local._pool_state import Exit
from coeval.engines.local._preload import is_found_elsewhere, modules_worth_preloading
from coeval.engines.local._starters import Ended, NotStarted, Reaped, Started, Starter, starter_of

if TYPE_CHECKING:
    from coeval.engines.local._starters import Method

METHODS: tuple[Method, ...] = ("server", "fork", "spawn")

WORKER = '''
import os

def work(commands, results, board, cell, lifeline):
    """Evaluate each line of the commands, and answer with what came of it."""
    names = {"commands": commands, "results": results, "board": board, "cell": cell, "lifeline": lifeline}
    with open(commands) as lines:
        for line in lines:
            answer = repr(eval(line, names)) + "\\n"
            os.write(results, answer.encode())
'''


class Talk:
    """The pool's side of one worker."""

    def __init__(self, starter: Starter, number: int, cell: int = 0) -> None:
        commands_read, self.commands = os.pipe()
        self.results, results_write = os.pipe()
        _talks.add(self)
        board = os.memfd_create("board")
        starter.start(number, (commands_read, results_write, board), cell)
        for fd in (commands_read, results_write, board):
            os.close(fd)

    def tell(self, expression: str) -> None:
        os.write(self.commands, f"{expression}\n".encode())

    def ask(self, expression: str) -> Any:
        """What the expression is in the worker."""
        self.tell(expression)
        answer = b""
        while not answer.endswith(b"\n"):
            assert is_readable(self.results, 30), "the worker does not answer"
            read = os.read(self.results, 65536)
            assert read, f"the worker has ended before it evaluated {expression}"
            answer += read
        return ast.literal_eval(answer.decode())

    def close(self) -> None:
        _talks.discard(self)
        for fd in (self.commands, self.results):
            os.close(fd)


_talks: set[Talk] = set()


def _close_in_forked_child() -> None:
    """What is forked from a pool's process must not hold the pool's ends; each pool sees to its own."""
    for talk in list(_talks):
        talk.close()


os.register_at_fork(after_in_child=_close_in_forked_child)


class Shop:
    """A starter, its workers, and what it told."""

    def __init__(self, starter: Starter) -> None:
        self.starter = starter
        self.talks: list[Talk] = []
        self.news: list[Started | Ended | Reaped | NotStarted] = []

    def start(self) -> Talk:
        talk = Talk(self.starter, len(self.talks))
        self.talks.append(talk)
        return talk

    def wait_for(self, number: int, kind: type[Any]) -> Any:
        while True:
            for news in self.news:
                if news.number == number and isinstance(news, kind):
                    return news
            assert is_readable(self.starter.fd, 30), f"no {kind.__name__} of {number} among {self.news}"
            self.news += self.starter.events()

    def close(self) -> None:
        self.starter.close()
        for talk in self.talks:
            talk.close()


def is_readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()


def is_gone(pid: int) -> bool:
    """Is the process no more, or a zombie that somebody else has to reap, or is just being reaped?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()))


def descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, with the workers' module in it."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "evaluating_worker.py").write_text(WORKER)
    monkeypatch.syspath_prepend(folder)
    return folder


ENTRY = "evaluating_worker:work"


@contextlib.contextmanager
def shop_of(method: Method, **options: Any) -> Iterator[Shop]:
    shop = Shop(starter_of(method, entry=ENTRY, **options))
    try:
        yield shop
    finally:
        shop.close()


each_method = pytest.mark.parametrize("method", METHODS)


@each_method
def test_a_worker_gets_its_descriptors_and_its_cell(library: Path, method: Method) -> None:
    with shop_of(method) as shop:
        talk = Talk(shop.starter, 0, cell=192)
        shop.talks.append(talk)
        assert talk.ask("cell") == 192
        assert talk.ask("__import__('os').readlink(f'/proc/self/fd/{board}')").startswith("/memfd:board")
        started = shop.wait_for(0, Started)
        assert talk.ask("__import__('os').getpid()") == started.pid
        assert talk.ask("__import__('os').getpgrp()") == started.pid


IS_OPEN = "__import__('os').path.islink(f'/proc/self/fd/{n}')"


@each_method
def test_a_worker_holds_nothing_of_the_pool_but_what_is_its_own(library: Path, method: Method) -> None:
    with shop_of(method) as shop:
        shop.start().ask("0")
        second = shop.start()
        links = second.ask(
            "[(n, __import__('os').readlink(f'/proc/self/fd/{n}')) for n in range(100) if " + IS_OPEN + "]"
        )
        own = set(second.ask("[0, 1, 2, commands, results, board, lifeline]"))
        if method == "fork":  # it has what the caller has, such as the test's own pipes
            assert not [link for number, link in links if number not in own and ("event" in link or "pidfd" in link)]
        else:
            assert {number for number, _ in links} == own, links


@each_method
def test_standard_input_is_empty_and_output_is_the_callers(
    library: Path, method: Method, capfd: pytest.CaptureFixture[str]
) -> None:
    with shop_of(method) as shop:
        talk = shop.start()
        assert talk.ask("__import__('os').readlink('/proc/self/fd/0')") == "/dev/null"
        talk.ask("print('from the worker', flush=True)")
    assert capfd.readouterr().out == "from the worker\n"


@each_method
def test_a_worker_finds_the_surroundings_of_the_caller_at_its_start(
    library: Path, method: Method, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COEVAL_TEST_GONE", "before")
    with shop_of(method) as shop:
        shop.start().ask("0")
        monkeypatch.setenv("COEVAL_TEST_NEW", "ü = 1\n2")
        monkeypatch.delenv("COEVAL_TEST_GONE")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["program", "argument"])
        umask = os.umask(0o027)
        try:
            talk = shop.start()
            talk.ask("0")
        finally:
            os.umask(umask)
        asked = talk.ask("[__import__('os').environ.get('COEVAL_TEST_' + name) for name in ('NEW', 'GONE')]")
        assert asked == ["ü = 1\n2", None]
        assert talk.ask("__import__('os').getcwd()") == str(tmp_path)
        assert talk.ask("__import__('sys').path") == sys.path
        assert talk.ask("__import__('sys').argv") == ["program", "argument"]
        assert talk.ask("__import__('os').umask(0)") == 0o027


@each_method
def test_signals_do_what_they_do_in_a_program_that_set_none(library: Path, method: Method) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with shop_of(method) as shop:
            talk = shop.start()
            talk.ask("0")
            status = f"dict(line.split(':') for line in open('/proc/{shop.wait_for(0, Started).pid}/status'))"
            assert int(talk.ask(f"{status}['SigBlk']"), 16) == 0
            ignored = int(talk.ask(f"{status}['SigIgn']"), 16)
            assert {number for number in signal.valid_signals() if ignored >> (number - 1) & 1} == {
                signal.SIGPIPE,
                signal.SIGXFSZ,
            }
            assert int(talk.ask(f"{status}['SigCgt']"), 16) & (1 << (signal.SIGINT - 1)) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


@each_method
def test_native_libraries_share_the_cores_unless_the_user_decided(
    library: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NATIVE_THREADS:
        monkeypatch.delenv(name, raising=False)
    asked = f"[__import__('os').environ.get(name) for name in {NATIVE_THREADS}]"
    with shop_of(method, workers_max=1000) as shop:
        assert shop.start().ask(asked) == ["1"] * len(NATIVE_THREADS)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    with shop_of(method, workers_max=1000) as shop:
        assert shop.start().ask(asked) == ["7" if name == "MKL_NUM_THREADS" else None for name in NATIVE_THREADS]


@each_method
@pytest.mark.parametrize(
    ("expression", "how"),
    [
        ("__import__('os')._exit(7)", Exit("", 7)),
        ("__import__('sys').exit(3)", Exit("", 3)),
        ("__import__('signal').raise_signal(10)", Exit("SIGUSR1", None)),
        ("__import__('os').kill(__import__('os').getpid(), 9)", Exit("SIGKILL", None)),
    ],
)
def test_an_end_is_told_with_its_signal_or_code(library: Path, method: Method, expression: str, how: Exit) -> None:
    with shop_of(method) as shop:
        shop.start().tell(expression)
        assert shop.wait_for(0, Ended).how == how
        shop.starter.reap(0)
        assert is_gone(shop.wait_for(0, Started).pid)


@each_method
def test_a_worker_whose_commands_are_closed_runs_its_atexit_functions(
    library: Path, method: Method, tmp_path: Path
) -> None:
    with shop_of(method) as shop:
        talk = shop.start()
        path = str(tmp_path / "written")
        talk.ask(f"__import__('atexit').register(lambda: open({path!r}, 'w').write('x')) and None")
        os.close(talk.commands)
        talk.commands = os.open(os.devnull, os.O_WRONLY)
        assert shop.wait_for(0, Ended).how == Exit("", 0)
        assert Path(path).read_text() == "x"


GRANDCHILD = "__import__('os').fork() or __import__('signal').pause()"


@each_method
@pytest.mark.parametrize("group_flag", [1 << 2, 1 << 30], ids=["kernel with group pidfds", "older kernel"])
def test_a_killed_worker_takes_its_grandchildren_along(
    library: Path, method: Method, group_flag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_starters, "_PIDFD_SIGNAL_PROCESS_GROUP", group_flag)
    with shop_of(method) as shop:
        grandchild = shop.start().ask(GRANDCHILD)
        other = shop.start()
        shop.wait_for(0, Started)
        assert not is_gone(grandchild)
        shop.starter.kill(0)
        assert shop.wait_for(0, Ended).how == Exit("SIGKILL", None)
        wait_until(lambda: is_gone(grandchild))
        assert other.ask("1") == 1


@each_method
def test_what_a_worker_left_in_its_group_is_killed_before_it_is_reaped(library: Path, method: Method) -> None:
    with shop_of(method) as shop:
        talk = shop.start()
        grandchild = talk.ask(GRANDCHILD)
        talk.tell("__import__('os')._exit(0)")
        shop.wait_for(0, Ended)
        assert not is_gone(grandchild)
        shop.starter.kill(0)
        shop.starter.reap(0)
        wait_until(lambda: is_gone(grandchild))
        shop.starter.kill(0)  # nobody is hit


@each_method
def test_sixty_four_workers_start_and_are_gone_with_every_descriptor(library: Path, method: Method) -> None:
    count = 64 if method != "spawn" else 16
    processes, open_before = children(), descriptors()
    with shop_of(method) as shop:
        for _ in range(count):
            shop.start()
        pids = {talk.ask("__import__('os').getpid()") for talk in shop.talks}
        assert {shop.wait_for(number, Started).pid for number in range(count)} == pids
        assert len(pids) == count
    assert all(is_gone(pid) for pid in pids)
    assert children() == processes
    assert descriptors() == open_before


def test_more_starts_than_the_channel_holds_wait_until_the_server_takes_them(library: Path) -> None:
    (library / "slow_to_import.py").write_text(f"with open({str(library / 'gate')!r}) as gate: gate.read()\n")
    os.mkfifo(library / "gate")
    open_before = descriptors()
    with shop_of("server", preload=["slow_to_import"]) as shop:
        starter = shop.starter
        assert isinstance(starter, _starters._ServerStarter)
        while not starter._unsent:
            shop.start()
        for _ in range(3):
            shop.start()
        (library / "gate").write_text("go")
        for number, talk in enumerate(shop.talks):
            shop.wait_for(number, Started)
            assert talk.ask("1") == 1
    assert descriptors() == open_before


@each_method
def test_a_parent_with_fifty_threads_that_hold_locks_starts_workers(library: Path, method: Method) -> None:
    held = [threading.Lock() for _ in range(50)]
    go = threading.Event()

    def hold(lock: threading.Lock, ready: threading.Barrier) -> None:
        with lock:
            ready.wait()
            go.wait()

    ready = threading.Barrier(51)
    threads = [threading.Thread(target=hold, args=(lock, ready)) for lock in held]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        # Whoever asks for fork in 3.12 and later is warned by Python itself.
        warned_of_fork = pytest.warns(DeprecationWarning, match="multi-threaded")
        is_warned = method == "fork" and sys.version_info >= (3, 12)
        with warned_of_fork if is_warned else contextlib.nullcontext(), shop_of(method) as shop:
            assert shop.start().ask("__import__('threading').active_count()") == 1
    finally:
        go.set()
        for thread in threads:
            thread.join()


def test_the_caller_is_not_frozen_after_a_fork(library: Path) -> None:
    import gc

    with shop_of("fork") as shop:
        assert shop.start().ask("__import__('gc').get_freeze_count() > 0")
    assert gc.get_freeze_count() == 0


def test_a_worker_of_the_server_shares_frozen_objects_and_collects_its_own(library: Path) -> None:
    with shop_of("server") as shop:
        talk = shop.start()
        assert talk.ask("__import__('gc').get_freeze_count() > 0")
        assert talk.ask("__import__('gc').isenabled()")


# The server -----------------------------------------------------------------------------------------------------------


def test_preloaded_modules_are_there_before_a_worker_starts(library: Path) -> None:
    (library / "first_module.py").write_text("")
    (library / "second_module.py").write_text("")
    with shop_of("server", preload=["first_module"]) as shop:
        loaded = "[name in __import__('sys').modules for name in ('first_module', 'second_module')]"
        assert shop.start().ask(loaded) == [True, False]
        shop.starter.preload(["second_module"])
        assert shop.start().ask(loaded) == [True, True]


def test_a_module_that_cannot_be_imported_is_told_of_once_and_does_no_harm(
    library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (library / "failing_module.py").write_text("raise SystemExit('no')")
    with shop_of("server", preload=["failing_module", "json"]) as shop:
        assert shop.start().ask("'json' in __import__('sys').modules")
        shop.start().ask("0")
        shop.wait_for(1, Started)
    [message] = [record.getMessage() for record in caplog.records]
    assert "failing_module" in message
    assert "SystemExit: no" in message


def test_a_module_that_starts_a_thread_is_dropped_and_the_workers_stay(
    library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (library / "threaded_module.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    with shop_of("server") as shop:
        before = shop.start()
        before.ask("0")
        shop.starter.preload(["json", "threaded_module", "decimal"])
        after = shop.start()
        names = ("json", "threaded_module", "decimal")
        asked = f"[name in __import__('sys').modules for name in {names}]"
        assert after.ask(asked) == [True, False, True]
        assert after.ask("len(__import__('os').listdir('/proc/self/task'))") == 1
        before.tell("__import__('os')._exit(5)")
        assert shop.wait_for(0, Ended).how == Exit("", 5)
        shop.starter.reap(0)
        assert is_gone(shop.wait_for(0, Started).pid)
    assert "threaded_module" in caplog.text


def server_pid(shop: Shop) -> int:
    starter = shop.starter
    assert isinstance(starter, _starters._ServerStarter)
    assert starter._server is not None
    return starter._server.pid


def test_workers_of_a_killed_server_go_on_and_the_next_start_launches_another(
    library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    processes, open_before = children(), descriptors()
    with shop_of("server") as shop:
        orphan, lone = shop.start(), shop.start()
        orphan.ask("0")
        lone.ask("0")
        for number in (0, 1):
            shop.wait_for(number, Started)
        os.kill(server_pid(shop), signal.SIGKILL)
        assert is_readable(shop.starter.fd, 30)
        wait_until(lambda: shop.news.extend(shop.starter.events()) or "SIGKILL" in caplog.text)  # type: ignore[func-returns-value]
        assert orphan.ask("1") == 1
        assert shop.start().ask("2") == 2
        shop.starter.kill(0)
        assert shop.wait_for(0, Ended).how == Exit("", None)
        shop.starter.reap(0)
        assert lone.ask("3") == 3
        pids = [shop.wait_for(number, Started).pid for number in range(3)]
    assert all(is_gone(pid) for pid in pids)
    assert children() == processes
    assert descriptors() == open_before


def test_a_start_that_a_killed_server_did_not_answer_is_not_started(library: Path) -> None:
    os.mkfifo(library / "gate")
    (library / "slow_to_import.py").write_text(f"with open({str(library / 'gate')!r}) as gate: gate.read()\n")
    with shop_of("server", preload=["slow_to_import"]) as shop:
        shop.start()
        os.kill(server_pid(shop), signal.SIGKILL)
        assert "SIGKILL" in shop.wait_for(0, NotStarted).reason
        assert shop.start().ask("1") == 1  # without preloading, which may be what killed it


@pytest.mark.parametrize("method", ["server", "fork"])
def test_two_workers_do_not_draw_the_same_numbers(library: Path, method: Method) -> None:
    modules = ["random", "numpy.random"]
    for name in modules:  # what is forked from here has both
        importlib.import_module(name)
    with shop_of(method, preload=modules) as shop:
        for draw in ("__import__('random').random()", "float(__import__('numpy').random.random())"):
            assert len({talk.ask(draw) for talk in (shop.start(), shop.start())}) == 2


def test_an_idle_server_never_wakes_up(library: Path) -> None:
    with shop_of("server") as shop:
        talk = shop.start()
        talk.ask("0")
        status = Path(f"/proc/{server_pid(shop)}/status")

        def is_asleep() -> bool:
            return "State:\tS" in status.read_text()

        def switches() -> str:
            return status.read_text().partition("voluntary_ctxt_switches")[2]

        wait_until(is_asleep)
        before = switches()
        for _ in range(1000):
            talk.ask("0")
        assert switches() == before


@pytest.mark.parametrize("preload", [[], ["slow_to_import"]])
@pytest.mark.parametrize("starts", [0, 1, 5])
def test_closing_in_the_middle_of_a_start_leaves_nothing(library: Path, preload: list[str], starts: int) -> None:
    os.mkfifo(library / "gate")
    (library / "slow_to_import.py").write_text(f"with open({str(library / 'gate')!r}) as gate: gate.read()\n")
    processes, open_before = children(), descriptors()
    with shop_of("server", preload=preload) as shop:
        for _ in range(starts):
            shop.start()
        shop.starter.close()
        # A worker that was forked has the results' end: it closes with the last who has it.
        assert all(is_readable(talk.results, 30) and os.read(talk.results, 1) == b"" for talk in shop.talks)
    assert children() == processes
    assert descriptors() == open_before


def test_a_worker_killed_before_it_has_started_ends_when_it_has(library: Path) -> None:
    with shop_of("server") as shop:
        shop.start()
        shop.starter.kill(0)
        assert shop.wait_for(0, Ended).how == Exit("SIGKILL", None)


# What is short --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def descriptors_left(left: int) -> Iterator[None]:
    """In this process so many more files can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 20, hard))
    filled: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.open(os.devnull, os.O_RDONLY))
        for fd in filled[len(filled) - left :]:
            os.close(fd)
        del filled[len(filled) - left :]
        yield
    finally:
        for fd in filled:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@each_method
def test_without_descriptors_a_worker_is_not_started_and_says_so(library: Path, method: Method) -> None:
    """However far a start gets, it gives everything back, and the next one works when there are some again."""
    with shop_of(method) as shop:
        shop.start().ask("0")
        shop.wait_for(0, Started)
        commands, results, board = ends = [os.dup(fd) for fd in (shop.talks[0].results, shop.talks[0].commands, 0)]
        refused = 0
        for number in range(100, 120):
            open_before = descriptors()
            with descriptors_left(number - 100):
                shop.starter.start(number, (commands, results, board), 0)
                while not shop.news or shop.news[-1].number != number:
                    assert is_readable(shop.starter.fd, 30)
                    shop.news += shop.starter.events()
            if isinstance(shop.news[-1], Started):
                break
            refused += 1
            assert shop.news[-1] == NotStarted(number, "Too many open files")
            assert descriptors() == open_before
        assert refused
        assert isinstance(shop.wait_for(number, Started), Started)
        for fd in ends:
            os.close(fd)
        shop.starter.kill(number)
        assert shop.start().ask("1") == 1


def test_without_descriptors_in_the_server_a_worker_is_not_started_and_says_so(library: Path) -> None:
    (library / "greedy_module.py").write_text("import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\n")
    with shop_of("server", preload=["greedy_module"]) as shop:
        shop.start()
        assert "Too many open files" in shop.wait_for(0, NotStarted).reason


def test_an_interpreter_that_is_not_there_is_the_reason(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with shop_of("server") as shop:
        shop.start()
        assert "No such file" in shop.wait_for(0, NotStarted).reason


def test_another_start_method_is_refused() -> None:
    with pytest.raises(ValueError, match="'teleport'"):
        starter_of("teleport")  # type: ignore[arg-type]


# Programs of their own ------------------------------------------------------------------------------------------------

PROGRAM = """
import os, select, sys
from coeval.engines.local._starters import Ended, starter_of

def make():
    return os.pipe(), os.pipe(), os.memfd_create("board")

def start(starter, number, made=None):
    (commands_read, commands), (results, results_write), board = made or make()
    starter.start(number, (commands_read, results_write, board), 0)
    for fd in (commands_read, results_write, board):
        os.close(fd)
    return commands, results

def ask(ends, expression):
    os.write(ends[0], (expression + "\\n").encode())
    return os.read(ends[1], 65536).decode().strip()
"""


def environment_of(library: Path) -> dict[str, str]:
    source = Path(coeval.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(library), str(source)])}


def test_a_child_forked_between_launch_and_use_does_not_keep_the_server_alive(library: Path) -> None:
    program = PROGRAM + textwrap.dedent(
        f"""
        from coeval.engines.local._launch import LaunchedServer
        server = LaunchedServer(entry={ENTRY!r})
        child = os.fork()
        if child == 0:
            os.closerange(0, 3)
            import signal
            signal.pause()
        starter = starter_of("server", entry={ENTRY!r}, server=server)
        worker = ask(start(starter, 0), "__import__('os').getpid()")
        print(child, server.pid, worker, flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment_of(library), capture_output=True, text=True, check=False
    ).stdout
    child, *others = map(int, printed.split())
    assert not is_gone(child)
    try:
        for pid in others:
            wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    finally:
        os.kill(child, signal.SIGKILL)


@each_method
def test_a_killed_driver_takes_workers_their_children_and_the_server_along(library: Path, method: Method) -> None:
    program = PROGRAM + textwrap.dedent(
        f"""
        starter = starter_of({method!r}, entry={ENTRY!r})
        ends = [start(starter, number) for number in range(2)]
        print(*(ask(end, "__import__('os').getpid()") for end in ends))
        print(ask(ends[0], {GRANDCHILD!r}))
        os.write(ends[1][0], b"[0 for _ in iter(int, 1)]\\n")  # works for ever
        if os.fork() == 0:  # a child of the caller's own must not keep them alive
            os.closerange(0, 3)
            import signal
            signal.pause()
        print(open(f"/proc/self/task/{{os.getpid()}}/children").read())
        sys.stdout.flush()
        os.read(0, 1)
        """
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment_of(library),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    with driver, contextlib.ExitStack() as undo:
        undo.callback(driver.kill)
        workers, [grandchild], started = ([int(word) for word in driver.stdout.readline().split()] for _ in range(3))
        own_fork = started[-1]
        undo.callback(os.kill, own_fork, signal.SIGKILL)
        helpers = set(started) - {own_fork, *workers}
        assert len(helpers) == (1 if method == "server" else 0)
        driver.kill()
        driver.wait()
        for pid in (*workers, grandchild, *helpers):
            wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]


def pythons() -> list[str]:
    return [sys.executable, *filter(None, os.environ.get("COEVAL_PYTHONS", "").split(os.pathsep))]


@pytest.mark.parametrize("python", pythons())
@each_method
def test_in_development_mode_nothing_warns(library: Path, method: Method, python: str) -> None:
    program = PROGRAM + textwrap.dedent(
        f"""
        starter = starter_of({method!r}, preload=["json"], entry={ENTRY!r})
        ends = [start(starter, number) for number in range(3)]
        for end in ends:
            print(ask(end, "__import__('sys').flags.dev_mode, __import__('sys').warnoptions[-1]"))
        print(ask(ends[0], "__import__('sys').version_info[:2]"), tuple(sys.version_info[:2]))
        news = starter.events()
        starter.kill(1)
        while not any(isinstance(one, Ended) for one in news):
            select.select([starter.fd], [], [], 30)
            news += starter.events()
        print(news[-1].how)
        starter.reap(1)
        starter.close()
        for end in ends:
            os.close(end[0]), os.close(end[1])
        """
    )
    done = subprocess.run(
        [python, "-X", "dev", "-W", "error", "-c", program],
        env=environment_of(library),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    *flags, versions, how = done.stdout.splitlines()
    assert flags == ["(True, 'error')"] * 3
    assert versions.split(") ")[0] + ")" == versions.split(") ")[1]
    assert how == "was ended by SIGKILL"


def test_a_program_whose_standard_streams_are_closed_starts_workers(library: Path) -> None:
    program = PROGRAM + textwrap.dedent(
        f"""
        out = os.dup(1)
        os.set_inheritable(out, False)
        makes = [make() for _ in {METHODS!r}]
        os.closerange(0, 3)
        for method, made in zip({METHODS!r}, makes):
            starter = starter_of(method, entry={ENTRY!r})
            ends = start(starter, 0, made)
            os.write(out, ask(ends, "[__import__('os').readlink(f'/proc/self/fd/{{n}}') for n in range(3)]").encode())
            os.write(out, b"\\n")
            starter.close()
        """
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment_of(library), capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines() == [str(["/dev/null"] * 3)] * 3


def test_the_server_leaves_no_stand_in_for_functools(library: Path) -> None:
    with shop_of("server") as shop:
        talk = shop.start()
        is_same = "__import__('functools').partial is __import__('_functools').partial"
        assert talk.ask(f"({is_same}, '_pickle' in __import__('sys').modules)") == (True, True)
        assert talk.ask("__import__('functools').__name__, hasattr(__import__('functools'), 'wraps')") == (
            "functools",
            True,
        )


def test_a_server_may_run_wherever_its_caller_may_though_it_was_moved_at_first() -> None:
    for _ in range(5):
        server = LaunchedServer(entry=ENTRY)
        try:
            assert os.sched_getaffinity(server.pid) == os.sched_getaffinity(0)
        finally:
            server.adopt()
            server.abandon()
            os.waitpid(server.pid, 0)


IMPORTS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import coeval.engines.local
before = set(sys.modules)
import coeval.engines.local._launch
print(*sorted(set(sys.modules) - before))
"""


def test_the_module_that_launches_a_server_imports_next_to_nothing() -> None:
    printed = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            IMPORTS,
            str(Path(coeval.__file__).parent.parent),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ours = {"coeval.engines.local._launch", "coeval.engines.local._channel", "coeval.engines._this_core"}
    assert set(printed.split()) - ours <= {"_socket", "fcntl", "__future__"}


# What is decided ------------------------------------------------------------------------------------------------------


def test_only_what_changed_since_the_server_was_launched_is_sent() -> None:
    before = {"path": ["a"], "cwd": "/", "umask": 18, "environment": {"A": "1", "B": "2", "C": "3"}}
    assert changes_between(before, before) == {}
    now = {**before, "path": ["b"], "environment": {"A": "1", "B": "4", "D": "5"}}
    assert changes_between(before, now) == {"path": ["b"], "environment": {"C": None, "B": "4", "D": "5"}}


@pytest.mark.parametrize("name", ["__main__", "coeval", "coeval.clocks", "sys", "builtins", "nowhere.to.be.found", ""])
def test_what_another_process_has_or_cannot_find_is_not_preloaded(name: str) -> None:
    assert not is_found_elsewhere(name)


def test_what_the_program_refers_to_is_preloaded(library: Path) -> None:
    program = """
import email.message as mail, sys, threading
from decimal import Decimal
from fractions import Fraction as f
import colorsys
one = f(1, 3)
del f

class Lazy:
    def __getattr__(self, name):
        raise AssertionError("nobody may ask")

lazy = Lazy()

def own():
    import calendar

from coeval.engines.local._preload import modules_worth_preloading
names = modules_worth_preloading()
print(*names)
"""
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment_of(library), capture_output=True, text=True, check=True
    ).stdout
    names = printed.split()
    assert {"email.message", "threading", "decimal", "fractions", "colorsys"} <= set(names)
    assert not [name for name in names if "importlib" in name]
    assert not {"__main__", "sys", "builtins", "calendar", "coeval.engines.local._preload"} & set(names)


def test_the_module_of_the_function_that_is_called_comes_along() -> None:
    before = modules_worth_preloading()
    assert "textwrap" not in before
    assert modules_worth_preloading("textwrap:dedent") == [*before, "textwrap"]


@pytest.mark.parametrize("function", ["", "builtins:len", "__main__:<lambda>", "no_such_module:f", "?:f"])
def test_a_function_that_no_other_process_imports_adds_no_module(function: str) -> None:
    assert modules_worth_preloading(function) == modules_worth_preloading()


def test_looking_for_modules_is_cheap_here() -> None:
    modules_worth_preloading()
    took_ns = []
    for _ in range(20):
        began_ns = time.perf_counter_ns()
        modules_worth_preloading()
        took_ns.append(time.perf_counter_ns() - began_ns)
    assert min(took_ns) < 500_000
