from __future__ import annotations

import json
from datetime import UTC
from zoneinfo import ZoneInfo

import click
import pytest

from coeval.cli._output import (
    fail,
    format_instant,
    nearest_zones,
    parse_zone,
    style_of_output,
    write_json_lines,
    write_lines,
)


def test_an_error_is_one_line_on_standard_error_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.exceptions.Exit) as ended:
        fail(ValueError("two\nlines and \x1b[31m colour"))
    assert ended.value.exit_code == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "coeval: two lines and ?[31m colour\n")


def test_no_zone_is_utc_and_a_name_is_that_zone() -> None:
    assert parse_zone(None) is UTC
    assert parse_zone("utc") is UTC
    assert parse_zone("Europe/Berlin") == ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "shown"), [("+02:00", "+02:00"), ("-0530", "-05:30"), ("UTC+3", "+03:00"), ("+00:00", "Z"), ("gmt", "Z")]
)
def test_a_zone_may_be_an_offset(name: str, shown: str) -> None:
    assert format_instant(0, parse_zone(name), 0).endswith(f":00{shown}")


def test_an_offset_that_no_place_has_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.exceptions.Exit):
        parse_zone("+16:00")
    assert "'+16:00' is no offset from UTC: expected at most ±15:59, such as +02:00" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Europe/Berln", "berlin", "", "../etc/passwd", "/etc/localtime", "Europe", "x\x00y"])
def test_an_unknown_zone_ends_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.exceptions.Exit):
        parse_zone(name)
    assert "is not known" in capsys.readouterr().err


def test_the_nearest_names_are_told_for_a_slip_and_for_a_city_alone() -> None:
    known = {"Europe/Berlin", "Europe/Dublin", "America/New_York", "Asia/Tokyo"}
    assert nearest_zones("Europe/Berln", known)[0] == "Europe/Berlin"
    assert nearest_zones("new york", known) == ["America/New_York"]
    assert nearest_zones("qqqqqqqq", known) == []


def test_without_a_terminal_there_is_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    assert style_of_output(environment={"TERM": "xterm"}).failed == ("", "")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_has_colour_unless_somebody_minds(
    environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import pty

    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0), open(follower, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert (style_of_output(environment=environment).failed != ("", "")) is coloured


def test_json_lines_are_ascii_and_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    write_json_lines([{"name": "ü\udcff"}, 2**63 - 1])
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isascii() for line in lines)
    assert [json.loads(line) for line in lines] == [{"name": "ü\udcff"}, 2**63 - 1]


def test_lines_are_written_whatever_the_encoding_of_the_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    import io
    import sys

    with pytest.MonkeyPatch.context() as patch, open(1, "wb", closefd=False) as raw:
        stream = io.TextIOWrapper(raw, encoding="ascii")
        patch.setattr(sys, "stdout", stream)
        write_lines(["±12 µs"])
        stream.detach()
    assert capfdbinary.readouterr().out == b"\\xb112 \\xb5s\n"
