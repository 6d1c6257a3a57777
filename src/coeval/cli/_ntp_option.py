"""The option that names time servers, as every verb that makes a recording has it."""

from __future__ import annotations

from typing import Any

from coeval.cli._parameters import Option

NTP_OPTION: Any = Option(
    "--ntp",
    metavar="HOST",
    help="Ask this time server, so that times are on UTC; repeat it: three outvote a false one.",
)
