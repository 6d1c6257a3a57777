"""Text logs of a form that only their owner knows: any regular expression with named groups."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from coeval.errors import WrongTable
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.readers._text import TextFormat, TextReader


class PatternReader(TextReader):
    """Each record begins with a line that fits the pattern; the stamp is its group `time`, or one that was said."""

    name = "pattern"

    def match(self, head: Head) -> float:
        """Never by itself: the pattern must be said."""
        return 0.0

    def format_of(self, settings: SourceSettings) -> TextFormat:
        """
        What the pattern says.

        Raises:
            WrongTable: there is no pattern, it has no group for the stamp, or it cannot be read.
        """
        group = settings.time or "time"
        example = r"'^(?P<time>\S+ \S+) (?P<level>\w+) (?P<message>.*)$'"
        if not settings.pattern:
            raise WrongTable(
                f"reader pattern needs a regular expression with a group named {group}, such as {example}."
            )
        # Both ways of writing a named group are common; RE2 knows this one in every version.
        pattern = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", settings.pattern)
        if f"(?P<{group}>" not in pattern:
            raise WrongTable(
                f"pattern {settings.pattern!r} is neither the name of a pattern in coeval.toml nor a regular "
                f"expression with a group named {group}, such as {example}."
            )
        pattern = pattern.replace(f"(?P<{group}>", "(?P<time>")
        try:
            re.compile(pattern.encode())
            pc.extract_regex(pa.array([""]), pattern)
        except (re.error, pa.ArrowInvalid) as error:
            raise WrongTable(
                f"pattern {settings.pattern!r} cannot be read: {error}. RE2 reads it, which has no look-around and "
                "no back references."
            ) from error
        return TextFormat(
            forms=("iso", "slash", "clf", "day", "asctime", "syslog", "epoch"), whole=pattern, may_begin_with_space=True
        )
