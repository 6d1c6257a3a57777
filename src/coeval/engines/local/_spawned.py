"""A worker that is an interpreter of its own, from its first line on."""

from __future__ import annotations

from coeval.engines.local._child import be_worker, keep_only, reset_signals

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, NoReturn


def main(state: dict[str, Any]) -> NoReturn:
    """
    Work until the entry point returns.

    Args:
        state: `entry`, `descriptors`, `cell`, `lifeline`.
    """
    reset_signals()
    keep_only((*state["descriptors"], state["lifeline"]))
    be_worker(state["entry"], state["descriptors"], state["cell"], state["lifeline"], {})
