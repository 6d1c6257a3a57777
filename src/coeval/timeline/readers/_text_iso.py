"""Text logs of any kind whose lines begin with an ISO 8601 stamp, or have one after a few short words."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader, stamp

_BEFORE = r"^(?:\S{1,40}\x20{1,8}){0,3}?[^\s0-9]{0,12}"
_LEVEL = (
    r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL|trace|debug|info|warn|warning|error|fatal)"
)


class IsoReader(TextReader):
    """`2026-11-05T12:34:56.123Z INFO request 17 done`; also after `[`, a level, or a thread."""

    name = "iso"
    sureness = 0.6
    format = TextFormat(
        search=_BEFORE + stamp("iso"),
        forms=("iso",),
        fields=(rf"(?s){_BEFORE}{stamp('iso')}\S?(?:[\s:\[(|-]{{1,4}}{_LEVEL}\b[\])]?)?[\s:|-]*(?P<message>.*)$",),
    )
