"""
`coeval clocks --ntp HOST`: how far this host's wall clock is from UTC, as time servers and the host itself know it; and
what a run's clock report says of its sources of UTC.
"""

from __future__ import annotations

import os
import textwrap
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from coeval.alignment import Agreement, SourceVerdict, Verdict, agree, utc_bounds
from coeval.cli._output import (
    NOT_POSSIBLE,
    fail,
    format_bound_ns,
    format_duration_ns,
    format_instant,
    format_offset_ns,
    plain,
    style_of_output,
    wrap_titled,
    write_json_lines,
    write_lines,
)
from coeval.clocks import SYSTEM_CLOCK, Anchor, Clock, Snapshot, clock_id
from coeval.clocks._host_time import HostTime, read_host_time
from coeval.clocks._ntp import (
    QUERY_EVERY_S_MIN,
    NoExchange,
    NtpExchange,
    NtpResult,
    TimeServer,
    TimeServers,
    parse_time_servers,
)
from coeval.timeline import ClockEntry, OffsetBounds

# Of several answers the fastest bounds best; RFC 5905 begins with as many or more.
QUERIES_DEFAULT = 4

_NAME_COLUMNS = 22
_TITLE_COLUMNS = 10

# In the table; the reasons are below it.
_SHORT: dict[Verdict | None, str] = {
    "agrees": "agrees",
    "alone": "alone",
    "false": "FALSE",
    "contradicts itself": "FALSE",
    "disputed": "disputed",
    None: "no answer",
}


@dataclass(frozen=True, slots=True)
class AskedSource:
    """
    Someone who was asked what UTC is.

    Attributes:
        name: the server, or "this host's chrony".
        best: the exchange with the shortest round trip; None: none, or it is no server.
        failures: queries that brought nothing.
        anchors: what it said.
    """

    name: str
    best: NtpExchange | None
    failures: tuple[NoExchange, ...]
    anchors: tuple[Anchor, ...]


@dataclass(frozen=True, slots=True)
class AskedTime:
    """
    What they all said.

    Attributes:
        host: whose wall clock it is about.
        snapshot: its clocks, after the last answer.
        sources: in the order in which they were asked; this host itself last, if it knows a bound.
        host_reasons: why the host itself, or chrony on it, tells no bound.
        agreement: whom to believe.
    """

    host: str
    snapshot: Snapshot
    sources: tuple[AskedSource, ...]
    host_reasons: tuple[str, ...]
    agreement: Agreement

    def verdict(self, source: AskedSource) -> SourceVerdict | None:
        """What came of a source; None: it said nothing."""
        if not source.anchors:
            return None
        return next(found for found in self.agreement.verdicts if found.source == source.anchors[0].source)

    @property
    def exit_code(self) -> int:
        """0: all answered and agree. 1: somebody did not. 2: nothing can be called UTC."""
        if not self.agreement.anchors:
            return NOT_POSSIBLE
        verdicts = [self.verdict(source) for source in self.sources]
        return 0 if all(found and found.verdict in ("agrees", "alone") for found in verdicts) else 1


def show_time_servers(ntp: Sequence[str], queries: int, *, as_json: bool) -> None:
    """Ask, show, and end the command with its exit code."""
    try:
        servers = parse_time_servers(ntp)
    except ValueError as error:
        fail(error)
    asked = ask(servers, queries)
    if as_json:
        write_json_lines(json_of(asked))
    else:
        write_lines(lines_of(asked, style_of_output().columns))
    raise click.exceptions.Exit(asked.exit_code)


def ask(servers: Sequence[TimeServer], queries: int, clock: Clock = SYSTEM_CLOCK) -> AskedTime:
    """Ask all servers, `queries` times each, and this host."""
    session, rounds, pause = TimeServers(servers, clock), [], threading.Event()
    for number in range(queries):
        if number:
            pause.wait(QUERY_EVERY_S_MIN)
        rounds.append(session.ask())
    host = os.uname().nodename if hasattr(os, "uname") else "this host"
    identity = clock_id(clock)
    own = read_host_time(clock, identity)
    return judged(host, servers, rounds, own, clock.snapshot())


def judged(
    host: str, servers: Sequence[TimeServer], rounds: Sequence[Sequence[NtpResult]], own: HostTime, snapshot: Snapshot
) -> AskedTime:
    """
    Judge what was said.

    Args:
        rounds: of each round, a result for each server.
        own: what the host itself knows.
        snapshot: the host's clocks, read after all this.
    """
    identity = clock_id(SYSTEM_CLOCK)
    sources = []
    for place, server in enumerate(servers):
        results = [results[place] for results in rounds]
        exchanges = [result for result in results if isinstance(result, NtpExchange)]
        sources.append(
            AskedSource(
                server.name,
                min(exchanges, key=lambda exchange: exchange.round_trip_ns, default=None),
                tuple(result for result in results if isinstance(result, NoExchange)),
                tuple(exchange.anchor(identity) for exchange in exchanges),
            )
        )
    if own.anchor is not None:
        anchor = own.anchor._replace(clock=identity)
        sources.append(AskedSource(f"this host's {own.asked}", None, (), (anchor,)))
    anchors = [anchor for source in sources for anchor in source.anchors]
    return AskedTime(host, snapshot, tuple(sources), own.reasons, agree(anchors))


def wall_offset(anchors: Sequence[Anchor], snapshot: Snapshot) -> OffsetBounds:
    """How far the wall clock is ahead of UTC at a snapshot, if these anchors hold."""
    if not anchors:
        return OffsetBounds(None, None, None)
    (earliest, _), (_, latest) = utc_bounds(anchors, [snapshot.raw_before_ns, snapshot.raw_after_ns])
    least, greatest = snapshot.realtime_ns - latest, snapshot.realtime_ns - earliest
    return OffsetBounds(least, (least + greatest) // 2, greatest)


# Text -----------------------------------------------------------------------------------------------------------------


def lines_of(asked: AskedTime, columns: int) -> Iterator[str]:
    """A table within 80 columns, and what there is to say about it."""
    yield from textwrap.wrap(plain(f"wall clock of {asked.host} against UTC; positive: it is ahead"), max(columns, 40))
    yield ""
    yield (
        f"{'source':<{_NAME_COLUMNS}} {'wall clock':>11} {'bound':>8} {'round trip':>10} {'root dist':>9} {'str':>3}  "
        "verdict"
    )
    for source in asked.sources:
        yield _row(source, asked)
    yield ""
    for title, text in _told(asked):
        yield from wrap_titled(f"{title:<{_TITLE_COLUMNS}}", text, columns)


def _row(source: AskedSource, asked: AskedTime) -> str:
    offset, best, verdict = wall_offset(source.anchors, asked.snapshot), source.best, asked.verdict(source)
    name = plain(source.name)
    name = name if len(name) <= _NAME_COLUMNS else f"{name[: _NAME_COLUMNS - 1]}…"
    reply = None if best is None else best.reply
    cells = (
        "" if offset.estimate_ns is None else _signed(offset.estimate_ns),
        "" if offset.estimate_ns is None else format_bound_ns(_half(offset)),
        "" if best is None else format_duration_ns(best.round_trip_ns),
        "" if reply is None else format_duration_ns(reply.root_distance_ns),
        "" if reply is None else str(reply.stratum),
    )
    return (
        f"{name:<{_NAME_COLUMNS}} {cells[0]:>11} {cells[1]:>8} {cells[2]:>10} {cells[3]:>9} {cells[4]:>3}  "
        f"{_SHORT[verdict.verdict if verdict else None]}"
    )


def _told(asked: AskedTime) -> Iterator[tuple[str, str]]:
    anchors = asked.agreement.anchors
    if anchors:
        offset = wall_offset(anchors, asked.snapshot)
        wall_ns = asked.snapshot.realtime_ns
        assert offset.least_ns is not None
        assert offset.greatest_ns is not None
        earliest, latest = (wall_ns - bound for bound in (offset.greatest_ns, offset.least_ns))
        yield (
            "agreed",
            (
                f"{format_offset_ns(offset.estimate_ns, _half(offset))}: when the wall clock showed "
                f"{format_instant(wall_ns)}, UTC was in {format_instant(earliest)} .. "
                f"{format_instant(latest, date=False)}"
            ),
        )
        believed = [found for found in asked.agreement.verdicts if found.verdict in ("agrees", "alone")]
        if believed[0].verdict == "alone":
            yield "alone", f"{believed[0].text} Ask three or more, and a false one is outvoted."
        else:
            count = len(asked.agreement.verdicts)
            yield "assumed", f"more than half of the {count} sources are right, by their own word about their errors"
    for problem in asked.agreement.problems:
        yield "FALSE" if anchors else "UNKNOWN", problem
    for source in asked.sources:
        if source.failures:
            count = len(source.failures)
            often = f", {count} times" if count > 1 else ""
            kind = source.failures[-1].kind
            yield ("no answer" if kind == "silent" else kind), f"{source.name}: {source.failures[-1].reason}{often}"
    if not anchors and not asked.agreement.problems:
        yield "UNKNOWN", "nobody answered, so nothing is known of UTC here"
    if not any(source.best is None and source.anchors for source in asked.sources):
        yield "this host", f"tells no bound itself: {'; '.join(asked.host_reasons)}"


def _signed(ns: int) -> str:
    text = format_duration_ns(ns)
    return f"+{text}" if ns > 0 else text


def _half(offset: OffsetBounds) -> int | None:
    if offset.least_ns is None or offset.estimate_ns is None or offset.greatest_ns is None:
        return None
    return max(offset.greatest_ns - offset.estimate_ns, offset.estimate_ns - offset.least_ns, 0)


# JSON -----------------------------------------------------------------------------------------------------------------


def json_of(asked: AskedTime) -> Iterator[dict[str, Any]]:
    """A line for each source, and one for what they agree on; [least, estimate, greatest] for offsets."""
    for source in asked.sources:
        best, verdict = source.best, asked.verdict(source)
        yield {
            "kind": "source",
            "source": source.name,
            "verdict": verdict.verdict if verdict else "no answer",
            "text": verdict.text if verdict else "",
            "wall_offset_ns": list(wall_offset(source.anchors, asked.snapshot)),
            "answers": len(source.anchors),
            "address": best.address if best else None,
            "round_trip_ns": best.round_trip_ns if best else None,
            "root_distance_ns": best.reply.root_distance_ns if best else None,
            "stratum": best.reply.stratum if best else None,
            "failures": [failure.reason for failure in source.failures],
        }
    offset = wall_offset(asked.agreement.anchors, asked.snapshot)
    wall_ns = asked.snapshot.realtime_ns
    yield {
        "kind": "agreement",
        "host": asked.host,
        "wall_ns": wall_ns,
        "wall_offset_ns": list(offset),
        "utc_earliest_ns": None if offset.greatest_ns is None else wall_ns - offset.greatest_ns,
        "utc_latest_ns": None if offset.least_ns is None else wall_ns - offset.least_ns,
        "problems": list(asked.agreement.problems),
    }


# In a run's report ----------------------------------------------------------------------------------------------------


def source_facts(entry: ClockEntry) -> Iterator[tuple[str, str]]:
    """A line for each source of UTC of a clock."""
    for found in entry.sources:
        title = "UTC" if found.verdict in ("agrees", "alone") else "FALSE" if found.verdict != "disputed" else "NOT UTC"
        yield title, found.text


def sources_json(entry: ClockEntry) -> list[dict[str, Any]]:
    """The same under stable keys."""
    return [
        {"source": found.source, "verdict": found.verdict, "anchors": found.anchor_count, "text": found.text}
        for found in entry.sources
    ]
