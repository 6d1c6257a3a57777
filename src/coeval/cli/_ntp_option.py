"""The option that names time servers, as every verb that makes a recording has it."""

from __future__ import annotations

from typing import Any

import typer

NTP_OPTION: Any = typer.Option(
    "--ntp",
    metavar="HOST",
    help="Ask this time server, so that times are on UTC; repeat it: three outvote a false one.",
)
