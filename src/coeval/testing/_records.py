"""Chapter 6: what is recorded. Marks, spans, log records and stamps of calls on the timeline, each with its call."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coeval.recording import mark, span
from coeval.testing import _calls as calls
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor


class Records(Subject):
    """What is recorded."""

    # Logs ---------------------------------------------------------------------------------------------------------

    def test_log_records_of_calls_reach_the_callers_handlers_once(
        self, ex: Executor, caplog: pytest.LogCaptureFixture
    ) -> None:
        ex.submit(calls.tell, "a").result(self.patience_s)
        warning, failure = [record for record in caplog.records if record.name == "coeval.testing.calls"]
        assert (warning.levelno, warning.getMessage()) == (logging.WARNING, "call a warns")
        assert vars(warning)["shelf"] == 3
        assert (failure.levelno, failure.getMessage()) == (logging.ERROR, "call a looked in vain")
        assert "LookupError: no a" in logging.Formatter().format(failure)
        assert warning.filename == "_calls.py"
        assert warning.process is not None
        assert (warning.process != os.getpid()) == ex.capabilities.separate_process

    def test_log_record_arrives_before_its_calls_result(self, ex: Executor, caplog: pytest.LogCaptureFixture) -> None:
        seen: list[int] = []
        futures = [ex.submit(calls.tell, str(number)) for number in range(4)]
        for future in futures:
            name = future.result(self.patience_s)
            seen.append(sum(record.getMessage() == f"call {name} warns" for record in caplog.records))
        assert seen == [1, 1, 1, 1]

    def test_level_of_the_callers_loggers_decides(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.ERROR, "coeval.testing.calls")
        with self.executor() as own:
            own.submit(calls.tell, "b").result(self.patience_s)
        messages = [record.getMessage() for record in caplog.records if record.name == "coeval.testing.calls"]
        assert messages == ["call b looked in vain"]

    # Marks and spans ----------------------------------------------------------------------------------------------

    def test_marks_spans_and_logs_stand_on_the_timeline_with_their_calls(self) -> None:
        with self.executor() as own:
            names = list(own.map(calls.tell, ["a", "b", "c"], chunksize=2))
            events = list(own.timeline.events)
        told = [event for event in events if event.kind in ("mark", "span", "log")]
        for call, name in enumerate(names):
            mine = [event for event in told if event.call == call]
            assert [(event.kind, event.name) for event in mine if event.kind != "log"] == [
                ("mark", "reached"),
                ("span", "stretch"),
                ("mark", "inside"),
            ]
            assert all(event.fields["what"] == name for event in mine if event.kind != "log")
            logs = [event.fields["message"] for event in mine if event.kind == "log"]
            assert logs == [f"call {name} warns", f"call {name} looked in vain"]
        assert len(told) == 5 * len(names)

    def test_call_that_fails_keeps_its_marks(self) -> None:
        with self.executor() as own:
            own.submit(calls.tell_and_fail, "d").exception(self.patience_s)
            marks = [event for event in own.timeline.events if event.kind == "mark"]
        assert [(event.name, event.call, event.fields["what"]) for event in marks] == [("reached", 0, "d")]

    def test_mark_of_a_thread_that_a_call_started_belongs_to_the_call(self) -> None:
        with self.executor() as own:
            own.submit(calls.square, 1).result(self.patience_s)
            own.submit(calls.tell_from_thread, "e").result(self.patience_s)
            marks = [event for event in own.timeline.events if event.kind == "mark"]
        assert [(event.name, event.call) for event in marks] == [("in a thread", 1)]

    def test_marks_of_the_program_itself_stand_there_too(self) -> None:
        with self.executor() as own:
            mark("before", step=1)
            with span("all calls"):
                own.submit(calls.tell, "f").result(self.patience_s)
            mark("after", step=2)
            events = list(own.timeline.events)
        mine = [event for event in events if event.kind in ("mark", "span") and event.call is None]
        assert [event.name for event in mine] == ["before", "all calls", "after"]
        names = [event.name for event in events if event.kind == "mark"]
        assert names == ["before", "reached", "inside", "after"]

    # Stamps -------------------------------------------------------------------------------------------------------

    def test_stamps_of_every_call_are_in_order(self) -> None:
        with self.executor() as own:
            list(own.map(calls.square, range(20)))
            list(own.map(calls.square, range(20), chunksize=6))
            calls_ = own.timeline.calls
        assert len(calls_) == 40
        for call in calls_:
            stamps = [call.handed_over, call.started, call.finished, call.seen]
            estimates = [stamp.estimate_ns for stamp in stamps if stamp is not None and stamp.estimate_ns is not None]
            assert len(estimates) == 4
            assert estimates == sorted(estimates)

    def test_timeline_tells_what_became_of_each_call(self, tmp_path: Path) -> None:
        with self.executor() as own:
            own.submit(calls.square, 1).result(self.patience_s)
            own.submit(calls.divide, 1, by=0).exception(self.patience_s)
            own.options(retries=2).submit(calls.fail_until, 3, tmp_path).result(self.patience_s)
            statuses = [(call.call, call.status, len(call.attempts)) for call in own.timeline.calls]
        assert statuses == [(0, "ok", 1), (1, "raised", 1), (2, "ok", 3)]

    def test_name_of_a_call_stands_on_the_timeline(self) -> None:
        with self.executor() as own:
            own.options(name="january").submit(calls.square, 1).result(self.patience_s)
            own.submit(calls.square, 2).result(self.patience_s)
            labels = [call.label for call in own.timeline.calls]
        assert labels == ["january", ""]
