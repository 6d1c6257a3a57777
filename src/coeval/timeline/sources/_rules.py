"""
What makes rows of two clocks evidence, as somebody said it or as a format has it.

A *link* is one kind of evidence: rows that send and rows that receive, and a key that tells which belong together. Of
each key the earliest send precedes every receive. That is the rule for all links, and it is certain as long as every
send of a key is in the data: whatever a receive was caused by was sent at or after the earliest of them.

An answer is received too, and was sent after its request had come: so the row of that coming precedes the row of the
answer. Where a request was tried several times, that row may be of another try than the answer (its own may never have
been written), so only a key with one request counts.

    --pair request_id --order web,app,db      links web -> app, web -> db, app -> db
    --pair id --sent kind=ask --received kind=got
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from coeval.timeline.sources._said import is_named, nearest_or_all, parse_duration, written_duration

SPAN_COLUMNS = ("trace_id", "span_id", "parent_span_id", "span_kind")
VECTOR_CLOCK = "vector_clock"
VECTOR_HOST = "host"
VECTOR_EXECUTION = "execution"
FLOW_COLUMNS = ("kind", "id", "category")
TRACK_COLUMNS = ("pid", "tid")
FLOW_START, FLOW_STEP, FLOW_END = "flow start", "flow step", "flow end"

_PAIR_KEYS = ("order", "sent", "received", "answered", "late")
_END = "end"
_FIRST_KEY = re.compile(rf":(?=\s*(?:{'|'.join(_PAIR_KEYS)})\s*=)")
_GROUP = re.compile(r"(?<!\\)\((?!\?)")


@dataclass(frozen=True, slots=True)
class Condition:
    """
    Which rows are meant.

    Attributes:
        column: a column; "clock" and "source" are the row's own.
        value: what the column holds, as text; of a clock or source also with wildcards.
        is_pattern: `value` is a regular expression to be found in it (RE2's, which has no look-around).
    """

    column: str
    value: str
    is_pattern: bool = False

    @classmethod
    def parse(cls, text: str, what: str) -> Condition:
        """Read `kind=client` or `message~GET /`."""
        match = re.match(r"\s*([\w.@-]+)\s*([=~])\s*(.*)", text, re.DOTALL)
        if match is None or not match[3]:
            raise ValueError(f"{what} {text!r} is no condition; expected COLUMN=VALUE or COLUMN~PATTERN")
        condition = cls(match[1], match[3].strip(), match[2] == "~")
        if condition.is_pattern:
            _compiled(condition.value, what)
        return condition

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        return f"{self.column}{'~' if self.is_pattern else '='}{self.value}"


@dataclass(frozen=True, slots=True)
class PairRule:
    """
    Rows with the same value in a column are one request.

    Attributes:
        columns: the column; several, parted by `|`, where sources name it differently: the first that a source has
            is taken. Behind the last may stand `~PATTERN`: the value is what the group of a regular expression finds
            in it.
        order: the clocks that a request passes, in this order, by name, also with wildcards. Each clock's first row of
            a request is written when it has come there and before it goes on.
        sent, received: or else which rows send and which receive.
        answered: with `order`: which rows are written when the answer has come back from the next clock; "end": the
            ends of rows are.
        late_ns: a row may have been written so much later than what it tells; moves sends that much earlier.
    """

    columns: str
    order: tuple[str, ...] = ()
    sent: Condition | None = None
    received: Condition | None = None
    answered: Condition | str | None = None
    late_ns: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that may hold the value, the first of them first."""
        return tuple(name.strip() for name in self.columns.partition("~")[0].split("|"))

    @property
    def pattern(self) -> str:
        """What finds the value in the last of the columns, with one group named `value`; "": the whole of it is it."""
        pattern = self.columns.partition("~")[2].strip()
        if not pattern:
            return ""
        compiled = _compiled(pattern, f"--pair '{self.columns}'")
        if compiled.groups == 0:
            return f"(?P<value>{pattern})"
        if compiled.groups > 1:
            raise ValueError(
                f"--pair '{self.columns}' has {compiled.groups} groups; expected one, which is the value. Write those "
                "that only hold together as (?:..)"
            )
        if compiled.groupindex:
            name = next(iter(compiled.groupindex))
            return pattern.replace(f"(?P<{name}>", "(?P<value>")
        match = _GROUP.search(pattern)
        assert match is not None
        return f"{pattern[: match.start()]}(?P<value>{pattern[match.end() :]}"


class Link(NamedTuple):
    """
    One kind of evidence between rows.

    Attributes:
        name: as reports name it, such as "request_id: web -> app".
        is_answer: what is received is the answer to a request, and counts only where there was one request.
        clocks: whose rows it is between, as somebody named them; nothing where nobody did.
    """

    name: str
    is_answer: bool = False
    clocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvidenceRules:
    """
    Everything that rows are looked at for. Small and picklable: it travels to whoever scans.

    Attributes:
        pairs: what somebody said belongs together.
        spans: whether `trace_id, span_id, parent_span_id, span_kind` are evidence where a source has them.
        vector_clocks: likewise `vector_clock`.
        flows: likewise the flows of a Chrome trace, `kind, id, category`.
    """

    pairs: tuple[PairRule, ...] = ()
    spans: bool = True
    vector_clocks: bool = True
    flows: bool = True

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Every link between rows; rows name theirs by its index. Spans are joined by themselves."""
        said = [link for _, links in self._numbered for link in links]
        return (*said, Link("vector clocks"), Link("flows"))

    @cached_property
    def _numbered(self) -> list[tuple[PairRule, list[Link]]]:
        return [(pair, _links(pair)) for pair in self.pairs]

    def first_link(self, number: int) -> int:
        """The index of the first link of a pair rule."""
        return sum(len(links) for _, links in self._numbered[:number])

    @property
    def vector_link(self) -> int:
        """The index of the link of vector clocks."""
        return len(self.links) - 2

    @property
    def flow_link(self) -> int:
        """The index of the link of flows."""
        return len(self.links) - 1

    @property
    def columns(self) -> frozenset[str]:
        """The columns of a payload that evidence is read from, where they are there."""
        found: set[str] = set()
        for pair in self.pairs:
            found |= {*pair.names}
            conditions = [pair.sent, pair.received, pair.answered]
            found |= {each.column for each in conditions if isinstance(each, Condition)}
        if self.spans:
            found |= {*SPAN_COLUMNS}
        if self.vector_clocks:
            found |= {VECTOR_CLOCK, VECTOR_HOST, VECTOR_EXECUTION}
        if self.flows:
            found |= {*FLOW_COLUMNS, *TRACK_COLUMNS}
        return frozenset(found - {"clock", "source"})


def order_links(order: Sequence[str]) -> list[tuple[int, int]]:
    """The links of a way over several clocks: from each to every later one, so that a missing row breaks none."""
    return [(sender, receiver) for receiver in range(len(order)) for sender in range(receiver)]


def answer_links(order: Sequence[str]) -> list[tuple[int, int]]:
    """From each clock but the first, back to the one before."""
    return [(receiver + 1, receiver) for receiver in range(len(order) - 1)]


def position_in(order: Sequence[str], clock: str) -> int:
    """Where a clock stands in the order; -1: nowhere. A name is taken before one with wildcards."""
    if clock in order:
        return order.index(clock)
    return next((number for number, pattern in enumerate(order) if is_named(pattern, clock)), -1)


def parse_pair(text: str, *, order: str = "", sent: str = "", received: str = "") -> PairRule:
    """
    Read `request_id`, or with everything in one: `request_id:order=web>app>db,answered=end,late=5ms`.

    Args:
        order: clocks, parted by commas or `>`.
        sent, received: conditions.

    Raises:
        ValueError: it does not say which way requests go, or something in it is not known.
    """
    match = _FIRST_KEY.search(text)
    columns, rest = (text, "") if match is None else (text[: match.start()], text[match.end() :])
    values: dict[str, object] = {}
    if rest:
        for part in re.split(rf",(?=\s*(?:{'|'.join(_PAIR_KEYS)})\s*=)", rest):
            key, _, value = part.partition("=")
            values[key.strip()] = value.strip()
    values |= {key: value for key, value in (("order", order), ("sent", sent), ("received", received)) if value}
    return pair_from(columns.strip(), values, f"--pair '{columns.strip()}'")


def pair_from(columns: str, values: Mapping[str, object], where: str) -> PairRule:
    """
    Make a rule of what was said.

    Raises:
        ValueError: as `parse_pair`.
    """
    if not columns:
        raise ValueError(f"{where} names no column; expected the one that holds the same value on both sides")
    texts: dict[str, str] = {}
    order: tuple[str, ...] = ()
    for key, value in values.items():
        if key not in _PAIR_KEYS:
            raise ValueError(f"{where} has {key!r}, which is none: {nearest_or_all(key, _PAIR_KEYS)}")
        if key == "order":
            order = _order(value, where)
        elif not isinstance(value, str):
            raise ValueError(f"{where}: {key} is {value!r}; expected text in quotes")
        else:
            texts[key] = value
    sent, received = (
        Condition.parse(texts[key], f"{where}: {key}") if key in texts else None for key in ("sent", "received")
    )
    answered: Condition | str | None = texts.get("answered")
    if answered is not None and answered != _END:
        answered = Condition.parse(texts["answered"], f"{where}: answered")
    if order and (sent or received):
        raise ValueError(f"{where} says both an order and who sends; give one of them")
    if not order and not (sent and received):
        missing = "who received" if sent else "who sent" if received else "which way requests go"
        raise ValueError(
            f"{where} does not say {missing}, so nothing can be concluded from it: an id in two logs says that both "
            "met, and not which was first. Say --order web,app,db (the clocks that a request passes), or --sent "
            "COLUMN=VALUE and --received COLUMN=VALUE"
        )
    if answered and not order:
        raise ValueError(
            f"{where}: answered needs an order; for answers give a second --pair, with its own sent, received"
        )
    rule = PairRule(columns, order, sent, received, answered, parse_duration(texts.get("late", "0"), f"{where}: late"))
    _ = rule.pattern  # says now what is wrong with it
    return rule


def written_pair(pair: PairRule) -> dict[str, object]:
    """A rule as `pair_from` reads it again."""
    values: dict[str, object] = {}
    if pair.order:
        values["order"] = list(pair.order)
    for key, said in (("sent", pair.sent), ("received", pair.received), ("answered", pair.answered)):
        if said is not None:
            values[key] = said.text if isinstance(said, Condition) else said
    if pair.late_ns:
        values["late"] = written_duration(pair.late_ns)
    return values


def _order(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = re.split(r"\s*(?:,|>)\s*", value.strip())
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) and each for each in value):
        raise ValueError(f"{where}: order is {value!r}; expected clocks, such as web,app,db")
    if len(value) < 2 or len(set(value)) < len(value):
        raise ValueError(f"{where}: order is {', '.join(value)}; expected two clocks or more, each once")
    return tuple(value)


def _links(pair: PairRule) -> list[Link]:
    if not pair.order:
        return [Link(f"{pair.columns}: sent -> received")]
    order = pair.order
    sent = [(order[sender], order[receiver]) for sender, receiver in order_links(order)]
    answers = [(order[sender], order[receiver]) for sender, receiver in answer_links(order)]
    return [
        *(Link(f"{pair.columns}: {' -> '.join(ends)}", clocks=ends) for ends in sent),
        *(Link(f"{pair.columns}: {' -> '.join(ends)}, answered", True, ends) for ends in answers if pair.answered),
    ]


def _compiled(pattern: str, what: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{what}: {pattern!r} is no regular expression: {error}") from error
