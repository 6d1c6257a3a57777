"""
Offsets and bounds of clocks over time, drawn by matplotlib: for each clock its offset, and below it how wide the bounds
are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from coeval.errors import MissingExtra
from coeval.timeline._clock_curves import ClockCurve, Curves, Floats
from coeval.timeline._time_text import format_duration_ns, format_instant, format_offset_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More would be too small to read. The widest bounds matter most, but whoever looks expects the order of the table.
CLOCKS_MAX = 48

_UNITS = (("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("min", 60e9), ("h", 3600e9), ("d", 86400e9))
_DECLARED, _ASSUMED, _ESTIMATE, _DOT, _STEP = "#9ec9e8", "#3b8fc4", "#0b2f4a", "#8a8a8a", "#d1493f"
_CELL_INCHES = (7.2, 3.5)


def clock_figure(curves: Curves) -> Figure:
    """
    Draw clocks.

    Raises:
        MissingExtra: matplotlib is not installed.
        ValueError: there is no clock to draw.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingExtra("drawing needs matplotlib; install it with: pip install 'coeval[plot]'") from error
    clocks = curves.clocks[:CLOCKS_MAX]
    if not clocks:
        raise ValueError("there is no clock to draw: none but the reference has any evidence")
    columns = 1 if len(clocks) <= 3 else 2 if len(clocks) <= 12 else 3
    rows = -(-len(clocks) // columns)
    layout = ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.08, hspace=0.06)
    figure = Figure(figsize=(_CELL_INCHES[0] * columns, _CELL_INCHES[1] * rows + 0.9), layout=layout)
    left_out = len(curves.clocks) - len(clocks)
    more = f"  ({left_out} more clocks are not drawn)" if left_out else ""
    figure.suptitle(f"Clocks against {curves.reference}{more}", fontsize=13, fontweight="bold")
    cells = figure.add_gridspec(rows, columns)
    end = max((float(clock.at[-1]) for clock in clocks if len(clock.at)), default=1.0)
    unit, unit_ns = _unit(end)
    since = format_instant(curves.start_ns, digits=3) if curves.is_date else f"{curves.start_ns:,} ns"
    handles: dict[str, Any] = {}
    for number, clock in enumerate(clocks):
        inner = cells[number // columns, number % columns].subgridspec(2, 1, height_ratios=(3, 1.5), hspace=0.02)
        offset = figure.add_subplot(inner[0])
        bound = figure.add_subplot(inner[1], sharex=offset)
        _draw_offset(offset, clock, unit_ns)
        _draw_bound(bound, clock, unit_ns)
        offset.set_xlim(-0.01 * end / unit_ns, 1.01 * end / unit_ns)
        offset.tick_params(labelbottom=False)
        last_of_column = number + columns >= len(clocks)
        bound.set_xlabel(f"time since {since} ({unit})" if last_of_column else "", fontsize=9)
        for handle, label in zip(*offset.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=3 * min(columns, 2),
        fontsize=8.5,
        frameon=False,
    )
    return figure


def write_clock_picture(curves: Curves, file: IO[bytes], kind: str) -> None:
    """
    Draw clocks into a file.

    Args:
        kind: "png", "svg" or "pdf".

    Raises:
        MissingExtra, ValueError: as `clock_figure`.
    """
    clock_figure(curves).savefig(file, dpi=130, format=kind)


def _draw_offset(axes: Axes, clock: ClockCurve, unit_ns: float) -> None:
    x = clock.at / unit_ns
    low, high = _limits(clock)
    unit, size = _unit(max(abs(low), abs(high), high - low))
    least, greatest = _filled(clock.declared.least, 2 * low - high), _filled(clock.declared.greatest, 2 * high - low)
    axes.fill_between(
        x, least / size, greatest / size,
        where=np.isfinite(clock.declared.estimate).tolist(), color=_DECLARED, linewidth=0, label="declared bounds",
    )  # fmt: skip
    if not np.array_equal(clock.assumed.least, clock.declared.least, equal_nan=True):
        axes.fill_between(
            x, clock.assumed.least / size, clock.assumed.greatest / size,
            color=_ASSUMED, linewidth=0, label="assumed bounds",
        )  # fmt: skip
    for dots in clock.dots:
        marker, label = (
            ("v", "message to the reference: at least") if dots.is_least else ("^", "message from it: at most")
        )
        axes.plot(
            dots.at / unit_ns, dots.offset / size, marker, color=_DOT, alpha=0.6,
            markersize=5 if len(dots.at) <= 50 else 2.2, markeredgewidth=0, label=label, zorder=1.5,
        )  # fmt: skip
    marker = "." if len(x) <= 60 else ""
    axes.plot(x, clock.assumed.estimate / size, color=_ESTIMATE, linewidth=1.1, marker=marker, label="estimate")
    _draw_steps(axes, clock, unit_ns, labelled=True)
    margin = 0.08 * (high - low)
    axes.set_ylim((low - margin) / size, (high + margin) / size)
    if not np.isfinite(clock.assumed.estimate).any():
        _say(axes, "unknown: what messages say is all there is" if clock.dots else "unknown", ticks=bool(clock.dots))
    axes.set_ylabel(f"offset{_base(clock.base_ns)}\n({unit})", fontsize=9)
    axes.set_title(f"{_shortened(clock.name)}   against {_shortened(clock.against)}", fontsize=10, loc="left")
    _plain(axes)


def _draw_bound(axes: Axes, clock: ClockCurve, unit_ns: float) -> None:
    x = clock.at / unit_ns
    halves = [clock.declared.half_width, clock.assumed.half_width]
    known = np.concatenate([half[np.isfinite(half) & (half > 0)] for half in halves])
    unit, size = _unit(float(np.median(known)) if len(known) else 1.0)
    axes.plot(x, halves[0] / size, color=_DECLARED, linewidth=1.3)
    if not np.array_equal(halves[0], halves[1], equal_nan=True):
        axes.plot(x, halves[1] / size, color=_ASSUMED, linewidth=1.3)
    if len(known) and known.max() > 20 * known.min():
        axes.set_yscale("log")
    elif len(known):
        axes.set_ylim(0, 1.15 * known.max() / size)
    else:
        _say(axes, "exact" if np.isfinite(halves[0]).any() else "unknown")
    _draw_steps(axes, clock, unit_ns, labelled=False)
    axes.set_ylabel(f"bound\n(± {unit})", fontsize=9)
    _plain(axes)


def _draw_steps(axes: Axes, clock: ClockCurve, unit_ns: float, *, labelled: bool) -> None:
    for number, step in enumerate(clock.steps):
        label = "step" if labelled and not number else None
        axes.axvspan(step.earliest / unit_ns, step.latest / unit_ns, color=_STEP, alpha=0.25, linewidth=0)
        axes.axvline((step.earliest + step.latest) / 2 / unit_ns, color=_STEP, linewidth=1, linestyle="--", label=label)
        if labelled and step.size_ns is not None:
            sign = "+" if step.size_ns > 0 else ""
            axes.annotate(
                f"{sign}{format_duration_ns(step.size_ns)}", ((step.earliest + step.latest) / 2 / unit_ns, 0.5),
                xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
                ha="left", va="center", fontsize=8, color=_STEP,
            )  # fmt: skip


def _say(axes: Axes, text: str, *, ticks: bool = False) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_STEP)
    if not ticks:
        axes.set_yticks([])


def _limits(clock: ClockCurve) -> tuple[float, float]:
    """What the picture has to show: the estimate, and the bounds as far as they are not far wider than usual."""
    estimates = clock.assumed.estimate[np.isfinite(clock.assumed.estimate)]
    if not len(estimates):
        offsets = np.concatenate([np.zeros(0), *(dots.offset for dots in clock.dots)])
        return (float(offsets.min()) - 1.0, float(offsets.max()) + 1.0) if len(offsets) else (-1.0, 1.0)
    halves = clock.declared.half_width
    halves = halves[np.isfinite(halves)]
    room = 0.0
    if len(halves):
        room = min(float(halves.max()), 5 * float(np.median(halves)))
    low, high = float(estimates.min()) - room, float(estimates.max()) + room
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _filled(values: Floats, edge: float) -> Floats:
    """A side that is not known goes beyond what is shown."""
    filled: Floats = np.where(np.isnan(values), edge, values)
    return filled


def _unit(largest_ns: float) -> tuple[str, float]:
    """The unit in which this is a number of one to three digits."""
    fitting = [(unit, size) for unit, size in _UNITS if abs(largest_ns) >= size]
    return fitting[-1] if fitting else _UNITS[0]


def _base(base_ns: int) -> str:
    """What the axis leaves out: ` less 2.501 s`."""
    if not base_ns:
        return ""
    number, unit = format_offset_ns(base_ns, 1).partition(" ±")[0].rsplit(" ", 1)
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f" less {number.removeprefix('+')} {unit}"


def _shortened(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


def _plain(axes: Axes) -> None:
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


__all__: Sequence[str] = ["CLOCKS_MAX", "clock_figure", "write_clock_picture"]
