"""Syslog messages of RFC 5424, one a line, as collectors write them; also with the octet count of RFC 6587."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader

_HOST = r" (?P<host>\S+)(?: |$)"
_DATA = r'(?P<data>-|(?:\[(?:[^\]"\\]|\\.|"(?:[^"\\]|\\.)*")*\])+)'
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


class Rfc5424Reader(TextReader):
    """`<165>1 2026-11-05T12:34:56.003Z web1 app 812 ID47 [origin ip="10.0.0.1"] started`."""

    name = "rfc5424"
    sureness = 0.97
    format = TextFormat(
        forms=("iso",),
        before=r"(?:[0-9]+ )?<[0-9]{1,3}>[1-9][0-9]{0,2} ",
        fields_before=(r"(?:[0-9]+ )?<(?P<priority>[0-9]{1,3})>",),
        fields=(
            (
                _HOST,
                r"(?P<program>\S+) (?P<pid>\S+) (?P<message_id>\S+) ",
                rf"{_DATA}(?: (?:{_MARK})?|$)",
                "(?P<message>.*)$",
            ),
        ),
        loose=((_HOST,),),
        has_continuations=False,
        names_zone=True,
        clock_field="host",
        clock_by=_HOST,
        integers=("priority",),
        nothing="-",
    )
