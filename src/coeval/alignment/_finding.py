"""A finding: something about the evidence that its owner should know, because it was not used or cannot be true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coeval.clocks import Anchor, ClockId, Message

FindingKind = Literal[
    "contradiction",  # messages that cannot all be true under the declared rate bounds
    "wrong pair",  # messages that contradict what came before and what came after
    "step",  # a clock was set
    "unsorted messages",  # too near a step to tell which side of it they are on
    "rate bound exceeded",  # a clock was slewed faster than was declared
    "assumption widened",  # the evidence refuted what is usually assumed of a clock's rate
    "anchor contradiction",  # the same of anchors, so that the timeline is not on UTC
    "anchor unused",  # anchors that say nothing about the reference
    "soft messages",  # not hard, so not used for bounds
    "same-clock message",  # received before it was sent, by one and the same clock
]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing about the evidence.

    Attributes:
        kind: what it is.
        clock: the clock it is about.
        text: one or two sentences for a person, with what to do.
        count: how many messages or anchors it concerns.
        messages: at most two of them: those that prove a contradiction, or the first ones.
        anchors: the same for anchors.
    """

    kind: FindingKind
    clock: ClockId
    text: str
    count: int
    messages: tuple[Message, ...] = ()
    anchors: tuple[Anchor, ...] = ()
