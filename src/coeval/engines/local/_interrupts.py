"""Ctrl-C in the main thread, put off while something is done that must not be left half done."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps each call in enums
import _thread
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGINT = 2


class Uninterrupted:
    """
    `with Uninterrupted():` the interrupt handler of the program runs when the block ends. At the second interrupt it
    runs at once, as what is in there may be somebody's callback that never ends.

    Only the main thread is ever interrupted; in any other this does nothing. About half a microsecond.
    """

    __slots__ = ("_handler", "_noted")

    def __enter__(self) -> None:
        self._handler: Any = None
        if _thread.get_ident() != threading._main_thread._ident:  # type: ignore[attr-defined]  # accessors cost
            return
        handler = _signal.getsignal(_SIGINT)
        if callable(handler):  # not ignored, nor the system's own, nor somebody's who is not Python
            self._noted: tuple[Any, ...] | None = None
            self._handler = handler
            try:
                _signal.signal(_SIGINT, self._note)
            except ValueError:  # a subinterpreter's main thread
                self._handler = None

    def _note(self, *signal: Any) -> None:
        if self._noted is not None:
            self._handler(*signal)
        self._noted = signal

    def __exit__(self, *_: object) -> None:
        if self._handler is None:
            return
        _signal.signal(_SIGINT, self._handler)
        if self._noted is not None:
            self._handler(*self._noted)
