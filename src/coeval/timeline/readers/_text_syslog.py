"""System logs as `/var/log/messages` has them: RFC 3164, whose stamps have no year, or with the stamps of RFC 3339."""

from __future__ import annotations

import re

from coeval.timeline.readers._input import Head
from coeval.timeline.readers._text import TextFormat, TextReader
from coeval.timeline.stamps import PATTERNS

# A word with one of the other signs is a program that comes without a host.
_HOST = r" (?P<host>[^\s:\[\]<>(),]+)(?: |$)"
_CLASSIC = re.compile(rf"^(?:<[0-9]{{1,3}}>)?(?:{PATTERNS['syslog']})".encode(), re.MULTILINE)
_PROGRAM = re.compile(rb"^[0-9]{4}-[0-9]{2}-\S+ [^\s:\[\]<>(),]+ [^\s:\[]+\[[0-9]+\]: ", re.MULTILINE)


class SyslogReader(TextReader):
    """`Nov  5 12:34:56 web1 sshd[812]: session opened`, with or without `<38>` before it."""

    name = "syslog"
    sureness = 0.9
    format = TextFormat(
        forms=("syslog", "iso"),
        before=r"(?:<[0-9]{1,3}>)?",
        fields_before=(r"(?:<(?P<priority>[0-9]{1,3})>)?",),
        fields=((_HOST, r"(?P<program>[^\s:\[]+)(?:\[(?P<pid>[0-9]+)\])?: ?", "(?P<message>.*)$"),),
        loose=((_HOST, "(?P<message>.*)$"),),
        has_continuations=False,
        clock_field="host",
        clock_by=_HOST,
        integers=("priority", "pid"),
    )

    def match(self, head: Head) -> float:
        """Where stamps are those of ISO 8601, which others write too, only if a program tells its process id."""
        if self.format.python.search(head.data) and not _CLASSIC.search(head.data) and not _PROGRAM.search(head.data):
            return 0.0
        return super().match(head)
