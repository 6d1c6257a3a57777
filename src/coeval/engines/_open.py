"""From an engine's URL to the engine."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from coeval.engines._protocol import Engine

# Where nobody says which engine: this, unless COEVAL_ENGINE says otherwise.
DEFAULT_URL = "local"


def open_engine(
    url: str | None = None,
    max_workers: int | None = None,
    *,
    min_workers: int = 0,
    preload: Sequence[str] = (),
    launch: bool = False,
    recycle_after: int | None = None,
    recycle_after_bytes: int | None = None,
    labels_output: bool = False,
) -> Engine:
    """
    Find the engine that a URL names; it is not started yet.

    No pools inside pools: in a worker of a local pool, where nobody says which engine or how many workers ("local"
    alone says neither), it is the inline one, or N workers would have N workers each. `COEVAL_NESTED=1` says otherwise.

    Args:
        url: such as "local", "local:4", "inline:"; None: `COEVAL_ENGINE`, or else "local".
        max_workers: how many workers at most; None: as many as the URL or the engine says.
        min_workers: how many start at once, before there are calls, where the engine starts them itself; no more than
            `COEVAL_ENGINE` says.
        preload: modules that the calls need, where the engine can import them ahead.
        launch: begin now what takes long; then the engine must be started or closed.
        recycle_after, recycle_after_bytes: a worker that ran so many calls, or that holds more memory than this after
            one, is replaced.
        labels_output: each line that a call prints says which call and process, and becomes an event.

    Raises:
        UnknownEngine: no engine has this scheme, or the rest of the URL is not one it understands.
        UnsupportedByEngine: the engine does not recycle workers, or does not label lines.
        ValueError: `max_workers` is less than one, or less than `min_workers` where the engine is local; `min_workers`
            is less than none.
    """
    if max_workers is not None and max_workers < 1:
        raise ValueError(f"max_workers is {max_workers}; expected at least 1, or None for the engine's own choice")
    if min_workers < 0:
        raise ValueError(f"min_workers is {min_workers}; expected 0 or more")
    if max_workers is None and (not url or url.strip() == DEFAULT_URL) and _is_in_a_pool():
        from coeval.engines.inline import InlineEngine

        _refuse("inline", "recycle_after", recycle_after or recycle_after_bytes)
        _refuse("inline", "output", labels_output)
        return InlineEngine()
    text = (url or os.environ.get("COEVAL_ENGINE") or DEFAULT_URL).strip()
    scheme, _, rest = text.partition(":")
    if scheme == "local":
        from coeval.engines.local import launch_server

        workers_max = max_workers or _count(text, rest)
        if min_workers:
            from coeval.engines.local._cores import usable_cores, workers_max_of  # before anything is launched

            if not url and max_workers is None and workers_max:  # who set the environment did not see the program
                min_workers = min(min_workers, workers_max)
            workers_max = workers_max_of(min_workers, workers_max, usable_cores())
        server = launch_server(workers_max, preload) if launch else None
        from coeval.engines.local import LocalEngine  # while the server boots

        return LocalEngine(
            workers_max,
            min_workers=min_workers,
            preload=preload,
            server=server,
            recycle_after=recycle_after,
            recycle_after_bytes=recycle_after_bytes,
            labels_output=labels_output,
        )
    _refuse(scheme, "recycle_after", recycle_after or recycle_after_bytes)
    if scheme == "inline":
        _refuse(scheme, "output", labels_output)
        if rest:
            raise _unknown(text, "inline: takes nothing after the colon")
        from coeval.engines.inline import InlineEngine

        return InlineEngine()
    if scheme in ("dask", "dask+tls"):
        from coeval.engines.dask import DaskEngine

        return DaskEngine(text, max_workers, labels_output=labels_output)
    _refuse(scheme, "output", labels_output)
    return _from_entry_point(text, scheme, max_workers)


def _refuse(scheme: str, argument: str, value: object) -> None:
    if value:
        from coeval.errors import UnsupportedByEngine

        raise UnsupportedByEngine(
            f"{argument}= was asked of engine {scheme!r}, which cannot do that. Use engine local, or leave it out."
        )


def _is_in_a_pool() -> bool:
    from coeval.engines import local

    return local.worker_pid == os.getpid() and os.environ.get("COEVAL_NESTED") != "1"


def _count(url: str, rest: str) -> int | None:
    if not rest:
        return None
    if not rest.isascii() or not rest.isdigit() or int(rest) < 1:
        raise _unknown(url, f"{rest!r} is no number of workers; write local:4, or local for every usable core")
    return int(rest)


def _from_entry_point(url: str, scheme: str, max_workers: int | None) -> Engine:
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group="coeval.engines")}
    if scheme not in found:
        known = ", ".join(sorted({"local", "inline:", "dask://host:port", *found}))
        raise _unknown(url, f"known engines: {known}")
    engine: object = found[scheme].load()(url, max_workers)
    if not isinstance(engine, Engine):
        raise TypeError(f"entry point {found[scheme].value} gave {engine!r}; expected a coeval.engines.Engine")
    return engine


def _unknown(url: str, reason: str) -> Exception:
    from coeval.errors import UnknownEngine

    return UnknownEngine(f"no engine for {url!r}: {reason}.")
