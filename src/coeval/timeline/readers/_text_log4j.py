"""Logs of log4j, logback and what is like them, in the patterns that their manuals show."""

from __future__ import annotations

from coeval.timeline.readers._text import TextFormat, TextReader

_LEVEL = r"(?P<level>TRACE|DEBUG|INFO|WARN|ERROR|FATAL)"


class Log4jReader(TextReader):
    """`2026-11-05 12:34:56,123 [main] INFO  org.shop.Cart - added`; `… INFO  [main] org.shop.Cart: added`."""

    name = "log4j"
    sureness = 0.86
    format = TextFormat(
        forms=("iso", "day"),
        before=r"\[?",
        fields=(
            rf"(?s)^\]? +\[(?P<thread>[^\]]*)\] +{_LEVEL} +(?P<logger>\S+?)(?: -|:) (?P<message>.*)$",
            rf"(?s)^\]? +{_LEVEL} +\[(?P<thread>[^\]]*)\] +(?P<logger>\S+?)(?: -|:) (?P<message>.*)$",
            rf"(?s)^\]? +{_LEVEL} +(?P<logger>[\w.$]+\.[\w$.]+)(?: -|:) (?P<message>.*)$",
        ),
    )
