"""Text logs of any kind whose lines begin with an ISO 8601 stamp, or have one after a few short words."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader

LEVEL = r"(?P<level>(?i:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL))\b"


class IsoReader(TextReader):
    """`2026-11-05T12:34:56.123Z INFO request 17 done`; also after `[`, a level, or a thread."""

    name = "iso"
    sureness = 0.6
    format = TextFormat(
        forms=("iso", "slash"),
        before=r"(?:\S+\x20+){0,3}?[^\s0-9]*",
        fields_before=(rf"[\[(]?(?:{LEVEL})?",),
        fields=(
            (rf"[^\s\w]?[\s:\[(|-]*{LEVEL}[\])]?[\s:|-]*", "(?P<message>.*)$"),
            (r"[^\s\w]?\s*", "(?P<message>.*)$"),
        ),
    )
