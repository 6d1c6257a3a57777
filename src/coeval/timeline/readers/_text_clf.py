"""Access logs of web servers: the Common Log Format and the combined one, as Apache and Nginx write them."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader

_QUOTED = r'(?:[^"\\]|\\.)*'
_REST = (
    r" (?P<status>[0-9]{3}) (?P<bytes>[0-9]+|-)",
    rf'(?: "(?P<referrer>{_QUOTED})" "(?P<agent>{_QUOTED})")?',
    "(?: |$)",
    "(?P<more>.*)$",
)


class ClfReader(TextReader):
    """`10.0.0.1 - ann [05/Nov/2026:12:34:56 +0100] "GET /a HTTP/1.1" 200 512`, and what the server adds."""

    name = "clf"
    sureness = 0.97
    format = TextFormat(
        forms=("clf",),
        before=r".*?\[",
        after_first="[",
        fields_before=(r"(?P<client>\S+) (?P<identity>\S+) ", r"(?P<user>[^\[]*) \[$"),
        fields=(
            (r'\] "(?P<method>[A-Z]+) (?P<path>[^" ]+)(?: (?P<protocol>[^" ]+))?"', *_REST),
            (rf'\] "(?P<request>{_QUOTED})"', *_REST),
        ),
        has_continuations=False,
        names_zone=True,
        integers=("status", "bytes"),
        nothing="-",
    )
