"""
A stream of random numbers for each call: `seed=`, and what calls draw from.

Which stream a call has depends on the seed and on how many calls were submitted with that seed before it, and on
nothing else: not on workers, batches, tries, or calls without the seed. The number travels with the arguments and takes
effect as they are rebuilt, just before the function runs; so it works on every engine, and a call without a seed pays
nothing.

The global generators of `random` and numpy are left alone, as numpy and joblib advise: whoever sets them for one call
sets them for all that come after it in that worker.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random
    from typing import Any

    from numpy.random import Generator

    from coeval.recording._capture import Running


class Seed:
    """
    What calls with one seed share; they are counted in the order in which they are submitted.

    Raises:
        TypeError, ValueError: the seed is no whole number from 0.
    """

    def __init__(self, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"seed is {value!r}; expected a whole number from 0")
        if value < 0:
            raise ValueError(f"seed is {value!r}; expected a whole number from 0")
        self.value = value
        self._count = itertools.count()

    def skip(self) -> None:
        """A call of this seed is not submitted, as its result is known; the ones after it keep their streams."""
        next(self._count)

    def planted(self, args: Sequence[Any]) -> Planted:
        """The arguments of the next call."""
        return Planted(args, self.value, next(self._count))


class Planted:
    """Arguments that, rebuilt in the worker, are themselves again and begin the call's stream."""

    __slots__ = ("_args", "_number", "_seed")

    def __init__(self, args: Sequence[Any], seed: int, number: int) -> None:
        self._args, self._seed, self._number = args, seed, number

    def __reduce__(self) -> tuple[Any, ...]:
        return _begin, (self._args, self._seed, self._number)


class _Stream:
    """The stream of one call: `running` and `call` say which."""

    __slots__ = ("call", "generator", "number", "random", "running", "seed")

    def __init__(self, running: Running, seed: int | None, number: int) -> None:
        self.running, self.call = running, running.call
        self.seed, self.number = seed, number
        self.random: Random | None = None
        self.generator: Generator | None = None

    def is_of(self, running: Running) -> bool:
        """Is this the one of what runs? The object that says what runs is used for one call after the other."""
        return self.running is running and self.call == running.call


# In a worker, where one call runs at a time, also for the threads that it starts; these inherit no context.
_in_process: _Stream | None = None
_in_context: ContextVar[_Stream | None] = ContextVar("coeval_stream", default=None)


def _begin(args: Sequence[Any], seed: int, number: int) -> Sequence[Any]:
    from coeval.recording._capture import running_here

    running = running_here()
    if running is not None:  # else somebody looks at what travels
        _keep(_Stream(running, seed, number))
    return args


def _keep(stream: _Stream) -> None:
    global _in_process
    _in_process = stream
    _in_context.set(stream)


def _stream_here() -> _Stream | None:
    """The stream of the call that runs here; None outside of any call."""
    from coeval.recording._capture import running_here

    running = running_here()
    if running is None:
        return None
    for stream in (_in_context.get(), _in_process):
        if stream is not None and stream.is_of(running):
            return stream
    stream = _Stream(running, None, 0)
    _keep(stream)
    return stream


def call_random() -> Random:
    """
    Give the running call's own `random.Random`, the same one each time the call asks.

    With `seed=` it draws the same numbers in every run. Without, or outside of any call, the system's entropy begins
    it.
    """
    from random import Random

    stream = _stream_here()
    if stream is None:
        return Random()
    if stream.random is None:
        # Of a text all bits are hashed, so neighbours share nothing.
        stream.random = Random() if stream.seed is None else Random(f"coeval {stream.seed} {stream.number}")
    return stream.random


def call_generator() -> Generator:
    """
    Give the running call's own `numpy.random.Generator`, the same one each time the call asks.

    With `seed=` call number n (from 0, among those of the seed) draws the same numbers in every run: those of
    `default_rng(SeedSequence(seed).spawn(n + 1)[n])`. Without, or outside of any call, the system's entropy begins it.
    """
    from numpy.random import SeedSequence, default_rng

    stream = _stream_here()
    if stream is None:
        return default_rng()
    if stream.generator is None:
        seeds = SeedSequence() if stream.seed is None else SeedSequence(stream.seed, spawn_key=(stream.number,))
        stream.generator = default_rng(seeds)
    return stream.generator
