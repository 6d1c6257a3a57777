"""What hangs: the Python stacks of running calls, on request, on a signal, or when one runs for too long."""

from __future__ import annotations

import _thread
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from coeval.engines import RunningItem
    from coeval.executor._dispatch import Dispatch

# How often a call that stalls is looked for, as parts of the time after which it does.
LOOKS_PER_STALL = 4
LOOK_S_MIN = 0.05


def write_stacks(dispatch: Dispatch, file: TextIO | None = None) -> None:
    """
    Write the stacks of every running call, each below a line that says which call it is, where and since when.

    Args:
        file: None: standard error.

    Raises:
        UnsupportedByEngine: the engine cannot tell.
    """
    from coeval.engines import ShowsStacks

    check_supported(dispatch)
    engine = dispatch.engine
    assert isinstance(engine, ShowsStacks)
    # First, as they may end while a worker that cannot answer is waited for.
    heads = {(item.batch, item.item): head(dispatch, item) for item in engine.running()}
    stacks = engine.stacks()
    parts = [f"coeval: {len(stacks)} running call{'' if len(stacks) == 1 else 's'} on engine {engine.name!r}\n"]
    for item, text in stacks:
        title = heads.get((item.batch, item.item)) or head(dispatch, item)
        parts.append(f"\n{title}\n{text.rstrip()}\n")
    out = sys.stderr if file is None else file
    out.write("".join(parts))  # in one piece, as others may write there too
    out.flush()


def check_supported(dispatch: Dispatch) -> None:
    """Refuse an engine that cannot tell."""
    engine = dispatch.engine
    if not engine.capabilities.stacks:
        from coeval.errors import UnsupportedByEngine

        raise UnsupportedByEngine(
            f"the stacks of running calls were asked of engine {engine.name!r}, which cannot tell. Use another engine "
            f"(local), or a debugger on the worker's host."
        )


def head(dispatch: Dispatch, item: RunningItem) -> str:
    """Say which call it is, where and since when."""
    where = f"running for {item.ran_s:.3g} s in pid {item.worker.pid} on {item.worker.host}"
    return f"{dispatch.describe(item.batch, item.item)}: {where}"


class StallWatch:
    """
    Writes the stacks of all running calls whenever one more of them has run for too long.

    Args:
        after_s: how long that is.

    Raises:
        ValueError: that is no time.
        UnsupportedByEngine: the engine cannot tell what runs.
    """

    def __init__(self, dispatch: Dispatch, after_s: float) -> None:
        if not after_s > 0:
            raise ValueError(f"stall_after is {after_s!r}; expected seconds above 0, or None")
        check_supported(dispatch)
        self._dispatch = dispatch
        self._after_s = after_s
        self._told: set[tuple[int, int]] = set()
        threading.Thread(target=self._watch, name="coeval-stall-watch", daemon=True).start()

    def _watch(self) -> None:
        from coeval.engines import ShowsStacks

        engine = self._dispatch.engine
        assert isinstance(engine, ShowsStacks)
        while not self._dispatch.wait_for_end(max(LOOK_S_MIN, self._after_s / LOOKS_PER_STALL)):
            stalled = newly_stalled(engine.running(), self._after_s, self._told)
            if stalled:
                try:
                    write_stacks(self._dispatch)
                except (OSError, ValueError):  # standard error is closed; watching is no reason to fail
                    return


def newly_stalled(running: Iterable[RunningItem], after_s: float, told: set[tuple[int, int]]) -> bool:
    """Has one of these run for so long that was not told of before? Keeps in `told` those that still run."""
    late = {(item.batch, item.item) for item in running if item.ran_s >= after_s}
    is_new = bool(late - told)
    told.intersection_update(late)
    told.update(late)
    return is_new


def dump_stacks_on(signal_number: int | None = None) -> None:
    """
    From now on a signal to this process writes the stacks of every running call of every executor to standard error.

    Only done where a program asks for it, as a signal belongs to the program.

    Args:
        signal_number: None: SIGUSR1.

    Raises:
        RuntimeError: the program, or a library, handles this signal already.
        ValueError: this is not the main thread, or there is no such signal.
    """
    import signal

    number = signal.SIGUSR1 if signal_number is None else signal_number
    handler = signal.getsignal(number)
    if handler is _on_signal:
        return
    if handler not in (signal.SIG_DFL, signal.SIG_IGN):
        raise RuntimeError(
            f"{signal.Signals(number).name} is handled by {handler!r} already; give another signal, or call "
            f"ex.dump_stacks() from that handler's thread."
        )
    signal.signal(number, _on_signal)


def _on_signal(number: int, frame: object) -> None:
    # Not here: the main thread, which runs this, may hold any lock.
    _thread.start_new_thread(_write_all, ())


def _write_all() -> None:
    from coeval.executor._dispatch import open_dispatches

    for dispatch in open_dispatches():
        if dispatch.engine.capabilities.stacks:
            write_stacks(dispatch)
        else:
            sys.stderr.write(f"coeval: engine {dispatch.engine.name!r} cannot tell the stacks of running calls\n")
