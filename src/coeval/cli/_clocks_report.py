"""What messages say about clocks, as text for people and as data."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from coeval.alignment import ClockFit, ClockStep, OffsetInterval
from coeval.cli._output import format_bound_ns, format_offset_ns, plain, wrap_titled
from coeval.clocks import UTC
from coeval.timeline._related_clocks import RelatedClocks

_SHOWN_MAX = 8
_COLUMNS_MIN = 60
_UNITS_NS = (("s", 10**9), ("ms", 10**6), ("µs", 10**3), ("ns", 1))


def report_lines(clocks: RelatedClocks, columns: int) -> Iterator[str]:
    """The reference, what was read, a table of clocks, and what there is to know about them."""
    for title, text in _facts(clocks):
        yield from _wrapped(title, text, columns)
    yield ""
    yield from _table(clocks, columns)
    notes = list(_notes(clocks))
    if notes:
        yield ""
    for title, text in notes:
        yield from _wrapped(title, text, columns)


def _facts(clocks: RelatedClocks) -> Iterator[tuple[str, str]]:
    alignment = clocks.alignment
    uses = sum(fit.sent_count + fit.received_count for fit in clocks.fits if fit.reference != UTC)
    why = "as asked" if clocks.reference_given else f"most messages, {uses:,}; --reference chooses another"
    yield "reference", f"{alignment.reference_clock} ({why})"
    if alignment.on_utc:
        yield "times", f"UTC, by {_count(len(clocks.anchors), 'anchor')}"
    else:
        yield "times", f"what {alignment.reference_clock} shows: nothing ties it to UTC"
    aside = len(clocks.set_aside)
    used = len(clocks.messages) + len(clocks.anchors)
    text = f"{clocks.rows_read:,} read, {used:,} used, {aside:,} set aside"
    yield "rows", text


_COLUMNS = ("clock", "offset", "bound", "widest", "assumed", "rate ppm", "from/to it")
# What a narrow terminal does without, in this order; --json has all of it.
_LEFT_OUT = ("widest", "from/to it", "assumed")


def _table(clocks: RelatedClocks, columns: int) -> Iterator[str]:
    """One line per clock and stretch; Rich measures what is wide."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    def drawn(titles: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for title in titles:
            if title == "clock":
                table.add_column(title, overflow="fold", min_width=8)
            else:
                table.add_column(title, justify="right", no_wrap=True)
        for row in _rows(clocks):
            table.add_row(*(Text(plain(row.get(title, ""))) for title in titles))
        return table

    sheet = io.StringIO()
    # The console only measures and fills up; colours and links are none of a table of numbers.
    width = max(columns, _COLUMNS_MIN)
    console = Console(file=sheet, width=width, color_system=None, highlight=False, legacy_windows=False)
    titles = list(_COLUMNS)
    for title in _LEFT_OUT:
        if Measurement.get(console, console.options.update(max_width=10 * width), drawn(titles)).maximum > width:
            titles.remove(title)
    console.print(drawn(titles))
    yield from (line.rstrip() for line in sheet.getvalue().rstrip("\n").split("\n"))


def _rows(clocks: RelatedClocks) -> Iterator[dict[str, str]]:
    """What stands under each title."""
    if not clocks.alignment.on_utc:
        yield {"clock": clocks.alignment.reference_clock, "offset": "reference"}
    for fit in clocks.fits:
        declared, assumed = fit.declared, fit.assumed
        stretch = f" part {fit.stretch}" if fit.stretch else ""
        against = " against UTC" if fit.reference == UTC else ""
        counts = f"{fit.sent_count:,}/{fit.received_count:,}"
        yield {
            "clock": f"{fit.clock}{stretch}{against}",
            "offset": _offset(declared),
            "bound": _bound(_width(declared)),
            "widest": _bound(declared.width_ns_greatest),
            "assumed": _bound(_width(assumed)) if assumed != declared else "",
            "rate ppm": _rate(fit),
            "from/to it": _count(fit.anchor_count, "anchor") if fit.reference == UTC else counts,
        }


def _step_text(step: ClockStep) -> str:
    if step.size_ns_least is None or step.size_ns_greatest is None:
        size = "by an unknown amount"
    else:
        middle_ns = (step.size_ns_least + step.size_ns_greatest) // 2
        size = f"by {format_offset_ns(middle_ns, step.size_ns_greatest - middle_ns)}"
    by = "" if step.is_certain or step.is_given else f" (or {step.rival or 'all others'} was, the other way)"
    return f"{step.clock} was set {size} between its readings {step.earliest_ns} and {step.latest_ns}{by}"


def _notes(clocks: RelatedClocks) -> Iterator[tuple[str, str]]:
    verdict = clocks.verdict
    yield "steps", "none seen" if not verdict.steps else f"{len(verdict.steps):,}"
    for step in verdict.steps:
        yield "step", _step_text(step)
    count = len(verdict.rejected)
    if count:
        assert clocks.messages.ids is not None
        names = [clocks.messages.ids[int(row)] for row in verdict.rejected[:_SHOWN_MAX]]
        more = f" and {count - len(names):,} more; --json names all" if count > len(names) else ""
        yield (
            "rejected",
            f"{_count(count, 'message')} contradict the others and were not believed: {_listed(names)}{more}",
        )
    else:
        yield "rejected", "no message"
    if len(verdict.unsorted):
        yield (
            "unsorted",
            f"{_count(len(verdict.unsorted), 'message')} too near a step to tell which side of it they were",
        )
    groups = verdict.components
    if len(groups) > 1:
        yield "not related", f"{len(groups)} groups of clocks that no message links; offsets between them are unknown"
        for number, group in enumerate(groups, 1):
            more = f" and {len(group) - _SHOWN_MAX:,} more" if len(group) > _SHOWN_MAX else ""
            yield f"group {number}", _listed(group[:_SHOWN_MAX]) + more
    for clock, grain in clocks.grains.items():
        if grain.source == "detected":
            text = f"{clock} is cut to {_grain_text(grain.resolution_ns)}, as all of its stamps are"
            yield "resolution", f"{text}; --resolution {clock}=0 says they are exact"
        else:
            what = f"cut to {_grain_text(grain.resolution_ns)}" if grain.resolution_ns else "exact"
            yield "resolution", f"{clock} is {what}, as asked"
    wanders = [fit.wander_ppm for fit in clocks.fits if fit.wander_ppm is not None]
    if wanders:
        yield "assumed", f"bounds assume that no rate changes by more than {max(wanders):.3g} ppm"
    for finding in clocks.alignment.findings:
        yield "FINDING", finding.text
    for problem in clocks.problems:
        yield "PROBLEM", problem
    yield from set_aside_notes(clocks)


def set_aside_notes(clocks: RelatedClocks) -> Iterator[tuple[str, str]]:
    """Why rows were set aside, and the first of them."""
    for reason, count in clocks.set_aside.reasons.most_common(_SHOWN_MAX):
        yield "set aside", f"{_count(count, 'row')}: {reason}"
    if clocks.set_aside.examples:
        yield "the first", _listed([row.place for row in clocks.set_aside.examples])


def _wrapped(title: str, text: str, columns: int) -> list[str]:
    return wrap_titled(f"{title:<12}", text, max(columns, _COLUMNS_MIN))


def _offset(offset: OffsetInterval) -> str:
    least, estimate, greatest = offset.least_ns, offset.estimate_ns, offset.greatest_ns
    if least is None and greatest is None:
        return "unknown"
    if least is None or greatest is None:
        sign, value = ("≥", least) if least is not None else ("≤", greatest)
        return f"{sign} {format_offset_ns(value, 0).rpartition(' ')[0]}"
    assert estimate is not None
    return format_offset_ns(estimate, (greatest - least + 1) // 2).partition(" ±")[0]


def _width(offset: OffsetInterval) -> int | None:
    if offset.least_ns is None or offset.greatest_ns is None:
        return None
    return offset.greatest_ns - offset.least_ns


def _bound(width_ns: int | None) -> str:
    return "unknown" if width_ns is None else format_bound_ns((width_ns + 1) // 2)


def _rate(fit: ClockFit) -> str:
    if not fit.trusted:
        return "contradicted"
    if fit.rate_ppm is None:
        return "unknown"
    far = max(fit.rate_ppm_greatest - fit.rate_ppm, fit.rate_ppm - fit.rate_ppm_least)
    return f"{fit.rate_ppm:+.1f} ±{far:.0f}" if far >= 10 else f"{fit.rate_ppm:+.2f} ±{far:.2f}"


def _grain_text(ns: int) -> str:
    """Exactly: `1 ms`, `15.625 ms`."""
    unit, size = next((unit, size) for unit, size in _UNITS_NS if ns >= size)
    whole, part = divmod(ns, size)
    decimals = f"{part:0{len(str(size)) - 1}}".rstrip("0") if part else ""
    return f"{whole:,}.{decimals} {unit}" if decimals else f"{whole:,} {unit}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _listed(names: Any) -> str:
    return ", ".join(names)


# JSON -----------------------------------------------------------------------------------------------------------------


def report_json(clocks: RelatedClocks) -> dict[str, Any]:
    """The same under stable keys; null where unknown."""
    alignment, verdict, ids = clocks.alignment, clocks.verdict, clocks.messages.ids
    assert ids is not None
    return {
        "reference": alignment.reference,
        "reference_clock": alignment.reference_clock,
        "reference_given": clocks.reference_given,
        "rows": {
            "read": clocks.rows_read,
            "messages": len(clocks.messages),
            "anchors": len(clocks.anchors),
            "set_aside": dict(clocks.set_aside.reasons),
        },
        "clocks": [_fit_json(fit) for fit in clocks.fits],
        "steps": [asdict(step) for step in verdict.steps],
        "rejected": [ids[int(row)] for row in verdict.rejected],
        "unsorted": [ids[int(row)] for row in verdict.unsorted],
        "components": [list(group) for group in verdict.components],
        "resolutions": {clock: grain._asdict() for clock, grain in clocks.grains.items()},
        "findings": [
            {"kind": finding.kind, "clock": finding.clock, "count": finding.count, "text": finding.text}
            for finding in alignment.findings
        ],
        "problems": list(clocks.problems),
    }


def _fit_json(fit: ClockFit) -> dict[str, Any]:
    return {
        "clock": fit.clock,
        "against": fit.reference,
        "stretch": fit.stretch,
        "trusted": fit.trusted,
        "reading_ns": fit.reading_ns,
        "offset_declared_ns": _interval_json(fit.declared),
        "offset_assumed_ns": _interval_json(fit.assumed),
        "width_ns": [fit.declared.width_ns_least, fit.declared.width_ns_greatest],
        "width_assumed_ns": [fit.assumed.width_ns_least, fit.assumed.width_ns_greatest],
        "rate_ppm": fit.rate_ppm,
        "rate_ppm_least": fit.rate_ppm_least,
        "rate_ppm_greatest": fit.rate_ppm_greatest,
        "wander_ppm": fit.wander_ppm,
        "wander_ppm_consistent": fit.wander_ppm_consistent,
        "sent_count": fit.sent_count,
        "received_count": fit.received_count,
        "anchor_count": fit.anchor_count,
    }


def _interval_json(offset: OffsetInterval) -> list[int | None]:
    return [offset.least_ns, offset.estimate_ns, offset.greatest_ns]
