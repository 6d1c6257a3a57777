"""Error logs of Nginx."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader


class NginxErrorReader(TextReader):
    """`2026/11/05 12:34:56 [error] 812#0: *17 open() "/a" failed (2: No such file or directory), client: 10.0.0.1`."""

    name = "nginx-error"
    sureness = 0.95
    format = TextFormat(
        forms=("slash",),
        fields=(
            (
                r" \[(?P<level>[a-z]+)\] (?P<pid>[0-9]+)#(?P<tid>[0-9]+): ",
                r"(?:\*(?P<connection>[0-9]+) )?",
                "(?P<message>.*)$",
            ),
        ),
        anywhere=(r", client: (?P<client>[^, ]+)",),
        has_continuations=False,
        integers=("pid", "tid", "connection"),
    )
