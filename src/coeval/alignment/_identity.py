"""
Do processes that claim one clock really share it? A claim that every message between them can refute.

Shared means that their offset is zero, so no message may be received before it was sent. Cloned machines can carry one
boot id, and an overridden id can be wrong; without this check every time of such a process would be silently false.

Who has to give up the claim: first the process that contradicts the most others of its clock; among equals the one
with the fewest messages that agree; among those the one that comes last in `claims`. The process named as `reference`
never does. This goes on until no contradiction is left. A process split off gets a clock of its own,
`claimed~process`, even if it does share one with another that was split off: that is never false, only less tight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from coeval.alignment._messages import Messages, described
from coeval.clocks import ClockId, Message


@dataclass(frozen=True, slots=True)
class IdentityClash:
    """
    Two processes that claim one clock and cannot share it.

    Attributes:
        clock: what both claimed.
        process: the one split off.
        other: the one it contradicts.
        message: the proof that is worst, between processes: received before it was sent.
        count: how many messages between the two prove it.
        offset_ns_least: how far the two are apart at least.
        text: the clash in one sentence, with what to do.
    """

    clock: ClockId
    process: str
    other: str
    message: Message
    count: int
    offset_ns_least: int
    text: str


@dataclass(frozen=True, slots=True)
class IdentityReport:
    """
    Which clock each process really has.

    Attributes:
        clock_of: the claimed clock, or `claimed~process`; for `Messages.renamed`.
        checked: how many messages checked the claim of each clock; clocks without any are left out.
        clashes: each pair that cannot share its clock.
    """

    clock_of: Mapping[str, ClockId]
    checked: Mapping[ClockId, int]
    clashes: tuple[IdentityClash, ...]


def check_identities(
    messages: Messages, claims: Mapping[str, ClockId], *, reference: str | None = None
) -> IdentityReport:
    """
    Check which processes share the clock that they claim.

    Only hard messages between two different processes of one claimed clock are evidence. A stamp cut to a grain counts
    as its latest possible reading on the receiving side.

    Args:
        messages: between processes: their `clocks` are the processes' names. Processes without a claim are left alone.
        claims: the clock that each process claims.
        reference: the process whose claim stands, such as the driver; None: none is above the others.
    """
    codes = {clock: code for code, clock in enumerate(dict.fromkeys(claims.values()))}
    claimed = np.array(
        [codes[claims[name]] if name in claims else -1 - number for number, name in enumerate(messages.clocks)],
        dtype=np.int64,
    )
    sender, receiver = messages.sender, messages.receiver
    same = (claimed[sender] == claimed[receiver]) & (sender != receiver) & messages.hard
    rows = np.flatnonzero(same)
    excess = messages.sent_ns[rows] - messages.received_by_ns[rows]
    names = tuple(codes)
    counts = np.bincount(claimed[sender[rows]], minlength=len(names)).tolist()
    checked = {clock: count for clock, count in zip(names, counts, strict=True) if count}

    clashing: dict[frozenset[int], list[int]] = {}
    for index in np.flatnonzero(excess > 0).tolist():
        pair = frozenset((int(sender[rows[index]]), int(receiver[rows[index]])))
        clashing.setdefault(pair, []).append(index)
    agreeing = np.zeros(len(messages.clocks), dtype=np.int64)
    for side in (sender, receiver):
        agreeing += np.bincount(side[rows[excess <= 0]], minlength=len(agreeing))
    position = {name: number for number, name in enumerate(claims)}

    clock_of = dict(claims)
    clashes: list[IdentityClash] = []
    open_pairs = dict(clashing)
    while open_pairs:
        involved: dict[int, int] = {}
        for pair in open_pairs:
            for process in pair:
                involved[process] = involved.get(process, 0) + 1
        split = max(
            (process for process in involved if messages.clocks[process] != reference),
            key=lambda process: (involved[process], -int(agreeing[process]), position[messages.clocks[process]]),
        )
        name = messages.clocks[split]
        clock_of[name] = ClockId(f"{claims[name]}~{name}")
        for pair in [pair for pair in open_pairs if split in pair]:
            (other,) = pair - {split}
            clashes.append(_clash(messages, claims[name], name, messages.clocks[other], rows, excess, open_pairs[pair]))
            del open_pairs[pair]
    return IdentityReport(clock_of, checked, tuple(clashes))


def _clash(
    messages: Messages,
    clock: ClockId,
    process: str,
    other: str,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    excess: np.ndarray[tuple[int], np.dtype[np.int64]],
    indices: list[int],
) -> IdentityClash:
    worst = max(indices, key=lambda index: int(excess[index]))
    message, least = messages[int(rows[worst])], int(excess[worst])
    text = (
        f"Processes {process} and {other} both claim clock {clock}, but {described(message)} arrived {least} ns before "
        f"it was sent, so {process} is taken to have a clock of its own. Cloned machines share a boot id: set "
        "COEVAL_CLOCK_ID on each to tell them apart."
    )
    return IdentityClash(clock, process, other, message, len(indices), least, text)
