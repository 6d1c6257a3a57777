"""Error logs of Nginx."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader

_IDS = r"(?P<pid>[0-9]{1,18})#(?P<tid>[0-9]{1,18}): (?:\*(?P<connection>[0-9]{1,18}) )?"


class NginxErrorReader(TextReader):
    """`2026/11/05 12:34:56 [error] 812#0: *17 open() "/a" failed (2: No such file or directory), client: 10.0.0.1`."""

    name = "nginx-error"
    sureness = 0.95
    format = TextFormat(
        forms=("slash",),
        fields=(rf"(?s)^ \[(?P<level>[a-z]+)\] {_IDS}(?P<message>.*?)(?:, client: (?P<client>[^, ]+)(?P<more>.*))?$",),
        has_continuations=False,
        integers=("pid", "tid", "connection"),
    )
