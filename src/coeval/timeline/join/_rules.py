"""What a join is asked for: values that fit together, or one sentence that says which do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import pyarrow as pa

from coeval.timeline.join._asof import Direction
from coeval.timeline.join._overlaps import OverlapJoin, WindowJoin
from coeval.timeline.join._tables import AsofJoin, How
from coeval.timeline.sources._said import parse_duration

Length: TypeAlias = str | int
"""A time, such as "5ms", or int ns."""

Window: TypeAlias = Length | tuple[Length, Length]
"""As far before as after; or how far before, and how far after: as a pair, or in one text, such as "1s,0s"."""


@dataclass(frozen=True, slots=True)
class JoinRules:
    """What is asked for; see `coeval.timeline.join.join`."""

    on: tuple[str, ...] = ()
    within_ns: int | None = None
    direction: Direction = "backward"
    how: How = "left"
    all_matches: bool = False

    def prepared(self, right: pa.Table) -> AsofJoin:
        """The right side, ready."""
        return AsofJoin(
            right,
            on=self.on,
            within_ns=self.within_ns,
            direction=self.direction,
            how=self.how,
            all_matches=self.all_matches,
        )


@dataclass(frozen=True, slots=True)
class OverlapRules:
    """The same of `coeval.timeline.join.overlap_join`."""

    on: tuple[str, ...] = ()
    how: How = "inner"

    def prepared(self, right: pa.Table) -> OverlapJoin:
        """The right side, ready."""
        return OverlapJoin(right, on=self.on, how=self.how)


@dataclass(frozen=True, slots=True)
class WindowRules:
    """The same of `coeval.timeline.join.window_join`."""

    before_ns: int
    after_ns: int
    on: tuple[str, ...] = ()
    all_matches: bool = False
    how: How = "left"

    def prepared(self, right: pa.Table) -> WindowJoin:
        """The right side, ready."""
        return WindowJoin(
            right,
            before_ns=self.before_ns,
            after_ns=self.after_ns,
            on=self.on,
            all_matches=self.all_matches,
            how=self.how,
        )


Rules: TypeAlias = JoinRules | OverlapRules | WindowRules


class OptionNames(NamedTuple):
    """What options are called where they were said."""

    within: str = "within"
    direction: str = "direction"
    overlap: str = "overlap"
    window: str = "window"
    how: str = "how"
    every: str = "all_matches"


IN_PYTHON = OptionNames()


def rules_of(
    on: tuple[str, ...],
    *,
    within: Length | None = None,
    direction: Direction | None = None,
    overlap: bool = False,
    window: Window | None = None,
    how: How | None = None,
    every: bool = False,
    names: OptionNames = IN_PYTHON,
) -> Rules:
    """
    Put options together.

    Raises:
        ValueError: two of them do not go together, or a time is none.
    """
    if not overlap and window is None:
        within_ns = None if within is None else _length_ns(within, names.within)
        return JoinRules(on, within_ns, direction or "backward", how or "left", every)
    asked = names.overlap if overlap else names.window
    for name, is_said in (
        (names.window, overlap and window is not None),
        (names.within, within is not None),
        (names.direction, direction is not None),
    ):
        if is_said:
            raise ValueError(f"{asked} and {name} were both given; expected one of them")
    if overlap:
        if every:
            raise ValueError(f"{names.overlap} lists every pair as it is; leave out {names.every}")
        return OverlapRules(on, how or "inner")
    if how is not None and not every:
        raise ValueError(
            f"{names.window} counts for each left row; {names.how} is for pairs, which {names.every} lists"
        )
    assert window is not None
    before_ns, after_ns = _window_ns(window, names.window)
    return WindowRules(before_ns, after_ns, on, every, how or "left")


def _length_ns(length: Length, name: str) -> int:
    return parse_duration(length, name) if isinstance(length, str) else length


def _window_ns(window: Window, name: str) -> tuple[int, int]:
    if isinstance(window, str) and "," in window:
        before, _, after = window.partition(",")
        window = (before, after)
    first, last = window if isinstance(window, tuple) else (window, window)
    return _length_ns(first, name), _length_ns(last, name)
