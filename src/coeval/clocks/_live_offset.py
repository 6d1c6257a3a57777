"""
How far a far clock is ahead of ours, now, from messages as they come: two whole numbers for a clock.

Only the present is asked about, so of all messages one bounds each side: the bound of every message grows by the same
nanoseconds a second, and the one that is best now stays best. Alignment, which sees all messages and answers for any
time, is at least as narrow; this needs neither it nor numpy.
"""

from __future__ import annotations

from coeval.clocks._named_tuple import NamedTuple

# How far each of the two raw clocks' rates may be off. That of alignment (`RATE_BOUND_PPM_DEFAULT`), which tests hold.
RATE_BOUND_PPM = 100

# In _SCALE ns of our clock the offset changes by at most _GROWTH ns: (1 + r) / (1 - r) - 1 with r the rate bound.
# Bounds are kept in units of 1/_SCALE ns, so they are exact.
_GROWTH = 2 * RATE_BOUND_PPM
_SCALE = 1_000_000 - RATE_BOUND_PPM


class LiveOffset(NamedTuple):
    """
    What is known of a far clock's offset: far minus ours; positive means the far clock is ahead.

    Assumes that both clocks' rates are right within `RATE_BOUND_PPM`, and that a message arrives after it was sent. Ask
    it only about readings of our clock that are not before those it was made of.

    Attributes:
        least_scaled, greatest_scaled: the bounds where our clock reads 0, each as if it grew wider since then, in units
            that only this file knows; None: unknown.
        latest_ns: the last reading of our clock among those it was made of. Messages come in any order.
    """

    least_scaled: int | None = None
    greatest_scaled: int | None = None
    latest_ns: int = 0

    def after(self, sent_ns: int, arrived_ns: int, replied_ns: int, seen_ns: int) -> LiveOffset:
        """
        What is known after an exchange.

        Args:
            sent_ns, seen_ns: our clock; before the message there left, and after the one back was readable.
            arrived_ns, replied_ns: the far clock. Where one of a pair is 0 there is no such message.

        Returns:
            What this exchange alone says, where it contradicts what was known: a host was suspended, or a rate is not
            within its bound, so what was known is not true any more. Nothing, where it contradicts itself.
        """
        least, greatest, latest_ns = self
        if sent_ns and arrived_ns:
            # The offset was at most arrived - sent when it arrived, which was at `sent_ns` or later.
            bound = (arrived_ns - sent_ns) * _SCALE - sent_ns * _GROWTH
            greatest = bound if greatest is None or bound < greatest else greatest
            latest_ns = max(latest_ns, sent_ns)
        if replied_ns and seen_ns:
            bound = (replied_ns - seen_ns) * _SCALE + seen_ns * _GROWTH
            least = bound if least is None or bound > least else least
            latest_ns = max(latest_ns, seen_ns)
        if least is None or greatest is None or greatest + 2 * _GROWTH * latest_ns >= least:
            return LiveOffset(least, greatest, latest_ns)
        return LiveOffset() if self == _NOTHING else _NOTHING.after(sent_ns, arrived_ns, replied_ns, seen_ns)

    def bounds_ns(self, now_ns: int) -> tuple[int | None, int | None]:
        """The least and the greatest possible offset when our clock reads `now_ns`; None: unknown."""
        grown = _GROWTH * now_ns
        return (
            None if self.least_scaled is None else (self.least_scaled - grown) // _SCALE,
            None if self.greatest_scaled is None else -(-(self.greatest_scaled + grown) // _SCALE),
        )

    def reaches_ns(self, width_ns: int) -> int | None:
        """The last reading of our clock at which the interval is at most so wide; None: a side of it is unknown."""
        if self.least_scaled is None or self.greatest_scaled is None:
            return None
        return (width_ns * _SCALE - self.greatest_scaled + self.least_scaled) // (2 * _GROWTH)


_NOTHING = LiveOffset()
