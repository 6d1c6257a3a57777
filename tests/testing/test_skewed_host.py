"""Hosts with clocks of their own: real programs on them, and what the test knows of their clocks."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coeval.alignment import Messages, align
from coeval.clocks import SYSTEM_CLOCK, ClockId, Message, clock_id
from coeval.testing._skew import SECOND_NS, Skew
from coeval.testing._skew_library import CannotSkew, skew_library
from coeval.testing._skewed_host import SkewedHost, skewed_host, why_not_isolated

DAY_NS = 86_400 * SECOND_NS

needs_isolation = pytest.mark.skipif(why_not_isolated() is not None, reason=f"{why_not_isolated()}")
both_grades = pytest.mark.parametrize(
    "isolated", [pytest.param(True, marks=needs_isolation, id="isolated"), pytest.param(False, id="library alone")]
)

# For each line on standard input: what the named clocks show, as one line.
READER = """
import sys, time
for line in sys.stdin:
    print(*(time.clock_gettime_ns(getattr(time, f"CLOCK_{name}")) for name in line.split()), flush=True)
"""


class Reader:
    """A program on a host that reads clocks when it is asked to."""

    def __init__(self, host: SkewedHost, *command: str) -> None:
        self.process: subprocess.Popen[str] = host.popen(
            command or [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self, *names: str) -> list[int]:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(" ".join(names) + "\n")
        stdin.flush()
        return list(map(int, stdout.readline().split()))

    def between(self, name: str) -> tuple[int, int, int]:
        """True reading, reading there, true reading."""
        clock = getattr(time, f"CLOCK_{name}")
        before_ns = time.clock_gettime_ns(clock)
        (shown_ns,) = self.read(name)
        return before_ns, shown_ns, time.clock_gettime_ns(clock)

    def close(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0


@pytest.fixture
def readers() -> Iterator[Callable[..., Reader]]:
    with ExitStack() as stack:

        def start(*args: Any) -> Reader:
            reader = Reader(*args)
            stack.callback(reader.close)
            return reader

        yield start


def output(host: SkewedHost, program: str, *args: str) -> str:
    process = host.popen([sys.executable, "-c", program, *args], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return str(said)


def gone(pidfd: int) -> bool:
    """Whether the process ends within half a minute."""
    return bool(select.select([pidfd], [], [], 30)[0])


# Clocks ---------------------------------------------------------------------------------------------------------------


@both_grades
@pytest.mark.parametrize(
    "skew",
    [
        Skew(),
        Skew(3_500_000_000, 100_000, 7 * DAY_NS, -100_000),
        Skew(-120 * SECOND_NS, -50_000_000, -(10**12), 50_000_000),
        Skew(-DAY_NS, 0, 12_345, 0),
    ],
    ids=["none", "fast", "slow", "a day behind"],
)
def test_wall_and_raw_clock_show_what_the_truth_says(
    isolated: bool, skew: Skew, readers: Callable[..., Reader]
) -> None:
    with skewed_host("node7", skew, isolated=isolated) as host:
        reader = readers(host)
        for name, clock in (("REALTIME", host.truth.wall), ("MONOTONIC_RAW", host.truth.raw)) * 50:
            before_ns, shown_ns, after_ns = reader.between(name)
            assert clock.shown(before_ns) <= shown_ns <= clock.shown(after_ns)
            assert before_ns <= clock.true(shown_ns) <= after_ns
        reader.close()


def test_the_library_computes_what_the_truth_says_to_the_nanosecond_while_the_clocks_are_stepped() -> None:
    # Loaded, not preloaded: this program has both the true clocks and the shown ones at hand.
    program = """
import ctypes, json, os, sys, time
lib = ctypes.CDLL(sys.argv[1])
raw, wall = time.CLOCK_MONOTONIC_RAW, time.CLOCK_REALTIME
t = (ctypes.c_int64 * 2)()
def shown(clock):
    assert lib.clock_gettime(clock, t) == 0
    return t[0] * 10**9 + t[1]
print("ready", flush=True)
readings = []
for _ in range(40_000):
    for clock in (wall, raw):
        readings.append((time.clock_gettime_ns(clock), shown(clock), time.clock_gettime_ns(clock)))
print(json.dumps(readings))
"""
    with skewed_host("node7", isolated=False) as host:
        environment = {**os.environ, "COEVAL_SKEW_FILE": host.environment()["COEVAL_SKEW_FILE"]}
        command = [sys.executable, "-c", program, str(skew_library())]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            for step in range(50):
                assert not select.select([process.stdout], [], [], 0.0005)[0]
                sign = 1 if step % 2 else -1
                host.set(Skew(sign * 10**9 * step, sign * 77_777, -sign * 10**8 * step, -sign * 33_333))
            readings = json.loads(process.stdout.read())
        truth = host.truth
    for clock, rows in ((truth.wall, readings[0::2]), (truth.raw, readings[1::2])):
        used = {sum(piece.since_ns <= after for piece in clock.pieces) for _, _, after in rows}
        assert len(used) > 20, "the steps did not fall among the readings"
        for before_ns, shown_ns, after_ns in rows:
            assert any(before_ns <= moment <= after_ns for moment in clock.trues(shown_ns))


@pytest.mark.parametrize("rate_ppb", [0, 77_777, -77_777, 123_456_789, -123_456_789])
def test_the_library_rounds_as_the_truth_does(rate_ppb: int) -> None:
    # The coarse clock moves once a tick: where it reads the same before and after, the reading between is exact.
    program = """
import ctypes, json, sys, time
lib, coarse, t = ctypes.CDLL(sys.argv[1]), 5, (ctypes.c_int64 * 2)()
rows = []
while len({row[0] for row in rows}) < 12:
    before_ns = time.clock_gettime_ns(coarse)
    assert lib.clock_gettime(coarse, t) == 0
    if time.clock_gettime_ns(coarse) == before_ns:
        rows.append((before_ns, t[0] * 10**9 + t[1]))
print(json.dumps(rows))
"""
    with skewed_host("node7", Skew(-(10**9), rate_ppb), isolated=False) as host:
        environment = {**os.environ, "COEVAL_SKEW_FILE": host.environment()["COEVAL_SKEW_FILE"]}
        command = [sys.executable, "-c", program, str(skew_library())]
        rows = json.loads(subprocess.check_output(command, env=environment, timeout=60))
        assert [shown_ns for _, shown_ns in rows] == [host.truth.wall.shown(true_ns) for true_ns, _ in rows]


@both_grades
def test_monotonic_and_boot_clock_keep_the_true_rate(isolated: bool, readers: Callable[..., Reader]) -> None:
    with skewed_host("node7", Skew(10**10, 10**8, 10**10, -(10**8)), isolated=isolated) as host:
        reader = readers(host)
        for name in ("MONOTONIC", "BOOTTIME"):
            rows = [reader.between(name) for _ in range(200)]
            least = max(shown - after for _, shown, after in rows)
            greatest = min(shown - before for before, shown, _ in rows)
            assert least <= greatest, "no single offset explains all readings"
            apart_s = round(greatest / SECOND_NS)
            assert abs(greatest - apart_s * SECOND_NS) < SECOND_NS // 10
            assert (apart_s >= 1000) if isolated else (apart_s == 0)
        reader.close()


WAITS = """
import json, multiprocessing, queue, select, subprocess, sys, threading, time, asyncio
def taking(wait):
    start = time.monotonic(); wait(); return time.monotonic() - start
S = 0.1
condition, lock, mp_lock = threading.Condition(), threading.Lock(), multiprocessing.Lock()
lock.acquire(); mp_lock.acquire()
def in_condition():
    with condition: condition.wait(S)
def stop(process):
    try: process.wait(S)
    except subprocess.TimeoutExpired: pass
    else: raise AssertionError
    process.kill(); process.wait()
def nothing(): 
    try: queue.Queue().get(timeout=S)
    except queue.Empty: pass
ends = time.time() + S
def until_wall_time():
    while time.time() < ends: pass
print(json.dumps({
    "until a wall time": taking(until_wall_time) / 2 + S / 2,
    "sleep": taking(lambda: time.sleep(S)),
    "select": taking(lambda: select.select([], [], [], S)),
    "event": taking(lambda: threading.Event().wait(S)),
    "condition": taking(in_condition),
    "lock": taking(lambda: lock.acquire(timeout=S)),
    "queue": taking(nothing),
    "process lock": taking(lambda: mp_lock.acquire(timeout=S)),
    "process event": taking(lambda: multiprocessing.Event().wait(S)),
    "asyncio": taking(lambda: asyncio.run(asyncio.sleep(S))),
    "subprocess": taking(lambda: stop(subprocess.Popen(["sleep", "60"]))),
}))
"""


@both_grades
@pytest.mark.parametrize("sign", [-1, 1])
def test_waits_are_as_long_as_without(isolated: bool, sign: int) -> None:
    skew = Skew(sign * DAY_NS, sign * 100_000, sign * 10**12, -sign * 100_000)
    with skewed_host("node7", skew, isolated=isolated) as host:
        took = json.loads(output(host, WAITS))
    # A wait that went wrong would end at once, or in a day.
    assert {wait: took_s for wait, took_s in took.items() if not 0.099 <= took_s < 20} == {}


# Each waits until a wall time 0.1 s away, by a C function that names it.
WALL_WAITS = """
import ctypes, json, os, time
libc = ctypes.CDLL(None)
number = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
space = ctypes.create_string_buffer
semaphore, mutex, other, condition, word = (space(256) for _ in range(5))
assert libc.sem_init(semaphore, 0, 0) == libc.pthread_mutex_lock(mutex) == libc.pthread_mutex_lock(other) == 0
wait_bitset_until_wall_time = 9 | 256
timer = libc.timerfd_create(0, 0)
def taking(wait):
    ends = time.time_ns() + 10**8
    until = (ctypes.c_int64 * 2)(ends // 10**9, ends % 10**9)
    start = time.monotonic(); wait(until); return time.monotonic() - start
def timer_wait(until):
    assert libc.timerfd_settime(timer, 1, (ctypes.c_int64 * 4)(0, 0, *until), None) == 0
    os.read(timer, 8)
print(json.dumps({
    "sem_timedwait": taking(lambda until: libc.sem_timedwait(semaphore, until)),
    "sem_clockwait": taking(lambda until: libc.sem_clockwait(semaphore, 0, until)),
    "pthread_mutex_timedlock": taking(lambda until: libc.pthread_mutex_timedlock(other, until)),
    "pthread_cond_timedwait": taking(lambda until: libc.pthread_cond_timedwait(condition, mutex, until)),
    "pthread_cond_clockwait": taking(lambda until: libc.pthread_cond_clockwait(condition, mutex, 0, until)),
    "clock_nanosleep": taking(lambda until: libc.clock_nanosleep(0, 1, until, None)),
    "timerfd": taking(timer_wait),
    "futex": taking(lambda until: libc.syscall(
        ctypes.c_long(number), word, wait_bitset_until_wall_time, ctypes.c_long(0), until, None, ctypes.c_long(-1))),
}))
"""


@pytest.mark.parametrize("sign", [-1, 1])
def test_waits_until_a_wall_time_end_when_the_hosts_clock_shows_it(sign: int) -> None:
    with skewed_host("node7", Skew(sign * DAY_NS, sign * 100_000), isolated=False) as host:
        took = json.loads(output(host, WALL_WAITS))
    assert {wait: took_s for wait, took_s in took.items() if not 0.09 <= took_s < 20} == {}


@both_grades
def test_what_a_program_starts_shares_its_clocks(isolated: bool, readers: Callable[..., Reader]) -> None:
    inner = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {READER!r}]))"
    with skewed_host("node7", Skew(10**12, 10**7, -(10**11), 10**7), isolated=isolated) as host:
        reader = readers(host, "sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", inner)
        for name, clock in (("REALTIME", host.truth.wall), ("MONOTONIC_RAW", host.truth.raw)):
            before_ns, shown_ns, after_ns = reader.between(name)
            assert clock.shown(before_ns) <= shown_ns <= clock.shown(after_ns)
        date = host.popen(["date", "+%s%N"], stdout=subprocess.PIPE)
        before_ns, said = time.time_ns(), date.communicate(timeout=30)[0]
        assert abs(host.truth.wall.true(int(said)) - before_ns) < 20 * SECOND_NS
        reader.close()


def test_the_bare_system_call_shows_the_same(readers: Callable[..., Reader]) -> None:
    calls = """
import ctypes, sys
libc, t, numbers = ctypes.CDLL(None), (ctypes.c_int64 * 2)(), {"REALTIME": 0, "MONOTONIC_RAW": 4}
for line in sys.stdin:
    assert libc.syscall(int(sys.argv[1]), numbers[line.strip()], t) == 0
    print(t[0] * 10**9 + t[1], flush=True)
"""
    number = {"x86_64": "228", "aarch64": "113"}[os.uname().machine]
    with skewed_host("node7", Skew(10**12, 10**7, -(10**11), 10**7), isolated=False) as host:
        reader = readers(host, sys.executable, "-c", calls, number)
        for name, clock in (("REALTIME", host.truth.wall), ("MONOTONIC_RAW", host.truth.raw)):
            before_ns, shown_ns, after_ns = reader.between(name)
            assert clock.shown(before_ns) <= shown_ns <= clock.shown(after_ns)
        reader.close()


@both_grades
def test_running_programs_see_a_step(isolated: bool, readers: Callable[..., Reader]) -> None:
    with skewed_host("node7", Skew(raw_offset_ns=10**9), isolated=isolated) as host:
        reader = readers(host)
        (wall_ns, raw_ns) = reader.read("REALTIME", "MONOTONIC_RAW")
        host.set(Skew(wall_offset_ns=-3 * SECOND_NS, raw_offset_ns=5 * SECOND_NS))
        (stepped_wall_ns, stepped_raw_ns) = reader.read("REALTIME", "MONOTONIC_RAW")
        assert wall_ns - 3 * SECOND_NS < stepped_wall_ns < wall_ns
        assert raw_ns + 4 * SECOND_NS < stepped_raw_ns < raw_ns + 34 * SECOND_NS
        assert [len(clock.pieces) for clock in host.truth] == [2, 2]
        reader.close()


def test_a_new_rate_alone_steps_nothing(readers: Callable[..., Reader]) -> None:
    with skewed_host("node7", Skew(10**9, 10**8, 10**9, 10**8), isolated=False) as host:
        reader = readers(host)
        raw_before_ns = reader.read("MONOTONIC_RAW")[0]
        host.set(replace(host.now(), wall_rate_ppb=0, raw_rate_ppb=-(10**8)))
        assert host.skew.raw_offset_ns > 10**9, "what it had gained is lost"
        for clock in host.truth:
            moment_ns = clock.pieces[1].since_ns
            assert abs(clock.shown(moment_ns) - clock.shown(moment_ns - 1)) < SECOND_NS // 1000
        raw_after_ns = reader.read("MONOTONIC_RAW")[0]
        assert raw_before_ns < raw_after_ns < raw_before_ns + 30 * SECOND_NS
        reader.close()


# Hosts ----------------------------------------------------------------------------------------------------------------

IDENTITY = """
import json, os, socket
from coeval.clocks import SYSTEM_CLOCK, clock_id
print(json.dumps([clock_id(SYSTEM_CLOCK), socket.gethostname(), os.getpid(), sorted(os.listdir("/dev/shm"))]))
"""


@both_grades
def test_coeval_names_the_clock_of_each_host_apart_and_of_its_programs_alike(
    isolated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COEVAL_CLOCK_ID", "the-test")
    here = clock_id(SYSTEM_CLOCK)
    with skewed_host("node7", isolated=isolated) as one, skewed_host("node7", isolated=isolated) as other:
        names = [json.loads(output(host, IDENTITY))[0] for host in (one, one, other)]
        assert names == [one.clock_id, one.clock_id, other.clock_id]
        assert len({one.clock_id, other.clock_id, here}) == 3
        assert all(name.endswith("/monotonic_raw") for name in names)


@needs_isolation
def test_an_isolated_host_has_its_own_name_and_shared_memory_and_this_machines_network_and_process_ids() -> None:
    with skewed_host("node-7.lan", isolated=True) as host, socket.create_server(("127.0.0.1", 0)) as server:
        asking = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=30)\n"
        process = host.popen([sys.executable, "-c", asking + IDENTITY], stdout=subprocess.PIPE, text=True)
        server.settimeout(30)
        server.accept()[0].close()
        _, name, pid, shared_memory = json.loads(process.communicate(timeout=30)[0])
    assert (name, pid, shared_memory) == ("node-7.lan", process.pid, [])
    assert socket.gethostname() != "node-7.lan"


@needs_isolation
def test_an_isolated_host_can_live_in_another_network() -> None:
    network = f"coeval-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", network], check=True)
    try:
        with skewed_host("node7", isolated=True, network=network) as host:
            assert output(host, "import socket; print(len(socket.if_nameindex()))") == "1\n"
    finally:
        subprocess.run(["ip", "netns", "delete", network], check=True)


@both_grades
def test_an_executor_works_on_a_host(isolated: bool) -> None:
    program = """
import json, math
from coeval import Executor
with Executor("local:2") as ex:
    assert list(ex.map(math.isqrt, range(50))) == [math.isqrt(n) for n in range(50)]
    try: ex.options(time_limit=0.2).submit(eval, "__import__('time').sleep(60)").result()
    except TimeoutError: pass
    else: raise AssertionError
    print(json.dumps([clock.clock for clock in ex.timeline.clocks]))
"""
    with skewed_host("node7", Skew(-DAY_NS, 50_000, 10**15, 50_000), isolated=isolated) as host:
        assert json.loads(output(host, program)) == [host.clock_id]


# The end --------------------------------------------------------------------------------------------------------------

# Starts a program that nothing holds on to: another session, no parent, no library, no environment. Prints its pid.
DETACHED = """
import os, subprocess, sys
environment = {} if sys.argv[1] == "bare" else None
process = subprocess.Popen(["sleep", "600"], start_new_session=True, env=environment, stdout=subprocess.DEVNULL)
print(process.pid, flush=True)
os._exit(0)
"""


@both_grades
def test_nothing_that_ran_on_a_host_outlives_it(isolated: bool) -> None:
    with skewed_host("node7", isolated=isolated) as host:
        process = host.popen(["sleep", "600"])
        detached = int(output(host, DETACHED, "bare" if isolated else "preloaded"))
        pidfds = [os.pidfd_open(process.pid), os.pidfd_open(detached)]
        folder = Path(host.environment()["COEVAL_SKEW_FILE"]).parent
        assert folder.is_dir()
    assert all(map(gone, pidfds))
    assert process.wait(30) == -signal.SIGKILL
    assert not folder.exists()
    host.end()
    for pidfd in pidfds:
        os.close(pidfd)


@both_grades
def test_a_host_ends_after_an_error_and_leaves_other_hosts_and_this_process_alone(isolated: bool) -> None:
    with skewed_host("other", isolated=isolated) as other:
        reader = Reader(other)
        host = SkewedHost("node7", isolated=isolated)
        with pytest.raises(ZeroDivisionError), host:
            process = host.popen(["sleep", "600"])
            raise ZeroDivisionError
        assert len(reader.read("REALTIME", "MONOTONIC")) == 2
        reader.close()
        assert process.wait(30) == -signal.SIGKILL


@both_grades
def test_a_host_ends_with_the_process_that_made_it_even_if_that_is_killed(isolated: bool) -> None:
    maker_program = """
import sys
from coeval.testing._skewed_host import SkewedHost
host = SkewedHost("node7", isolated=sys.argv[1] == "True")
print(host.popen(["sleep", "600"]).pid, host.environment()["COEVAL_SKEW_FILE"], flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", maker_program, str(isolated)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        pid, skew_file = maker.stdout.readline().split()
        program = os.pidfd_open(int(pid))
        watch = inotify(Path(skew_file).parent)
        maker.kill()
        assert gone(program)
        assert gone(watch), "the host's folder stays"
    os.close(program)
    os.close(watch)


def inotify(path: Path) -> int:
    """A descriptor that becomes readable when the folder is removed."""
    libc = ctypes.CDLL(None)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    in_delete_self = 0x400
    assert libc.inotify_add_watch(descriptor, os.fsencode(path), in_delete_self) >= 0
    return int(descriptor)


@both_grades
def test_a_child_that_was_forked_while_the_host_was_up_does_not_keep_it_up(isolated: bool) -> None:
    host = SkewedHost("node7", isolated=isolated)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    process = host.popen(["sleep", "600"])
    host.end()
    assert process.wait(30) == -signal.SIGKILL
    os.close(writing)
    os.waitpid(child, 0)


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a_b", "-x", "x" * 64, "a b", "a/b"])
def test_a_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected up to 63 letters, digits, dots and hyphens"):
        SkewedHost(name)


def test_a_program_is_a_list_of_its_arguments() -> None:
    with skewed_host("node7", isolated=False) as host:
        with pytest.raises(TypeError, match="a list of its arguments, without shell="):
            host.popen("ls -l")
        with pytest.raises(TypeError, match="a list of its arguments, without shell="):
            host.popen(["ls"], shell=True)


def test_a_network_needs_an_isolated_host() -> None:
    with pytest.raises(ValueError, match="network 'lan' and is not isolated"):
        SkewedHost("node7", isolated=False, network="lan")


@needs_isolation
def test_a_network_that_is_not_there_is_named_and_nothing_is_left() -> None:
    with pytest.raises(CannotSkew, match=r"host 'nowhere' did not come up: .*no-such-network"):
        SkewedHost("nowhere", isolated=True, network="no-such-network")
    assert list(Path(tempfile.gettempdir()).glob("coeval-host-nowhere-*")) == []


def test_a_host_cannot_be_made_on_a_skewed_host() -> None:
    program = "from coeval.testing._skewed_host import SkewedHost; SkewedHost('inner')"
    with skewed_host("node7", isolated=False) as host:
        process = host.popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        _, said = process.communicate(timeout=30)
    assert "CannotSkew: this process runs on a skewed host itself" in said


def test_without_the_right_to_isolate_the_library_alone_is_used_and_isolated_true_says_why() -> None:
    program = """
from coeval.testing._skewed_host import CannotSkew, SkewedHost, skewed_host
with skewed_host("node7") as host:
    assert not host.isolated
try: SkewedHost("node7", isolated=True)
except CannotSkew as error: print(error)
"""
    as_root = os.geteuid() == 0
    powerless = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"] if as_root else []
    said = subprocess.run([*powerless, sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    reason = "this kernel or container does not allow it" if as_root else "it needs root"
    assert said.stdout.startswith(f"host 'node7' cannot be isolated: {reason}")


# Two hosts and what alignment makes of their messages -----------------------------------------------------------------

# Answers each request with the readings at which it came and the answer left.
ANSWERS = """
import socket, sys, time
raw = time.CLOCK_MONOTONIC_RAW
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    connection = server.accept()[0]
with connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while connection.recv(1):
        came = time.clock_gettime_ns(raw)
        connection.sendall(b"%20d%20d" % (came, time.clock_gettime_ns(raw)))
"""
ASKS = """
import json, socket, sys, time
raw = time.CLOCK_MONOTONIC_RAW
rows = []
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(3000):
        asked = time.clock_gettime_ns(raw)
        connection.sendall(b"?")
        answer = connection.recv(40, socket.MSG_WAITALL)
        rows.append((asked, int(answer[:20]), int(answer[20:]), time.clock_gettime_ns(raw)))
print(json.dumps(rows))
"""


@both_grades
@pytest.mark.parametrize("rate_ppb", [0, 95_000, -60_000])
def test_the_true_offset_and_rate_of_two_hosts_lie_inside_what_alignment_makes_of_their_messages(
    isolated: bool, rate_ppb: int
) -> None:
    near_skew = Skew(raw_offset_ns=17 * DAY_NS, raw_rate_ppb=40_000)
    far_skew = Skew(3_500_000_000, 100_000, -(10**12), rate_ppb)
    with (
        skewed_host("near", near_skew, isolated=isolated) as near,
        skewed_host("far", far_skew, isolated=isolated) as far,
    ):
        server = far.popen([sys.executable, "-c", ANSWERS], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        rows = json.loads(output(near, ASKS, server.stdout.readline().strip()))
        server.communicate(timeout=30)
        near_raw, far_raw = near.truth.raw, far.truth.raw
    messages = [
        message
        for asked, came, left, answered in rows
        for message in (
            Message(near.clock_id, asked, far.clock_id, came),
            Message(far.clock_id, left, near.clock_id, answered),
        )
    ]
    alignment = align(Messages.of(messages), reference=near.clock_id)
    assert alignment.findings == ()

    # Beyond the evidence too, where the bounds grow with the declared rate.
    readings = [came for _, came, _, _ in rows[::10]] + [rows[0][1] - SECOND_NS, rows[-1][1] + SECOND_NS]
    true_offsets = np.array([reading - near_raw.shown(far_raw.true(reading)) for reading in readings])
    widths: dict[str, int] = {}
    for grade in ("declared", "assumed"):
        offsets = alignment.offset(far.clock_id, np.array(readings), grade)
        assert (offsets.least_ns <= true_offsets).all()
        assert (true_offsets <= offsets.greatest_ns).all()
        widths[grade] = int((offsets.greatest_ns - offsets.least_ns)[:-2].max())
    assert widths["assumed"] <= widths["declared"] < 20_000_000

    fit = next(fit for fit in alignment.report() if fit.clock == ClockId(far.clock_id))
    true_rate_ppm = ((1 + far_skew.raw_rate_ppb / 1e9) / (1 + near_skew.raw_rate_ppb / 1e9) - 1) * 1e6
    assert fit.rate_ppm_least <= true_rate_ppm <= fit.rate_ppm_greatest
