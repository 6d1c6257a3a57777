"""
An input of `coeval map`: what its arguments and standard input say, read lazily.

    NAME        one input, given as text
    @FILE       one input per line of FILE, given as text; `@-`: of standard input
    -           one input per line of standard input, each a JSON value
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

JsonValue: TypeAlias = Any  # what json.loads gives

_READ_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its place in the order that they were given, from 0, and the function's one argument."""

    index: int
    value: JsonValue


@dataclass(frozen=True, slots=True)
class SetAside:
    """A line that is no input: its place among them, its text, and the reason why it cannot be given to a function."""

    index: int
    text: str
    reason: str


class WrongInputs(Exception):
    """The arguments name inputs that cannot be read; the message is for the person who typed them."""


def check_inputs(arguments: Sequence[str]) -> None:
    """
    Find out before anything runs what cannot be read.

    Raises:
        WrongInputs: there is no input at all, standard input is asked for twice, or a list is not there.
    """
    if not arguments:
        raise WrongInputs(
            "no input; give inputs, @FILE for one per line of a file, or - for JSON lines on standard input"
        )
    if sum(argument in ("-", "@-") for argument in arguments) > 1:
        raise WrongInputs("standard input is named twice; it can be read once, as - or as @-")
    for argument in arguments:
        if argument.startswith("@") and argument != "@-":
            path = Path(argument[1:])
            if path.is_dir() or not os.access(path, os.R_OK):
                what = "is a folder" if path.is_dir() else "cannot be read" if path.exists() else "is not there"
                raise WrongInputs(
                    f"{argument}: the list {str(path)!r} {what}; expected a file with one input per line. "
                    f"(Inputs that start with @ themselves go into such a file.)"
                )


def read_inputs(arguments: Sequence[str], stdin: int = 0) -> Iterator[Input | SetAside]:
    """
    Read inputs as they are wanted, holding one line at a time.

    Lines that are empty or white space are no inputs. Lines of a file are decoded as file names are.

    Args:
        stdin: the descriptor of standard input.

    Raises:
        OSError: a list cannot be read any more.
    """
    index = 0
    for argument in arguments:
        if argument == "-":
            for line_number, line in enumerate(_lines_of(stdin), 1):
                if line.strip():
                    yield _json_input(index, line_number, line)
                    index += 1
        elif argument.startswith("@"):
            for text in _texts_of(argument, stdin):
                yield Input(index, text)
                index += 1
        else:
            yield Input(index, argument)
            index += 1


def count_inputs(arguments: Sequence[str]) -> int | None:
    """How many inputs there are, as far as that can be told without using them up; None if it cannot."""
    count = 0
    for argument in arguments:
        if argument in ("-", "@-") or (argument.startswith("@") and not Path(argument[1:]).is_file()):
            return None
        count += sum(1 for _ in _texts_of(argument, -1)) if argument.startswith("@") else 1
    return count


def _texts_of(argument: str, stdin: int) -> Iterator[str]:
    if argument == "@-":
        yield from _texts(_lines_of(stdin))
        return
    with open(argument[1:], "rb") as file:
        yield from _texts(file)


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        if line.strip():
            yield os.fsdecode(line.rstrip(b"\r\n"))


def _lines_of(descriptor: int) -> Iterator[bytes]:
    # Not sys.stdin.buffer: a thread that waits in it holds its lock, and the interpreter cannot end while that is held.
    begun: list[bytes] = []
    while data := os.read(descriptor, _READ_BYTES_MAX):
        first, *others = data.split(b"\n")
        begun.append(first)
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun = [others[-1]]
    yield b"".join(begun)


def _json_input(index: int, line_number: int, line: bytes) -> Input | SetAside:
    try:
        text = line.rstrip(b"\r").decode("utf-8-sig" if line_number == 1 else "utf-8")
        return Input(index, json.loads(text, parse_constant=_no_constant))
    except (ValueError, RecursionError) as error:
        reason = f"line {line_number} of standard input is no JSON: {error}"
        return SetAside(index, line.rstrip(b"\r").decode("utf-8", "replace"), reason)


def _no_constant(name: str) -> float:
    raise ValueError(f"JSON has no {name}")
