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
            (rf"\]? +\[(?P<thread>[^\]]*)\] +{_LEVEL} +", r"(?P<logger>[^\s:]+)(?: -|:) ", "(?P<message>.*)$"),
            (rf"\]? +{_LEVEL} +\[(?P<thread>[^\]]*)\] +", r"(?P<logger>[^\s:]+)(?: -|:) ", "(?P<message>.*)$"),
            (rf"\]? +{_LEVEL} +", r"(?P<logger>[\w$]+(?:\.[\w$]+)+)(?: -|:) ", "(?P<message>.*)$"),
        ),
    )
