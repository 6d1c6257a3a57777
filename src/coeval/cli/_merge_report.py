"""What `coeval merge` says in the end, in 80 columns, and the same as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from coeval.cli._output import format_duration_ns, plain
from coeval.cli._progress import duration_text

if TYPE_CHECKING:
    from coeval.timeline.merge import MergeReport, SourceReport

_SOURCES_SHOWN = 20
_NAME_COLUMNS = 26


def merge_lines(report: MergeReport, out: Path | str | None, elapsed_ns: int) -> list[str]:
    """
    Lines for people.

    Args:
        out: where it went; None: to standard output.
    """
    lines = _table(report)
    where = f" to {out}" if out is not None else ""
    lines.append(
        f"{report.read:,} read = {report.merged:,} merged{where} + {report.set_aside:,} set aside, "
        f"in {duration_text(elapsed_ns / 1e9)}"
    )
    for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1])[:5]:
        lines.append(f"  {count:,} set aside: {plain(reason)}")
    if report.set_aside_file is not None:
        lines.append(f"  they are in {report.set_aside_file}")
    elif report.set_aside:
        lines.append("  they are kept nowhere; name a file with --set-aside FILE")
    lines.append(f"times: {report.claims.reference_label}, {_groups(report)}")
    total = report.merged - 1
    if total > 0:
        share = 100 * report.neighbours_turned / total
        lines.append(
            f"raw order: {report.neighbours_turned:,} of {total:,} neighbours ({share:.1f} %) are the other way round "
            "there"
        )
    relation = report.relation
    said = [
        *(("evidence", link.text) for link in report.links),
        *(("evidence", verdict.text) for verdict in relation.classes),
        *(("bounds", text) for text in _one_sided(report)),
        *(("finding", finding.text) for finding in relation.alignment.findings),
        *(("problem", problem) for source in report.sources for problem in source.problems),
    ]
    return [*lines, *(line for title, text in said for line in _wrapped(title, text))]


def _wrapped(title: str, text: str) -> list[str]:
    return textwrap.wrap(
        plain(f"{title}: {text}"), 80, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def _groups(report: MergeReport) -> str:
    components = report.relation.components
    if len(components) == 1:
        count = len(components[0].clocks)
        return "one clock" if count == 1 else f"{count} clocks, all related"
    related = len(components[0].clocks)
    apart = sum(len(component.clocks) for component in components[1:])
    return f"{_clocks(related)} placed, {_clocks(apart)} related to none of them"


def _one_sided(report: MergeReport) -> list[str]:
    """Of clocks whose events have one bound only: what is missing, and what would give it."""
    missing = {"earliest": ("latest", "from"), "latest": ("earliest", "to")}
    return [
        f"of clock {state.clock} only the {state.sides} times are known: no message goes {way} it that would bound "
        f"the {other} ones; say one (answered=, --pair) or its offset (--clock)"
        for state in report.relation.components[0].clocks
        if state.sides in missing
        for other, way in (missing[state.sides],)
    ]


def _clocks(count: int) -> str:
    return "1 clock" if count == 1 else f"{count} clocks"


def _table(report: MergeReport) -> list[str]:
    rows = [("source", "format", "events", "aside", "clock", "width")]
    for source in report.sources[:_SOURCES_SHOWN]:
        rows.append(_row(source))
    if left := report.sources[_SOURCES_SHOWN:]:
        events, aside = sum(each.events for each in left), sum(each.set_aside for each in left)
        rows.append((f"{len(left)} more", "", f"{events:,}", f"{aside:,}", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    widths[0], widths[4] = min(widths[0], _NAME_COLUMNS), min(widths[4], 80 - sum(widths[:4]) - 10 - max(widths[5], 5))
    return [
        "  ".join(
            f"{_cut(value, width):>{width}}" if column in (2, 3) else f"{_cut(value, width):<{width}}"
            for column, (value, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(source: SourceReport) -> tuple[str, str, str, str, str, str]:
    clocks = source.clocks[0] if len(source.clocks) == 1 else f"{len(source.clocks)} clocks"
    if not source.events and not source.clocks:
        return plain(source.name), source.reader, "0", f"{source.set_aside:,}", "", ""
    width = "unknown" if source.width_ns is None else format_duration_ns(source.width_ns)
    return plain(source.name), source.reader, f"{source.events:,}", f"{source.set_aside:,}", plain(clocks), width


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else f"{text[: max(0, columns - 1)]}…"


def merge_json(report: MergeReport) -> Mapping[str, object]:
    """The same for programs; integers in ns."""
    return {
        "read": report.read,
        "merged": report.merged,
        "set_aside": report.set_aside,
        "reasons": dict(report.reasons),
        "set_aside_file": None if report.set_aside_file is None else str(report.set_aside_file),
        "reference": report.claims.reference,
        "reference_label": report.claims.reference_label,
        "neighbours_turned": report.neighbours_turned,
        "components": [[state.clock for state in component.clocks] for component in report.relation.components],
        "evidence": [asdict(link) for link in report.links],
        "findings": [finding.text for finding in report.relation.alignment.findings],
        "sources": [
            {
                "name": source.name,
                "format": source.reader,
                "read": source.read,
                "events": source.events,
                "set_aside": source.set_aside,
                "clocks": list(source.clocks),
                "width_ns": source.width_ns,
                "problems": list(source.problems),
            }
            for source in report.sources
        ],
    }
