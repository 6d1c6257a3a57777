"""
What a worker of a standard pool does before its first call. Runs on workers.

A worker of `multiprocessing` knows its parent's authentication key (a manager's proxies ask for it) and its start
method, and has run the caller's initializer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Preparation(NamedTuple):
    """
    Attributes:
        authentication_key: the caller's, as `multiprocessing.current_process().authkey`.
        start_method: as `multiprocessing.get_start_method()`.
        initializer: gives the caller's initializer and its arguments; None: there is none.
    """

    authentication_key: bytes
    start_method: str
    initializer: Callable[[], tuple[Callable[..., object], tuple[Any, ...]]] | None


def prepare(preparation: Preparation) -> None:
    """
    Make this process what a worker of `multiprocessing` would be, and run the caller's initializer.

    Raises:
        BaseException: what the initializer raised; it is logged as the standard executor logs it, for only the worker
            knows it.
    """
    import multiprocessing

    multiprocessing.current_process().authkey = preparation.authentication_key
    multiprocessing.set_start_method(preparation.start_method, force=True)
    if preparation.initializer is None:
        return
    try:
        function, arguments = preparation.initializer()
        function(*arguments)
    except BaseException:
        import logging

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        raise
