"""Whether to try a call again: a decision, the same for every engine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coeval.engines import Failure, FailureKind

# What another try could change. Arguments, functions and results that cannot travel never will.
_WORTH_ANOTHER_TRY: frozenset[FailureKind] = frozenset({"raised", "exited", "time_limit", "memory_limit"})


class Retry:
    """
    How often a failed call is tried again.

    Attributes:
        times: tries beyond the first, for calls that raised, exited or went over a limit of time or memory.
        on_death: also try a call again whose worker died under it. Off unless asked for: most often the call itself
            killed the worker, and would kill the next one too.
    """

    __slots__ = ("on_death", "times")

    def __init__(self, times: int, on_death: bool = False) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise ValueError(f"retries is {times!r}; expected a whole number from 0")
        self.times = times
        self.on_death = on_death

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retry) and (self.times, self.on_death) == (other.times, other.on_death)

    def __hash__(self) -> int:
        return hash((self.times, self.on_death))

    def __repr__(self) -> str:
        return f"Retry(times={self.times}, on_death={self.on_death})"

    def tries_again(self, failure: Failure, attempt: int) -> bool:
        """Shall a call that failed at try number `attempt` (from 1) in this way be tried again?"""
        if attempt > self.times or failure.type_name == KeyboardInterrupt.__name__:  # somebody wants an end of it
            return False
        return failure.kind in _WORTH_ANOTHER_TRY or (failure.kind == "died" and self.on_death)


NO_RETRY = Retry(0)
