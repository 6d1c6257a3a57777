"""What is printed becomes labelled lines, and events of the call that printed."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from coeval.recording import _output_capture
from coeval.recording._capture import Running, run_in_process
from coeval.recording._event import Event
from coeval.recording._output_capture import LabelledOutput, label_of

HOST = os.uname().nodename


class Output:
    """Labelled standard streams that end in a pipe, and what was noted."""

    def __init__(self, read: int, write: int) -> None:
        self.noted: list[tuple[int, str]] = []
        self.read = read
        self._streams: list[io.TextIOWrapper[Any]] = [
            io.TextIOWrapper(io.FileIO(write, "w", closefd=False), write_through=True) for _ in range(2)
        ]
        with self.standard():
            self.labelled = LabelledOutput(lambda call, line, _event: self.noted.append((call, line)))
            self._streams = [cast(io.TextIOWrapper, sys.stdout), cast(io.TextIOWrapper, sys.stderr)]
        self.labelled.function = "simulate"

    @contextmanager
    def standard(self) -> Iterator[None]:
        """They are the standard ones; not for the whole test, as pytest sets its own between setup and test."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._streams
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before

    @contextmanager
    def call(self, number: int, item: int = 0) -> Iterator[list[Event]]:
        """A call runs, and prints on them."""
        events: list[Event] = []
        run_in_process(Running(number, 1, item, events))
        try:
            with self.standard():
                yield events
        finally:
            run_in_process(None)

    def content(self) -> bytes:
        """What came out since the last time."""
        content = b""
        while True:
            try:
                content += os.read(self.read, 1 << 20)
            except BlockingIOError:
                return content

    def lines(self) -> list[str]:
        """Likewise, which are whole lines."""
        content = self.content()
        assert content == b"" or content.endswith(b"\n")
        return content.decode().splitlines()


@pytest.fixture
def output() -> Iterator[Output]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    try:
        yield Output(read, write)
    finally:
        os.close(read)
        os.close(write)


def label(number: int) -> str:
    return label_of("simulate", number, HOST, os.getpid())


def texts(events: list[Event]) -> list[tuple[str, object]]:
    assert all(event.kind == "output" for event in events)
    return [(event.name, event.fields["text"]) for event in events]


def test_each_line_is_labelled_with_its_call_and_process_and_becomes_an_event(output: Output) -> None:
    with output.call(7, item=3) as events:
        print("one\ntwo", 2)
        print("on the other", file=sys.stderr)
    assert output.lines() == [f"{label(7)}one", f"{label(7)}two 2", f"{label(7)}on the other"]
    assert texts(events) == [("stdout", "one"), ("stdout", "two 2"), ("stderr", "on the other")]
    assert {event.item for event in events} == {3}
    assert output.noted == [(7, "stdout: one"), (7, "stdout: two 2"), (7, "stderr: on the other")]


def test_a_line_goes_out_whole_when_it_is_ended_and_not_before(output: Output) -> None:
    with output.call(7) as events:
        print("be", end="")
        assert output.lines() == []
        print("gun")
        assert output.lines() == [f"{label(7)}begun"]
    assert texts(events) == [("stdout", "begun")]


def test_a_line_that_a_call_did_not_end_is_its_own_and_not_the_next_calls(output: Output) -> None:
    with output.call(7) as first:
        print("first", end="")
    with output.call(8) as second:
        print("second", end="")
    output.labelled.end_lines()
    assert output.lines() == [f"{label(7)}first", f"{label(8)}second"]
    assert (texts(first), texts(second)) == ([("stdout", "first")], [("stdout", "second")])


def test_outside_of_calls_a_line_names_the_process_and_is_no_event(output: Output) -> None:
    with output.standard():
        print("booting")
    assert output.lines() == [f"(host={HOST} pid={os.getpid()}) booting"]
    assert output.noted == []


def test_threads_do_not_cut_each_others_lines(output: Output) -> None:
    with output.call(7) as events:
        print("main ", end="")
        other = threading.Thread(target=print, args=("thread",))
        other.start()
        other.join()
        print("main")
    assert output.lines() == [f"{label(7)}thread", f"{label(7)}main main"]
    assert len(events) == 2


def test_bytes_written_below_the_text_are_labelled_too(output: Output) -> None:
    with output.call(7):
        sys.stdout.buffer.write(b"raw \xff\n")
        sys.stdout.flush()
    [line] = output.content().splitlines()
    assert line == f"{label(7)}".encode() + b"raw \xff"


def test_lines_beyond_the_bound_are_printed_and_counted_in_the_recording(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output_capture, "LINES_RECORDED_MAX", 2)
    with output.call(7) as events:
        for number in range(5):
            print(number)
    output.labelled.end_lines()
    assert output.lines() == [f"{label(7)}{number}" for number in range(5)]
    assert texts(events)[:2] == [("stdout", "0"), ("stdout", "1")]
    [(_, told)] = texts(events)[2:]
    assert told == "(3 more lines were printed; they are not recorded)"
    with output.call(8) as later:
        print("again")
    assert texts(later) == [("stdout", "again")]


def test_a_line_without_an_end_is_cut_before_it_fills_the_memory(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output_capture, "LINE_BYTES_MAX", 100)
    with output.call(7):
        for _ in range(5):
            print("x" * 40, end="")
    output.labelled.end_lines()
    assert output.lines() == [f"{label(7)}{'x' * 80}"] * 2 + [f"{label(7)}{'x' * 40}"]
