"""The clocks of a run: how far off each is, how well that is known, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from coeval.alignment import ClockFit
from coeval.cli._ntp import source_facts, sources_json
from coeval.cli._output import (
    format_bound_ns,
    format_duration_ns,
    format_instant,
    format_offset_ns,
    format_utc_offset,
    plain,
    wrap_titled,
)
from coeval.timeline import ClockChange, ClockEntry, OffsetBounds, RunTimeline
from coeval.timeline.writers import instant_json

_TITLE_COLUMNS = 15
_PROCESSES_MAX = 4


def clock_lines(found: RunTimeline, columns: int) -> Iterator[str]:
    """The reference, a table if there are several clocks, and a block for each."""
    entries = found.clocks
    yield f"reference: {found.reference_label}"
    if not entries:
        yield "no process introduced itself in this run: there are no clocks"
        return
    if len(entries) > 1:
        yield ""
        yield from _table(entries)
    for entry in entries:
        yield ""
        yield " ".join(entry.hosts) + (", the reference" if entry.is_reference else "")
        for title, text in _facts(entry):
            yield from wrap_titled(f"  {title:<{_TITLE_COLUMNS - 2}}", text, columns)


def _table(entries: Sequence[ClockEntry]) -> Iterator[str]:
    """One line per clock within 80 columns; what does not fit is in the blocks."""
    yield table_heading()
    yield from map(clock_row, entries)


def table_heading() -> str:
    """What the columns of `clock_row` are."""
    return f"{'host':<20} {'wall clock':>11} {'bound':>9} {'rate ppm':>11} {'messages':>12}  synced"


def clock_row(entry: ClockEntry) -> str:
    """A clock in one line."""
    offset = entry.wall_declared
    sent, received = _message_counts(entry)
    host = "/".join(entry.hosts)
    return plain(
        f"{host if len(host) <= 20 else f'{host[:19]}…':<20} {signed(offset.estimate_ns):>11} "
        f"{format_bound_ns(_half(offset)):>9} {_short_rate(entry):>11} "
        f"{f'{sent:,}/{received:,}' if entry.fits else '':>12}  {entry.synchronised}"
    )


def _facts(entry: ClockEntry) -> Iterator[tuple[str, str]]:
    yield "raw clock", entry.clock
    yield "used by", _users(entry)
    yield "wall clock", _offset(entry)
    for fit in entry.fits:
        yield "rate", _rate_text(fit)
    if entry.fits:
        sent, received = _message_counts(entry)
        yield "messages", f"{sent:,} from it and {received:,} to it bound it{_probes(entry)}"
    yield "bound", _bound(entry)
    for change in entry.changes:
        yield change.kind, change_text(change)
    if not entry.changes:
        yield "steps", "none seen" if entry.wall_at is not None else "unknown: its wall clock was never read"
    yield "zone", _zone(entry)
    yield "synchronised", _synchronised(entry)
    yield from source_facts(entry)
    for clash in entry.clashes:
        yield "CLASH", clash
    for finding in entry.findings:
        yield "FINDING", finding


def _users(entry: ClockEntry) -> str:
    names = [f"{claim.role} {claim.name}" for claim in entry.processes]
    shown = ", ".join(names[:_PROCESSES_MAX])
    more = f" and {len(names) - _PROCESSES_MAX} more" if len(names) > _PROCESSES_MAX else ""
    checked = f"; {entry.checked_count:,} messages checked that they share it" if entry.checked_count else ""
    return f"{len(names)} process{'' if len(names) == 1 else 'es'}: {shown}{more}{checked}"


def _probes(entry: ClockEntry) -> str:
    count = entry.probe_count
    if not count:
        return ""
    if count == 1:
        return "; one of them each way is a probe, which carried no call"
    return f"; {count:,} of them each way are probes, which carried no call"


def _offset(entry: ClockEntry) -> str:
    if entry.is_reference and entry.wall_declared == (0, 0, 0):
        return f"0 by definition: offsets are against the {entry.against}"
    declared, assumed = entry.wall_declared, entry.wall_assumed
    if declared.estimate_ns is None:
        return f"unknown against {_the(entry.against)}: " + (
            "its wall clock was never read" if entry.wall_at is None else "no evidence links the two clocks"
        )
    at = None if entry.wall_at is None else entry.wall_at.estimate_ns
    text = (
        f"{format_offset_ns(declared.estimate_ns, _half(declared))} against {_the(entry.against)}, "
        f"at {format_instant(at, digits=3)}"
    )
    if assumed != declared:
        text += f"; assumed {format_offset_ns(assumed.estimate_ns, _half(assumed))}"
    return text


def _short_rate(entry: ClockEntry) -> str:
    if not entry.fits:
        return ""
    fit = entry.fits[-1]
    if fit.rate_ppm is None:
        return "unknown"
    far = max(fit.rate_ppm_greatest - fit.rate_ppm, fit.rate_ppm - fit.rate_ppm_least)
    return f"{fit.rate_ppm:+.1f} ±{far:.0f}" if far >= 10 else f"{fit.rate_ppm:+.1f} ±{far:.1f}"


def _rate_text(fit: ClockFit) -> str:
    stretch = f"stretch {fit.stretch}: " if fit.stretch else ""
    if not fit.trusted:
        return f"{stretch}not known, its messages contradict each other"
    allowed = f"{_rate(fit.rate_ppm_least)} to {_rate(fit.rate_ppm_greatest)} ppm"
    if fit.rate_ppm is None:
        return f"{stretch}unknown within {allowed}"
    text = f"{stretch}{_rate(fit.rate_ppm)} ppm, certainly {allowed}"
    if fit.wander_ppm is not None:
        text += f"; assumed to change by at most {fit.wander_ppm:.3g} ppm"
        if fit.wander_ppm_consistent is not None:
            text += f", the messages need {fit.wander_ppm_consistent:.3g}"
    if fit.curvature_ppm_s is not None:
        text += f"; and by {fit.curvature_ppm_s:.3g} ppm in a second"
    return text


def _bound(entry: ClockEntry) -> str:
    unplaced = f"{entry.unplaced_count:,} of {entry.event_count:,} events have no bound on some side"
    if entry.width_ns_least is None or entry.width_ns_greatest is None:
        return "unknown" if not entry.unplaced_count else f"unknown: {unplaced}"
    narrowest, widest = (format_bound_ns((width + 1) // 2) for width in (entry.width_ns_least, entry.width_ns_greatest))
    text = f"{narrowest} to {widest} on the times of its {entry.event_count:,} events"
    if widest == "±0":
        text = f"none: the times of its {entry.event_count:,} events are exact on the reference"
    return f"{text}; {unplaced}" if entry.unplaced_count else text


def change_text(change: ClockChange) -> str:
    """How large and when: two instants around it."""
    middle_ns = (change.size_ns_least + change.size_ns_greatest) // 2
    size = format_offset_ns(middle_ns, change.size_ns_greatest - middle_ns)
    began, ended = change.earliest.estimate_ns, change.latest.estimate_ns
    when = f"between {format_instant(began, digits=3)} and {format_instant(ended, digits=3)}"
    if change.kind == "suspend":
        return f"the host slept {size.removeprefix('+')}, {when}"
    return f"the wall clock was set by {size}, {when}"


def _synchronised(entry: ClockEntry) -> str:
    bound = f", within {format_bound_ns(entry.max_error_ns)} of UTC" if entry.max_error_ns is not None else ""
    return f"{entry.synchronised}{bound}{f': {entry.remedy}' if entry.remedy else ''}"


def _zone(entry: ClockEntry) -> str:
    if entry.utc_offset_s is None:
        return "unknown: this host did not say"
    return f"{entry.zone or 'not named'}, {format_utc_offset(timedelta(seconds=entry.utc_offset_s))} from UTC"


def _message_counts(entry: ClockEntry) -> tuple[int, int]:
    return sum(fit.sent_count for fit in entry.fits), sum(fit.received_count for fit in entry.fits)


def signed(ns: int | None) -> str:
    """A duration with its sign; positive: ahead."""
    text = format_duration_ns(ns)
    return f"+{text}" if ns is not None and ns > 0 else text


def _rate(ppm: float | None) -> str:
    return "unknown" if ppm is None else f"{ppm:+.3f}"


def _half(offset: OffsetBounds) -> int | None:
    if offset.least_ns is None or offset.estimate_ns is None or offset.greatest_ns is None:
        return None
    return max(offset.greatest_ns - offset.estimate_ns, offset.estimate_ns - offset.least_ns)


def _the(against: str) -> str:
    return against if against == "UTC" else f"the {against}"


# JSON -----------------------------------------------------------------------------------------------------------------


def clock_json(entry: ClockEntry) -> dict[str, Any]:
    """A clock under stable keys; [least, estimate, greatest] for offsets, null where unknown."""
    return {
        "clock": entry.clock,
        "hosts": list(entry.hosts),
        "is_reference": entry.is_reference,
        "against": entry.against,
        "wall_at": None if entry.wall_at is None else instant_json(entry.wall_at),
        "wall_offset_declared_ns": list(entry.wall_declared),
        "wall_offset_assumed_ns": list(entry.wall_assumed),
        "rates": [_fit_json(fit) for fit in entry.fits],
        "event_count": entry.event_count,
        "unplaced_count": entry.unplaced_count,
        "width_ns_least": entry.width_ns_least,
        "width_ns_greatest": entry.width_ns_greatest,
        "changes": [
            {
                "kind": change.kind,
                "size_ns": [change.size_ns_least, change.size_ns_greatest],
                "earliest": instant_json(change.earliest),
                "latest": instant_json(change.latest),
            }
            for change in entry.changes
        ],
        "zone": entry.zone,
        "utc_offset_s": entry.utc_offset_s,
        "synchronised": entry.synchronised,
        "max_error_ns": entry.max_error_ns,
        "sources": sources_json(entry),
        "remedy": entry.remedy,
        "processes": [claim._asdict() for claim in entry.processes],
        "probe_count": entry.probe_count,
        "checked_count": entry.checked_count,
        "clashes": list(entry.clashes),
        "findings": list(entry.findings),
    }


def _fit_json(fit: ClockFit) -> dict[str, Any]:
    return {
        "against": fit.reference,
        "stretch": fit.stretch,
        "trusted": fit.trusted,
        "sent_count": fit.sent_count,
        "received_count": fit.received_count,
        "anchor_count": fit.anchor_count,
        "rate_ppm": fit.rate_ppm,
        "rate_ppm_least": fit.rate_ppm_least,
        "rate_ppm_greatest": fit.rate_ppm_greatest,
        "rate_bound_ppm": fit.rate_bound_ppm,
        "wander_ppm": fit.wander_ppm,
        "wander_ppm_consistent": fit.wander_ppm_consistent,
        "curvature_ppm_s": fit.curvature_ppm_s,
        "curvature_ppm_s_consistent": fit.curvature_ppm_s_consistent,
    }
