"""What is told of clocks that cannot be related, or of which too much is said: lines of at most 80 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coeval.alignment import Finding
from coeval.clocks import Anchor, ClockId, Message
from coeval.timeline._time_text import format_bound_ns, format_instant, plain
from coeval.timeline.sources._messages import LinkCount

if TYPE_CHECKING:
    from coeval.timeline.sources._relate import Component

_COLUMNS = 80
_ROWS_SHOWN = 20


def contradiction_text(finding: Finding) -> str:
    """What `ClocksNotRelated` says where anchors, claims and messages cannot all be true."""
    lines = [
        "What is said of UTC cannot all be true within the declared rates of the clocks,",
        "so nothing is placed on it, and nothing was written:",
        "",
        *(line for anchor in finding.anchors for line in _anchor_lines(anchor)),
        *(line for message in finding.messages for line in _message_lines(message)),
        "",
        "Leave out what is wrong, or widen its bound, as with --trust-clocks 5s.",
    ]
    return "\n".join(lines)


def _anchor_lines(anchor: Anchor) -> list[str]:
    middle_ns = (anchor.earliest_ns + anchor.latest_ns) // 2
    bound = format_bound_ns(max(middle_ns - anchor.earliest_ns, anchor.latest_ns - middle_ns))
    read = f"{anchor.clock} showed {format_instant(anchor.reading_ns).removesuffix('Z')}"
    return [*_indented(anchor.source), f"    {plain(read)}", f"    when it was {format_instant(middle_ns)} {bound}"]


def _message_lines(message: Message) -> list[str]:
    ends = (("sent", message.sender, message.sent_ns), ("received", message.receiver, message.received_ns))
    return [
        *_indented(f"a message{f' ({message.id})' if message.id else ''}"),
        *(f"    {how} when {plain(clock)} showed {format_instant(ns).removesuffix('Z')}" for how, clock, ns in ends),
    ]


def _indented(text: str) -> list[str]:
    return textwrap.wrap(plain(text), _COLUMNS, initial_indent="  ", subsequent_indent="  ")


def not_related_text(components: Sequence[Component], counts: Sequence[LinkCount] = ()) -> str:
    """
    What `ClocksNotRelated` says: the table of components, what was found of the evidence that was looked for, and what
    can be done; lines of at most 80 characters, where names allow it.
    """
    looked_for = [f"  {count.text}" for count in counts]
    lines = [
        f"{len(components)} groups of clocks are related by nothing, so their events have no",
        "common order, and nothing was written.",
        "",
        *component_lines(components),
        *(["", "Evidence that was looked for:", *looked_for] if looked_for else []),
        "",
        "What helps, the surest first:",
        *_next_steps(components),
    ]
    return "\n".join(lines)


def component_lines(components: Sequence[Component]) -> list[str]:
    """The table of components, a line for each clock; at most 80 characters each."""
    rows = [("group", "events", "clock", "placed by")]
    for number, component in enumerate(components, 1):
        for place, state in enumerate(component.clocks[:_ROWS_SHOWN]):
            one_sided = f"; only its {state.sides} times are known" if state.sides in ("earliest", "latest") else ""
            why = (component.why if place == 0 else "as above") + one_sided
            rows.append((str(number) if place == 0 else "", f"{state.events:,}", state.clock, why))
        if left := component.clocks[_ROWS_SHOWN:]:
            rows.append(("", f"{sum(state.events for state in left):,}", f"{len(left)} more", ""))
    events = max(len(row[1]) for row in rows)
    clocks = min(max(len(row[2]) for row in rows), 30)
    room = _COLUMNS - 5 - 2 - events - 2 - clocks - 2
    return [
        f"{group:<5}  {count:>{events}}  {_cut(clock, clocks):<{clocks}}  {_cut(why, room)}".rstrip()
        for group, count, clock, why in rows
    ]


def _next_steps(components: Sequence[Component]) -> list[str]:
    one, other = components[0].clocks[0].clock, components[1].clocks[0].clock
    steps = [
        ("an id that stands in both, and the way it goes:", f"--pair request_id --order '{one},{other}'"),
        ("an offset that you know:", f"--clock '{other}=+3.2s±0.1s@{one}'"),
        ("each clock's own word, as good as you think it is:", "--trust-clocks 50ms"),
        ("or leave out what cannot be placed:", "--unplaced aside"),
    ]
    if known := _known_clock(components):
        steps.insert(0, ("if it is written on that host:", f"--source '{known[0]}:clock={known[1]}'"))
    if shared := _one_clock(components):
        steps.insert(0, ("if these are files of one clock:", f"--source '{shared}:clock=NAME'"))
    return [line for what, command in steps for line in (f"  {what}", f"      {command}")]


def _known_clock(components: Sequence[Component]) -> tuple[str, str] | None:
    """A source by its own clock, and a clock by its name that another source has named, as spans name their host."""
    names = {state.clock: number for number, component in enumerate(components) for state in component.clocks}
    for name, number in names.items():
        stem = name.rpartition("/")[2].split(".")[0]
        if stem != name and names.get(ClockId(stem), number) != number:
            return name, stem
    return None


def _one_clock(components: Sequence[Component]) -> str:
    """A name with a wildcard for clocks that look like the files of one log that was rotated."""
    names = [state.clock for component in components for state in component.clocks]
    for name in names:
        stem = name.split(".")[0]
        alike = [each for each in names if each.startswith(f"{stem}.")]
        if len(alike) > 1:
            same = (signs[0] for signs in zip(*alike, strict=False) if len(set(signs)) == 1)
            return f"{''.join(same).rstrip('.')}*"
    return ""


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
