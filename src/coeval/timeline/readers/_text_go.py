"""Logs of Go's package `log`."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader


class GoReader(TextReader):
    """`2026/11/05 12:34:56.123456 server.go:17: started`, with what the program puts before it."""

    name = "go"
    sureness = 0.8
    format = TextFormat(
        forms=("slash",),
        before=r"(?:[^\s0-9]\S*\x20*)?",
        fields_before=("(?P<prefix>.*)$",),
        fields=(
            (r" (?P<file>[^\s:]+\.go):(?P<line_number>[0-9]+): ", "(?P<message>.*)$"),
            (" ", "(?P<message>.*)$"),
        ),
        integers=("line_number",),
    )
