"""Chapter 7: what is recorded. Marks, spans, log records and stamps of calls on the timeline, each with its call."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coeval.errors import WorkerDied
from coeval.recording import mark, span
from coeval.testing import _calls as calls
from coeval.testing._gap import may_end_the_process
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

    @may_end_the_process
    def test_log_records_of_a_call_that_ends_its_process_reach_the_callers_handlers_once(
        self, ex: Executor, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        error = ex.submit(calls.tell_and_end, "z", tmp_path / "pid").exception(self.patience_s)
        ex.submit(calls.square, 1).result(self.patience_s)
        assert isinstance(error, WorkerDied)
        warning, failure = [record for record in caplog.records if record.name == "coeval.testing.calls"]
        assert (warning.getMessage(), warning.process, vars(warning)["shelf"]) == ("call z warns", error.pid, 3)
        assert "LookupError: no z" in logging.Formatter().format(failure)

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
        mine = [event for event in events if event.kind in ("mark", "span") and event.call == -1]
        assert [event.name for event in mine] == ["before", "all calls", "after"]
        names = [event.name for event in events if event.kind == "mark"]
        assert names == ["before", "reached", "inside", "after"]

    # Stamps -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("chunksize", [1, 6])
    def test_every_call_is_handed_over_started_finished_and_seen_in_this_order(self, chunksize: int) -> None:
        with self.executor() as own:
            list(own.map(calls.square, range(20), chunksize=chunksize))
            timeline = own.timeline
        assert [call.number for call in sorted(timeline.calls, key=lambda call: call.number)] == list(range(20))
        for call in timeline.calls:
            stamps, instants = call.last.stamps, call.last.instants
            assert None not in stamps, "each has all four"
            estimates = [instant.estimate_ns for instant in instants if instant and instant.estimate_ns is not None]
            assert len(estimates) == 4
            assert estimates == sorted(estimates)
            assert stamps.handed_over is not None
            assert stamps.seen is not None
            assert stamps.handed_over < stamps.seen
            assert call.last.pid > 0
        kinds = ["handed over", "started", "finished", "seen"]
        for number in range(20):
            mine = [event for event in timeline.events if event.call == number and event.kind in kinds]
            assert [event.kind for event in mine] == kinds, "the timeline's order is theirs"
            assert timeline.before(mine[0], mine[3])
        assert not timeline.problems

    def test_events_of_a_call_lie_between_its_start_and_its_end(self) -> None:
        with self.executor() as own:
            own.submit(calls.tell, "g").result(self.patience_s)
            kinds = [event.kind for event in own.timeline.events if event.call == 0]
        # A span stands where it began.
        inside = ["mark", "span", "mark", "log", "log"]
        assert kinds == ["handed over", "started", *inside, "finished", "seen"]

    def test_timeline_tells_what_became_of_each_call(self, tmp_path: Path) -> None:
        with self.executor() as own:
            own.submit(calls.square, 1).result(self.patience_s)
            own.submit(calls.divide, 1, by=0).exception(self.patience_s)
            own.options(retries=2).submit(calls.fail_until, 3, tmp_path).result(self.patience_s)
            told = {call.number: call for call in own.timeline.calls}
        outcomes = {number: (call.status, [try_.outcome for try_ in call.attempts]) for number, call in told.items()}
        assert outcomes == {
            0: ("finished", ["ok"]),
            1: ("failed", ["raised"]),
            2: ("finished", ["raised", "raised", "ok"]),
        }
        failure = told[1].last.failure
        assert failure is not None
        assert (failure.type_name, failure.arguments, failure.is_final) == ("ZeroDivisionError", "(int, by=int)", True)
        assert [try_.number for try_ in told[2].attempts] == [1, 2, 3]
        assert told[1].function == "coeval.testing._calls:divide"

    @may_end_the_process
    def test_timeline_tells_which_call_lost_its_worker(self, tmp_path: Path) -> None:
        with self.executor() as own:
            error = own.submit(calls.end_process, 3, tmp_path / "pid").exception(self.patience_s)
            own.submit(calls.square, 1).result(self.patience_s)
            lost, well = sorted(own.timeline.calls, key=lambda call: call.number)
        assert isinstance(error, WorkerDied)
        assert (lost.status, lost.last.outcome, lost.last.pid) == ("failed", "died", error.pid)
        assert lost.last.stamps.started is not None
        assert lost.last.stamps.finished is None
        assert (well.status, well.last.outcome) == ("finished", "ok")

    def test_name_of_a_call_stands_on_the_timeline(self) -> None:
        with self.executor() as own:
            own.options(name="january").submit(calls.square, 1).result(self.patience_s)
            own.submit(calls.square, 2).result(self.patience_s)
            labels = {call.number: call.label for call in own.timeline.calls}
        assert labels == {0: "january", 1: ""}

    def test_recording_keeps_no_values_of_arguments(self) -> None:
        secret = "open sesame"
        with self.executor() as own:
            own.submit(calls.echo, secret, key=secret).result(self.patience_s)
            own.submit(calls.raise_error, LookupError(secret)).exception(self.patience_s)
            arguments = [call.last.failure.arguments for call in own.timeline.calls if call.last.failure]
        assert arguments == ["(LookupError)"]
