"""Inputs of `coeval map`, read lazily."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.cli._input import Input, SetAside, WrongInputs, check_inputs, count_inputs, read_inputs


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        try:
            os.close(descriptor)
        except OSError:
            continue


def from_standard_input(arguments: list[str], data: bytes, pipe: tuple[int, int]) -> list[Input | SetAside]:
    read, write = pipe
    os.write(write, data)
    os.close(write)
    return list(read_inputs(arguments, stdin=read))


def test_arguments_are_inputs_as_they_are() -> None:
    assert list(read_inputs(["a.txt", "https://example.org", "-x"])) == [
        Input(0, "a.txt"),
        Input(1, "https://example.org"),
        Input(2, "-x"),
    ]


def test_a_list_gives_one_input_per_line_without_empty_ones(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"a.txt\n\n  \nb c.txt\r\n d \nlast")
    values = [each.value for each in read_inputs(["first", f"@{listed}"]) if isinstance(each, Input)]
    assert values == ["first", "a.txt", "b c.txt", " d ", "last"]
    assert count_inputs(["first", f"@{listed}"]) == 5


def test_a_file_name_that_is_no_utf8_survives(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"caf\xe9.txt\n")
    (only,) = read_inputs([f"@{listed}"])
    assert isinstance(only, Input)
    assert os.fsencode(only.value) == b"caf\xe9.txt"


def test_standard_input_gives_text_with_at_and_json_without(pipe: tuple[int, int]) -> None:
    assert from_standard_input(["@-"], b"1\nx", pipe) == [Input(0, "1"), Input(1, "x")]


def test_each_json_line_is_one_value(pipe: tuple[int, int]) -> None:
    data = b'{"a": [1, null]}\n\n"text"\r\n3.5'
    assert from_standard_input(["-"], data, pipe) == [Input(0, {"a": [1, None]}), Input(1, "text"), Input(2, 3.5)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{oops", "line 2 of standard input is no JSON: Expecting property name"),
        (b"NaN", "line 2 of standard input is no JSON: JSON has no NaN"),
        (b'"\xff"', "line 2 of standard input is no JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "line 2 of standard input is no JSON: maximum recursion depth"),
    ],
)
def test_a_line_that_is_no_json_is_set_aside_and_the_rest_goes_on(line: bytes, reason: str, tmp_path: Path) -> None:
    data = tmp_path / "lines.jsonl"
    data.write_bytes(b"1\n" + line + b"\n2\n")
    descriptor = os.open(data, os.O_RDONLY)
    before, aside, after = read_inputs(["-"], stdin=descriptor)
    os.close(descriptor)
    assert (before, after) == (Input(0, 1), Input(2, 2))
    assert isinstance(aside, SetAside)
    assert aside.index == 1 and aside.reason.startswith(reason)
    assert aside.text == line.decode("utf-8", "replace")


def test_lines_are_given_as_they_come_while_the_writer_is_still_there(pipe: tuple[int, int]) -> None:
    read, write = pipe
    inputs = read_inputs(["-"], stdin=read)
    os.write(write, b"1\n2\n")
    assert [next(inputs), next(inputs)] == [Input(0, 1), Input(1, 2)]
    os.write(write, b"3")
    os.close(write)
    assert list(inputs) == [Input(2, 3)]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20).map(json.dumps)), st.booleans())
def test_every_line_is_an_input_wherever_reads_end(lines: list[str], ended: bool) -> None:
    read, write = os.pipe()
    try:
        data = "\n".join(lines).encode() + (b"\n" if ended else b"")
        os.write(write, data)
        os.close(write)
        assert list(read_inputs(["-"], stdin=read)) == [Input(i, json.loads(line)) for i, line in enumerate(lines)]
    finally:
        os.close(read)


def test_a_line_longer_than_any_read_is_whole(tmp_path: Path) -> None:
    data = tmp_path / "lines.jsonl"
    data.write_text(json.dumps("x" * 1_000_000) + "\n1\n")
    descriptor = os.open(data, os.O_RDONLY)
    values = [each.value for each in read_inputs(["-"], stdin=descriptor) if isinstance(each, Input)]
    os.close(descriptor)
    assert values == ["x" * 1_000_000, 1]


def test_what_cannot_be_counted_without_using_it_up_is_not_counted(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert count_inputs(["a", "-"]) is None
    assert count_inputs(["a", "@-"]) is None
    assert count_inputs(["a", f"@{fifo}"]) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no input"),
        (["-", "-"], "standard input is named twice"),
        (["-", "@-"], "standard input is named twice"),
        (["@nowhere.txt"], "the list 'nowhere.txt' is not there"),
        (["@folder"], "the list 'folder' is a folder"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_runs(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(WrongInputs, match=message):
        check_inputs(arguments)


def test_inputs_that_can_be_read_pass(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a\n")
    check_inputs(["a", f"@{tmp_path}/list", "-"])
