"""Log records of a worker's calls: none is lost, and a worker whose calls do not log does not import `logging`."""

from __future__ import annotations

import subprocess
import sys

WORKER = """
import sys
from coeval.recording._capture import Running, run_in_process
from coeval.recording._worker_logs import WorkerLogs

running = Running(call=0, attempt=1, item=0, events=[])
run_in_process(running)

def told():
    return [(event.kind, event.name, event.fields["level"], event.fields["message"]) for event in running.events]
"""


def run_worker(program: str) -> None:
    """Run what asserts by itself, in a process that has nothing imported."""
    source = __import__("coeval").__path__[0].removesuffix("/coeval")
    start = f"import sys; sys.path.insert(0, {source!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "dev", "-W", "error", "-c", start + WORKER + program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_whose_calls_do_not_log_does_not_import_logging() -> None:
    run_worker("logs = WorkerLogs({}); logs.keep_on(); assert 'logging' not in sys.modules")


def test_the_record_right_after_the_import_of_logging_is_captured() -> None:
    run_worker("""
WorkerLogs({"": 20, "chatty": 40})
import logging
logging.info("first")
logging.getLogger("chatty").info("too low")
logging.getLogger("other").warning("second %s", 2)
assert told() == [("log", "root", 20, "first"), ("log", "other", 30, "second 2")], told()
""")


def test_it_makes_no_difference_how_logging_is_imported() -> None:
    run_worker("""
WorkerLogs({})
import importlib
importlib.import_module("logging.handlers")
import logging
assert logging.__spec__.loader.get_source("logging").startswith("# Copyright")
assert "coeval" not in repr(logging.__spec__)
assert logging.__loader__ is logging.__spec__.loader
logging.warning("here")
assert [message for *_, message in told()] == ["here"], told()
""")


def test_where_logging_was_there_before_it_is_captured_as_well() -> None:
    run_worker("""
import logging
WorkerLogs({"": 10})
logging.debug("here")
assert told() == [("log", "root", 10, "here")], told()
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("coeval")]
""")


def test_a_module_that_is_not_there_is_missed_as_ever_and_logging_can_be_loaded_again() -> None:
    run_worker("""
logs = WorkerLogs({})
try:
    import no_such_module
except ModuleNotFoundError as error:
    assert error.name == "no_such_module"
else:
    raise AssertionError("found")
import importlib, logging
assert importlib.reload(logging) is logging
logs.keep_on()
logging.warning("from the new root")
assert [message for *_, message in told()] == ["from the new root"], told()
""")


def test_a_call_that_sets_up_logging_anew_is_captured_from_the_next_batch_on() -> None:
    run_worker("""
logs = WorkerLogs({})
import io, logging
text = io.StringIO()
logging.basicConfig(stream=text, force=True)
logging.warning("to its own place")
logs.keep_on()
logs.keep_on()
logging.warning("to both")
assert [message for *_, message in told()] == ["to both"]
assert text.getvalue().count("to both") == 1
""")


def test_a_record_outside_of_any_call_is_kept_by_nobody() -> None:
    run_worker("""
WorkerLogs({})
import logging
running.item = -1
logging.warning("between")
assert told() == []
""")
