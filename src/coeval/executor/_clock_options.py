"""What a user says about clocks: how well those of other hosts are to be known, and when to be warned."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import EllipsisType

    from coeval.clocks import Clock
    from coeval.engines import Engine
    from coeval.executor._far_clocks import FarClocks

# How wide the interval of a host's clock may become while calls run. What people look at over a network are
# milliseconds; a round trip in a cluster takes one, so a probe in 20 s keeps this. Narrower: more probes, and beyond
# the round trip nothing is gained. Wider: long calls are placed less well than short ones.
WIDTH_S_DEFAULT = 0.01


def clock_width_ns(width_s: float | EllipsisType | None) -> int | None:
    """
    How wide the interval of a clock may become, ns; None: nobody is asked for it.

    Args:
        width_s: seconds; not given (...): what `COEVAL_CLOCK_WIDTH` says, or else the default.

    Raises:
        ValueError, TypeError: that is no such time.
    """
    if width_s is ...:
        from coeval.engines._live_clocks import WIDTH_VARIABLE, clock_width_of

        said = os.environ.get(WIDTH_VARIABLE)
        width_s = clock_width_of(said, WIDTH_VARIABLE) if said else WIDTH_S_DEFAULT
    return _seconds(width_s, "clock_width", "None: nobody asks for it")


def clock_warning_ns(warning_s: float | None) -> int | None:
    """
    How far a wall clock may surely be off before it is warned of, ns; None: it never is.

    Raises:
        ValueError, TypeError: that is no such time.
    """
    return _seconds(warning_s, "clock_warning", "None: never warn")


def far_clocks(
    engine: Engine, clock: Clock, width_s: float | EllipsisType | None, warning_s: float | None
) -> FarClocks | None:
    """
    What follows the clocks of an engine's workers, which is told what to keep known; None: they have ours.

    Raises:
        ValueError, TypeError: one of the times is none.
        UnsupportedByEngine: the engine cannot ask a clock, and somebody said how well it is to be known.
    """
    width_ns, warning_ns = clock_width_ns(width_s), clock_warning_ns(warning_s)
    if engine.capabilities.same_host:
        return None
    from coeval.clocks import clock_id
    from coeval.engines import LiveClocks, MeasuresClocks
    from coeval.executor._far_clocks import FarClocks

    live = LiveClocks(clock_id(clock), width_ns)
    if isinstance(engine, MeasuresClocks):
        engine.keep_clocks_known(live)
    elif isinstance(width_s, float | int):
        from coeval.errors import UnsupportedByEngine

        raise UnsupportedByEngine(
            f"clock_width={width_s:g} was asked of engine {engine.name!r}, which cannot ask its workers' clocks "
            f"without a call. Use another engine (dask), or leave it out."
        )
    return FarClocks(clock, live, warning_ns)


def _seconds(value: object, name: str, never: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise TypeError(f"{name} is {value!r}; expected seconds above 0, or {never}")
    if not (0 < value < float("inf")):
        raise ValueError(f"{name} is {value!r}; expected seconds above 0, or {never}")
    return max(1, round(value * 1e9))
