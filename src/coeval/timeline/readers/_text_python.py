"""Logs of Python's `logging`, in the formats that its documentation and most programs use."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader

_LEVEL = r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)"


class PythonLoggingReader(TextReader):
    """`2026-11-05 12:34:56,123 - shop.cart - INFO - added`; also `… INFO shop.cart: added`, `… [INFO] added`."""

    name = "python-logging"
    sureness = 0.85
    format = TextFormat(
        forms=("iso",),
        fields=(
            (rf" - (?P<logger>\S+) - {_LEVEL} - ", "(?P<message>.*)$"),
            (rf":? *[\[:|-]? ?{_LEVEL}\]? *[:|-]? ?(?P<logger>[\w.-]+)? ?(?::|-) ?", "(?P<message>.*)$"),
        ),
        loose=((rf":? *[\[:|-]? ?{_LEVEL}\]?:? ", "(?P<message>.*)$"),),
    )
