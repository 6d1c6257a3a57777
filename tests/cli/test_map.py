"""`coeval map`, as a person runs it: the real command, the real local engine."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coeval.recording import Recording

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

FUNCTIONS = """
import logging, os, sys, threading

def double(value):
    return value * 2

def third_fails(text):
    if int(text) % 3 == 0:
        raise ValueError(f"no {text}")
    return int(text)

def talks(text):
    print("printed", text, flush=True)
    logging.getLogger("mine").warning("logged %s", text)
    return text

def dies(text):
    if text == "die":
        os.kill(os.getpid(), 9)
    return text

def odd(text):
    return {"inner": object()} if text == "odd" else float("nan") if text == "nan" else text

def flaky(path):
    if not os.path.exists(path):
        open(path, "w").close()
        raise ValueError("first time")
    return "second time"

def waits(text):
    if text == "wait":
        os.write(2, f"waiting {os.getpid()}\\n".encode())  # one write: another worker's line must not cut it
        threading.Event().wait()
    return text

def after(path):
    with open(path):  # a fifo: open waits for the other end
        return path

def large(text):
    return "x" * 100_000
"""


@pytest.fixture(autouse=True)
def functions(folder: Path) -> None:
    (folder / "functions.py").write_text(FUNCTIONS)


def results(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# What comes out -------------------------------------------------------------------------------------------------------


def test_each_input_has_a_line_in_the_order_of_the_inputs(coeval: Run) -> None:
    done = coeval("map", "functions:double", *"abcdefgh")
    assert done.returncode == 0, done.stderr
    assert results(done.stdout) == [{"index": i, "input": c, "value": c * 2} for i, c in enumerate("abcdefgh")]
    assert done.stderr.splitlines()[-1].startswith("8 inputs: 8 done, 0 failed, ")


def test_a_path_of_a_file_in_another_folder_names_the_module_too(coeval: Run, folder: Path) -> None:
    (folder / "tools").mkdir()
    (folder / "tools" / "measuring.py").write_text("import beside\ndef size(text): return len(text) + beside.ONE\n")
    (folder / "tools" / "beside.py").write_text("ONE = 1\n")
    done = coeval("map", "tools/measuring.py:size", "four")
    assert results(done.stdout) == [{"index": 0, "input": "four", "value": 5}], done.stderr


def test_json_lines_and_lists_come_in_and_broken_lines_are_set_aside(coeval: Run, folder: Path) -> None:
    (folder / "list.txt").write_text("a\n\nb\n")
    done = coeval("map", "functions:double", "@list.txt", "-", stdin='[1]\n{oops\n"x"\n')
    assert done.returncode == 1
    *good, aside, last = results(done.stdout)
    assert [each["value"] for each in good] == ["aa", "bb", [1, 1]]
    assert aside["index"] == 3 and aside["input"] == "{oops"
    assert aside["error"]["type"] == "InputNotJson" and aside["error"]["attempts"] == 0
    assert aside["error"]["message"].startswith("line 2 of standard input is no JSON")
    assert last == {"index": 4, "input": "x", "value": "xx"}


def test_a_failing_input_stops_nothing_and_is_listed(coeval: Run) -> None:
    done = coeval("map", "functions:third_fails", *range(1, 41), "-o", "out.jsonl")
    assert done.returncode == 1
    lines = results(Path("out.jsonl").read_text())
    assert [line["index"] for line in lines] == list(range(40))
    assert [line["value"] for line in lines if "value" in line] == [n for n in range(1, 41) if n % 3]
    failed = [line for line in lines if "error" in line]
    assert [line["input"] for line in failed] == [str(n) for n in range(3, 41, 3)]
    assert failed[0]["error"]["message"] == "no 3" and failed[0]["error"]["attempts"] == 1
    assert "third_fails" in failed[0]["error"]["traceback"]
    summary, *listed, more = done.stderr.splitlines()[-12:]
    assert summary.startswith("40 inputs: 27 done, 13 failed, ")
    assert listed[0] == "   2  3  ValueError: no 3" and len(listed) == 10
    assert more == "  … and 3 more, all in out.jsonl"


def test_a_function_that_kills_its_worker_fails_alone(coeval: Run) -> None:
    done = coeval("map", "functions:dies", "a", "die", "b")
    assert done.returncode == 1
    first, dead, last = results(done.stdout)
    assert (first["value"], last["value"]) == ("a", "b")
    assert dead["error"]["type"] == "WorkerDied" and "SIGKILL" in dead["error"]["message"]


def test_a_result_that_json_cannot_say_is_a_failure_of_its_input_alone(coeval: Run) -> None:
    done = coeval("map", "functions:odd", "odd", "nan", "fine")
    assert done.returncode == 1
    odd, nan, fine = results(done.stdout)
    assert odd["error"]["type"] == nan["error"]["type"] == "ValueNotJson"
    assert odd["error"]["message"].startswith("the value['inner'] is of type object")
    assert fine["value"] == "fine"


def test_what_the_function_prints_and_logs_is_not_data(coeval: Run) -> None:
    done = coeval("map", "functions:talks", "a")
    assert done.stdout == '{"index": 0, "input": "a", "value": "a"}\n'
    assert "printed a\n" in done.stderr and "WARNING mine: logged a\n" in done.stderr


def test_what_the_module_prints_on_import_is_not_data(coeval: Run, folder: Path) -> None:
    (folder / "chatty.py").write_text("print('hello')\ndef f(x): return x\n")
    done = coeval("map", "chatty:f", "a")
    assert done.stdout == '{"index": 0, "input": "a", "value": "a"}\n'
    assert "hello" in done.stderr


def test_unordered_lines_come_as_they_are_done_and_ordered_ones_wait(coeval_started: Start, folder: Path) -> None:
    os.mkfifo(folder / "gate")
    process = coeval_started("map", "functions:after", "gate", "functions.py", "--unordered", "--workers", 2)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["input"] == "functions.py"
    (folder / "gate").open("w").close()
    assert json.loads(process.stdout.readline())["input"] == "gate"
    assert process.wait(10) == 0


def test_results_come_while_standard_input_is_still_open(coeval_started: Start) -> None:
    process = coeval_started("map", "functions:double", "-")
    assert process.stdin is not None and process.stdout is not None
    for number in range(3):
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["value"] == number * 2
    process.stdin.close()
    assert process.wait(10) == 0


# Options --------------------------------------------------------------------------------------------------------------


def test_retries_try_again_and_are_counted(coeval: Run) -> None:
    done = coeval("map", "functions:flaky", "flag", "--retries", 1)
    assert results(done.stdout)[0]["value"] == "second time"
    done = coeval("map", "functions:third_fails", "3", "--retries", 2)
    assert results(done.stdout)[0]["error"]["attempts"] == 3


def test_a_time_limit_ends_the_work(coeval: Run) -> None:
    done = coeval("map", "functions:waits", "wait", "quick", "--time-limit", 0.2)
    assert done.returncode == 1
    late, quick = results(done.stdout)
    assert late["error"]["type"] == "TimeLimitExceeded" and quick["value"] == "quick"


def test_the_engine_is_chosen_by_option_or_by_environment(coeval: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert coeval("map", "functions:double", "a", "--engine", "inline:").returncode == 0
    monkeypatch.setenv("COEVAL_ENGINE", "nonsense:")
    done = coeval("map", "functions:double", "a")
    assert done.returncode == 2 and "no engine for 'nonsense:'" in done.stderr


def test_a_run_is_recorded_with_each_call_named_by_its_input(coeval: Run) -> None:
    done = coeval("map", "functions:double", "a", "b", "--run", "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "recorded in run; look at it with: coeval timeline run"
    recording = Recording.open("run")
    assert [label for row in recording.sent for label in row.labels] == ["a", "b"]
    assert sum(row.item_count for row in recording.outcomes if row.kind == "ok") == 2


def test_quiet_says_nothing_but_failures(coeval: Run) -> None:
    assert coeval("map", "functions:double", "a", "-q").stderr == ""
    assert coeval("map", "functions:third_fails", "3", "-q").stderr == "  0  3  ValueError: no 3\n"


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["functions:double"], "no input"),
        (["functions:duoble", "a"], "functions has no 'duoble'; did you mean double"),
        (["functoins:double", "a"], "did you mean functions (functions.py)?"),
        (["functions:double", "@nowhere"], "the list 'nowhere' is not there"),
        (["functions:double", "a", "-o", "no/out"], "there is no folder no"),
        (["functions:double", "a", "-o", "functions.py"], "is there already"),
        (["functions:double", "a", "--engine", "inline:", "--time-limit", "1"], "cannot end a running call"),
        (["functions:double", "a", "--time-limit", "-1"], "time_limit is -1.0; expected seconds above 0"),
        (["functions:double", "a", "--clock-width", "wide"], "--clock-width is 'wide'; expected seconds above 0"),
        (["functions:double", "a", "--run", "."], "."),
        (["functions:double", "a", "--workers", "0"], "Invalid value for '--workers'"),
    ],
)
def test_what_cannot_be_done_as_asked_is_said_with_exit_code_2(coeval: Run, arguments: list[str], message: str) -> None:
    done = coeval("map", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_nothing_that_out_holds_is_lost_to_a_later_mistake(coeval: Run, folder: Path) -> None:
    (folder / "out").write_text("precious\n")
    assert coeval("map", "functions:double", "a", "-o", "out", "--force", "--run", ".").returncode == 2
    assert (folder / "out").read_text() == "precious\n"
    assert coeval("map", "functions:double", "a", "-o", "out", "--force").returncode == 0
    assert results((folder / "out").read_text())[0]["value"] == "aa"


# Early ends -----------------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_ends_it_quietly(coeval_started: Start, folder: Path) -> None:
    (folder / "list.txt").write_text("a\n" * 10_000)
    process = coeval_started("map", "functions:large", "@list.txt")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(10) == 141
    assert process.stderr.read() == ""


def test_a_full_disk_ends_it_with_one_line_and_whole_lines_in_the_output(coeval: Run, folder: Path) -> None:
    def small_disk() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, 250_000))

    done = coeval("map", "functions:large", *range(20), "-o", "out", preexec_fn=small_disk)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "coeval map: out cannot be written any more: File too large. 2 whole lines are in it."
    )
    assert [line["index"] for line in results((folder / "out").read_text())] == [0, 1]


def workers_that_wait(process: subprocess.Popen[str], count: int) -> dict[int, int]:
    """Wait until `count` workers wait; give their pids and what becomes readable when they end."""
    assert process.stderr is not None
    found: dict[int, int] = {}
    while len(found) < count:
        line = process.stderr.readline()
        assert line, "it ended early"
        if line.startswith("waiting "):
            pid = int(line.split()[1])
            found[pid] = os.pidfd_open(pid)
    return found


def all_end_within(workers: dict[int, int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    waiting = set(workers.values())
    while waiting:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        ended = set(select.select(list(waiting), [], [], left)[0])
        waiting -= ended
        for descriptor in ended:
            os.close(descriptor)
    return True


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_writes_what_is_finished_and_leaves_nobody(
    coeval_started: Start, number: signal.Signals, exit_code: int
) -> None:
    inputs = ["a", "b", *["wait"] * 50]
    process = coeval_started("map", "functions:waits", *inputs, "--workers", 2, "-o", "out", "--run", "run")
    workers = workers_that_wait(process, 2)
    process.send_signal(number)
    assert all_end_within(workers, 2)
    assert process.wait(2) == exit_code
    assert process.stderr is not None
    said = process.stderr.read()
    assert "interrupted: 2 done, 0 failed, 2 were running, 48 not started\n" in said
    assert "Traceback" not in said
    assert [line["value"] for line in results(Path("out").read_text())] == ["a", "b"]
    recording = Recording.open("run")
    assert sum(row.item_count for row in recording.outcomes if row.kind == "ok") == 2
    assert len(recording.ends) == 1


def test_an_interrupt_writes_finished_results_whose_turn_had_not_come(coeval_started: Start) -> None:
    process = coeval_started("map", "functions:waits", "wait", "a", "b", "wait", "--workers", 2, "-o", "out")
    workers = workers_that_wait(process, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130 and all_end_within(workers, 2)
    assert [line["index"] for line in results(Path("out").read_text())] == [1, 2]


def test_an_interrupt_is_heard_while_it_waits_for_input(coeval_started: Start) -> None:
    process = coeval_started("map", "functions:double", "-")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write("1\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    assert process.stderr.read() == (
        "interrupted: 1 done, 0 failed, 0 were running, the input was not read to its end\n"
    )


def test_an_interrupt_is_heard_while_nobody_reads_the_output(coeval_started: Start) -> None:
    process = coeval_started("map", "functions:large", *range(50))
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 30)[
        0
    ]  # a result is larger than the pipe, so it is stuck from now on
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130


def test_an_interrupt_is_heard_while_a_call_runs_in_this_very_process(coeval_started: Start) -> None:
    process = coeval_started("map", "functions:waits", "a", "wait", "b", "--engine", "inline:", "-o", "out")
    workers = workers_that_wait(process, 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130 and all_end_within(workers, 1)
    assert [line["value"] for line in results(Path("out").read_text())] == ["a"]
    assert process.stderr is not None
    assert "interrupted: 1 done, 0 failed, 1 were running, 1 not started\n" in process.stderr.read()


def test_after_a_kill_no_worker_is_left_and_the_run_is_readable(coeval_started: Start) -> None:
    process = coeval_started("map", "functions:waits", "a", "wait", "wait", "--workers", 2, "--run", "run")
    workers = workers_that_wait(process, 2)
    process.kill()
    assert all_end_within(workers, 5)
    process.wait(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cut tail is told of; here it may or may not be there
        recording = Recording.open("run")
    assert not recording.ends


# On a terminal --------------------------------------------------------------------------------------------------------


def rest_of(controller: int) -> bytes:
    """What a terminal got that nobody writes to any more."""
    said = b""
    with contextlib.suppress(OSError):  # EIO is how Linux says that this was all
        while part := os.read(controller, 4096):
            said += part
    os.close(controller)
    return said


def test_results_that_go_over_the_terminal_are_not_mixed_with_a_line_in_place(coeval_started: Start) -> None:
    controller, terminal = pty.openpty()
    process = coeval_started("map", "functions:double", "-", stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.write(controller, b"1\n\x04")
    assert process.wait(30) == 0
    said = rest_of(controller).decode().replace("\r\n", "\n")
    assert "reading JSON values from the terminal, one on each line; Ctrl-D ends them\n" in said
    assert '{"index": 0, "input": 1, "value": 2}\n1 input: 1 done, 0 failed, ' in said
    assert "\x1b" not in said and "finished" not in said


def test_on_a_terminal_one_line_tells_how_far_it_is_and_goes(
    coeval_started: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "gate")
    controller, terminal = pty.openpty()
    process = coeval_started(
        "map", "functions:after", "functions.py", "gate", stderr=terminal, env=dict(os.environ, TERM="vt100")
    )
    os.close(terminal)
    said = b""
    while b"\r\x1b[K1/2  50 %  0 failed" not in said:
        assert select.select([controller], [], [], 30)[0], said
        said += os.read(controller, 4096)
    (folder / "gate").open("w").close()
    assert process.wait(10) == 0
    said += rest_of(controller)
    last = said.decode().splitlines()[-1].rpartition("\x1b[K")[2]
    assert last.startswith("2 inputs: 2 done, 0 failed, ")
