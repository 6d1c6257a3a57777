"""
Draws the pictures of clocks.md from alignments of virtual clocks.

    python docs/explanation/draw_clocks.py [FOLDER]

Needs matplotlib (the extra `plot`). The same seeds give the same pictures; text stays text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import numpy as np
from matplotlib import pyplot as plt

from coeval.alignment import Alignment, Messages, align
from coeval.clocks import ClockId, Grade, Message
from coeval.testing.virtual import (
    Constant,
    Heavy,
    Light,
    Linear,
    RandomWalk,
    Step,
    TemperatureSine,
    Trace,
    Traffic,
    VirtualNetwork,
)

NEAR, FAR, THIRD = ClockId("near"), ClockId("far"), ClockId("third")
S = 10**9

# Colours that people who see fewer of them tell apart (Okabe and Ito), and that differ in lightness too.
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#555555"

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "coeval",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "lines.linewidth": 1.4,
}
METADATA = {"svg": {"Date": None, "Creator": None}}
WIDTH = 7.5  # inches of 96 CSS pixels: 720


def bounds_us(aligned: Alignment, clock: ClockId, readings: Any, grade: Grade = "declared", origin: int = 0) -> Any:
    """Least, estimate and greatest offset at readings of a clock, in us from an origin."""
    found = aligned.offset(clock, np.asarray(readings, dtype=np.int64), grade)
    return tuple((each - origin) / 1e3 for each in (found.least_ns, found.estimate_ns, found.greatest_ns))


def truth_us(trace: Trace, clock: ClockId, true_ns: Any, origin: int = 0) -> tuple[Any, Any]:
    """Readings of a clock at true times, and how far it was ahead of NEAR then."""
    asked = trace.question(clock, NEAR, np.asarray(true_ns, dtype=np.int64))
    return asked.readings_ns, (asked.readings_ns - asked.middle_ns - origin) / 1e3


def points_us(messages: Messages, origin: int = 0) -> tuple[Any, Any, Any, Any]:
    """Of each message between NEAR and FAR what it says of FAR's offset: (readings, at most), (readings, at least)."""
    near = messages.clocks.index(NEAR)
    forth = messages.sender == near
    at_most = messages.received_ns[forth] - messages.sent_ns[forth] - origin
    at_least = messages.sent_ns[~forth] - messages.received_ns[~forth] - origin
    return messages.received_ns[forth], at_most / 1e3, messages.sent_ns[~forth], at_least / 1e3


def exchange() -> Any:
    """One message, then two: what they say of the offset."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3), width_ratios=(1.25, 1))
    offset = 250
    sent, arrived, answered, back = 100, 200 + offset, 300 + offset, 450
    left.axhline(1, color=BLUE)
    left.axhline(0, color=ORANGE)
    for start, end, up in ((sent, arrived - offset, False), (answered - offset, back, True)):
        left.annotate(
            "",
            (end, 1 if up else 0),
            (start, 0 if up else 1),
            arrowprops={"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0},
        )
    for x, y, text, side in (
        (sent, 1, "sent 100", "center"),
        (back, 1, "received 450", "center"),
        (arrived - offset, 0, "received 450 ", "right"),
        (answered - offset, 0, " sent 550", "left"),
    ):
        left.plot([x], [y], "o", color="black", markersize=4)
        left.annotate(text, (x, y), (0, 7 if y else -15), textcoords="offset points", ha=side, fontsize=9)
    left.text(-10, 1, "near", color=BLUE, fontweight="bold", ha="right", va="center")
    left.text(-10, 0, "far", color=ORANGE, fontweight="bold", ha="right", va="center")
    left.set(xlim=(0, 550), ylim=(-0.35, 1.3), yticks=[], xlabel="true time, µs (nobody knows it)")
    left.spines["left"].set_visible(False)
    left.grid(visible=False)
    trace = Messages.of([Message(NEAR, sent, FAR, arrived), Message(FAR, answered, NEAR, back)])
    one = Messages.of([Message(NEAR, sent, FAR, arrived)])
    for place, messages in enumerate((one, trace)):
        found = align(messages, reference=NEAR, rate_bound_ppm=0).offset(FAR, np.array([500], dtype=np.int64))
        least, greatest = int(found.least_ns[0]), int(found.greatest_ns[0])
        bottom = -60 if least < -1000 else least
        right.bar([place], [greatest - bottom], bottom=bottom, width=0.5, color=SKY, alpha=0.55)
        right.plot([place - 0.25, place + 0.25], [greatest] * 2, color=BLUE)
        right.text(place, greatest + 8, f"at most {greatest}", ha="center", color=BLUE, fontsize=9)
        if least < -1000:
            right.annotate("", (place, -75), (place, 5), arrowprops={"arrowstyle": "-|>", "color": BLUE})
            right.text(place + 0.04, 15, "no bound", ha="center", color=BLUE, fontsize=9)
        else:
            right.plot([place - 0.25, place + 0.25], [least] * 2, color=BLUE)
            right.text(place, least - 24, f"at least {least}", ha="center", color=BLUE, fontsize=9)
    right.axhline(offset, color="black", linestyle="--", linewidth=1)
    right.text(-0.42, offset + 6, "the truth", fontsize=9)
    right.set(
        xticks=[0, 1],
        xticklabels=["the first message", "both: an exchange"],
        xlim=(-0.45, 1.45),
        ylim=(-80, 400),
        ylabel="offset, far minus near, µs",
    )
    return figure


def cone() -> Any:
    """What points say about every reading, while the rate is bounded."""
    network = VirtualNetwork(
        {NEAR: [Constant(0)], FAR: [Constant(0), Linear(30), TemperatureSine(20, 60.0)]},
        [Traffic(NEAR, FAR, 0.12, forth=Heavy(500_000), back=Heavy(500_000), pattern="random")],
        60,
    )
    trace = network.trace(seed=4)
    aligned = align(trace.messages, reference=NEAR, rate_bound_ppm={NEAR: 0, FAR: 100})
    x = np.linspace(0, 60 * S, 241).astype(np.int64)
    least, _, greatest = bounds_us(aligned, FAR, x)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    above_x, above, below_x, below = points_us(trace.messages)
    for at, value in zip(above_x, above, strict=True):
        legs = np.array([0, at, 60 * S])
        axes.plot(legs / S, value + np.abs(legs - at) / S * 100, color=BLUE, linewidth=0.5, alpha=0.45)
    for at, value in zip(below_x, below, strict=True):
        legs = np.array([0, at, 60 * S])
        axes.plot(legs / S, value - np.abs(legs - at) / S * 100, color=ORANGE, linewidth=0.5, alpha=0.45)
    axes.fill_between(x / S, least, greatest, color=SKY, alpha=0.5, linewidth=0, label="what is possible")
    axes.plot(above_x / S, above, "v", color=BLUE, label="forth: at most this")
    axes.plot(below_x / S, below, "^", color=ORANGE, label="back: at least this")
    shown, offset = truth_us(trace, FAR, np.linspace(0, 60 * S - 1, 200))
    axes.plot(shown / S, offset, "--", color="black", label="the truth")
    axes.set(
        xlim=(0, 60), ylim=(-3500, 6200), xlabel="reading of the far clock, s", ylabel="offset, far minus near, µs"
    )
    axes.legend(loc="upper center", ncols=4)
    return figure


def _oscillator(span_s: float, gap: tuple[float, float], seed: int, curvature: float = 1e-9) -> Trace:
    return VirtualNetwork(
        {NEAR: [Constant(0)], FAR: [Constant(0), Linear(30), RandomWalk(curvature)]},
        [Traffic(NEAR, FAR, 2, forth=Heavy(90_000), back=Heavy(90_000), gaps_s=(gap,))],
        span_s,
    ).trace(seed=seed)


def grades() -> Any:
    """Both grades over a silence, with the common rate taken off."""
    trace = _oscillator(600, (200.0, 400.0), 3)
    aligned = align(trace.messages, reference=NEAR)
    figure, (above, below) = plt.subplots(2, 1, figsize=(WIDTH, 5.2), sharex=True)
    for axes, grade, color in ((above, "declared", ORANGE), (below, "assumed", BLUE)):
        x = np.unique(np.concatenate([np.linspace(0, 200, 160), np.linspace(200, 400, 40), np.linspace(400, 600, 160)]))
        readings = (x * S).astype(np.int64)
        drift = readings * 30e-6 / 1e3
        least, estimate, greatest = bounds_us(aligned, FAR, readings, grade)
        axes.fill_between(x, least - drift, greatest - drift, color=color, alpha=0.35, linewidth=0, label=grade)
        axes.plot(x, estimate - drift, color=color, label="estimate")
        shown, offset = truth_us(trace, FAR, np.linspace(0, 600 * S - 1, 150))
        axes.plot(shown / S, offset - shown * 30e-6 / 1e3, "--", color="black", label="the truth")
        axes.set(ylabel="offset less 30 ppm, µs", xlim=(0, 600))
        axes.legend(loc="upper left", ncols=3)
    above.set(ylim=(-22_000, 30_000))
    below.set(ylim=(-700, 700), xlabel="reading of the far clock, s (no messages from 200 s to 400 s)")
    return figure


def parabola() -> Any:
    """The lines that are possible through one reading, once points are moved by the parabola."""
    trace = VirtualNetwork(
        {NEAR: [Constant(0)], FAR: [Constant(0), Linear(30), TemperatureSine(0.4, 200.0)]},
        [Traffic(NEAR, FAR, 0.12, forth=Heavy(90_000), back=Heavy(90_000))],
        600,
    ).trace(seed=9)
    bend = 2e-8 * S  # ns per second, in a second
    above_x, above, below_x, below = points_us(trace.messages)
    above, below = above - above_x * 30e-6 / 1e3, below - below_x * 30e-6 / 1e3
    x0 = 300.0
    above_s, below_s = above_x / S - x0, below_x / S - x0
    raised, lowered = above + bend / 2 * above_s**2 / 1e3, below - bend / 2 * below_s**2 / 1e3
    slopes = np.linspace(-10, 10, 8001)
    ceiling = (raised - slopes[:, None] * above_s).min(axis=1)
    floor = (lowered - slopes[:, None] * below_s).max(axis=1)
    possible = ceiling >= floor
    highest = int(np.argmax(np.where(possible, ceiling, -np.inf)))
    lowest = int(np.argmin(np.where(possible, floor, np.inf)))
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2))
    axes.plot(above_x / S, above, ".", color=BLUE, alpha=0.35, markersize=4, label="forth: at most")
    axes.plot(above_x / S, raised, "v", color=BLUE, markersize=4, label="the same, raised")
    axes.plot(below_x / S, below, ".", color=ORANGE, alpha=0.35, markersize=4, label="back: at least")
    axes.plot(below_x / S, lowered, "^", color=ORANGE, markersize=4, label="the same, lowered")
    line = np.array([0.0, 600.0])
    axes.plot(line, ceiling[highest] + slopes[highest] * (line - x0), color=GREEN, label="highest line at 300 s")
    axes.plot(line, floor[lowest] + slopes[lowest] * (line - x0), color=PURPLE, label="lowest line at 300 s")
    shown, offset = truth_us(trace, FAR, np.linspace(0, 600 * S - 1, 150))
    axes.plot(shown / S, offset - shown * 30e-6 / 1e3, "--", color="black", label="the truth")
    axes.vlines(x0, floor[lowest], ceiling[highest], color="black", linewidth=3)
    axes.set(xlim=(0, 600), ylim=(-1500, 2900), xlabel="reading of the far clock, s", ylabel="offset less 30 ppm, µs")
    axes.legend(loc="upper center", ncols=4, columnspacing=1.0, handletextpad=0.4)
    return figure


def many() -> Any:
    """A third clock narrows the bound between two that hardly speak."""
    network = VirtualNetwork(
        {NEAR: [Constant(0)], THIRD: [Linear(-20)], FAR: [Linear(30)]},
        [
            Traffic(NEAR, FAR, 0.1, forth=Light(5_000_000), back=Light(5_000_000)),
            Traffic(NEAR, THIRD, 3, forth=Light(400_000), back=Light(400_000)),
            Traffic(THIRD, FAR, 3, forth=Light(300_000), back=Light(300_000)),
        ],
        60,
    )
    trace = network.trace(seed=2)
    third = trace.messages.clocks.index(THIRD)
    direct = np.flatnonzero((trace.messages.sender != third) & (trace.messages.receiver != third))
    alone = align(Messages.of(trace.messages[int(row)] for row in direct), reference=NEAR)
    whole = align(trace.messages, reference=NEAR)
    x = np.linspace(0, 60 * S, 181).astype(np.int64)
    drift = x * 30e-6 / 1e3
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6))
    for aligned, color, label in (
        (alone, ORANGE, "near and far alone: 5 ms each way, seldom"),
        (whole, BLUE, "with the third: 0.4 + 0.3 ms each way, often"),
    ):
        least, _, greatest = bounds_us(aligned, FAR, x)
        axes.fill_between(x / S, (least - drift) / 1e3, (greatest - drift) / 1e3, color=color, alpha=0.4, label=label)
    shown, offset = truth_us(trace, FAR, np.linspace(0, 60 * S - 1, 100))
    axes.plot(shown / S, (offset - shown * 30e-6 / 1e3) / 1e3, "--", color="black", label="the truth")
    axes.set(xlim=(0, 60), ylim=(-8, 11), xlabel="reading of the far clock, s", ylabel="offset less 30 ppm, ms")
    axes.legend(loc="upper center", ncols=2)
    return figure


def order() -> Any:
    """How long each message took, by raw stamps, by one middle for all, and by estimates."""
    network = VirtualNetwork(
        {NEAR: [Constant(0)], FAR: [Constant(150_000), Linear(5), RandomWalk(1e-8)]},
        [Traffic(NEAR, FAR, 0.9, forth=Heavy(60_000), back=Heavy(60_000))],
        60,
    )
    trace = network.trace(seed=6)
    messages = trace.messages
    aligned = align(messages, reference=NEAR)
    near = messages.clocks.index(NEAR)
    at = {NEAR: lambda readings: readings, FAR: lambda readings: aligned.instants(FAR, readings).estimate_ns}
    raw = (messages.received_ns - messages.sent_ns) / 1e3
    placed = np.empty(len(messages))
    for rows, sender, receiver in (
        (np.flatnonzero(messages.sender == near), NEAR, FAR),
        (np.flatnonzero(messages.sender != near), FAR, NEAR),
    ):
        placed[rows] = (at[receiver](messages.received_ns[rows]) - at[sender](messages.sent_ns[rows])) / 1e3
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    seconds = trace.sent_true_ns / S
    for axes, took, title in (
        (panels[0], raw, "raw stamps"),
        (panels[1], placed, "estimates"),
    ):
        forth, turned = messages.sender == near, took < 0
        axes.axhspan(-600, 0, color="#F0F0F0")
        axes.axhline(0, color="black", linewidth=1)
        axes.plot(seconds[forth], took[forth], "v", color=BLUE, markersize=3.5, label="forth")
        axes.plot(seconds[~forth], took[~forth], "^", color=ORANGE, markersize=3.5, label="back")
        axes.set(xlabel="true time, s", xlim=(0, 60), ylim=(-600, 2200))
        axes.set_title(f"{title}: {int(turned.sum())} of {len(took)} turned round", fontsize=10)
    panels[0].set(ylabel="received less sent, µs")
    panels[1].legend(loc="upper right", ncols=2)
    return figure


def steps() -> Any:
    """A clock that is set in mid-run, and replies matched with other requests."""
    network = VirtualNetwork(
        {NEAR: [Constant(0)], FAR: [Step(at_ns=30 * S, size_ns=4_000_000)]},
        [Traffic(NEAR, FAR, 1.6, forth=Heavy(300_000), back=Heavy(300_000))],
        60,
    )
    messages = network.trace(seed=1).messages
    # A reply matched with the request after the right one: too fast, by the 3 ms between the two.
    late = np.where(np.arange(len(messages)) % 23 == 7, 3_000_000, 0)
    messages = replace(messages, sent_ns=messages.sent_ns + late)
    aligned = align(messages, reference=NEAR)
    (step,) = aligned.steps
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    for first, last in ((0, step.earliest_ns), (step.latest_ns, 60 * S)):
        x = np.linspace(first, last, 90).astype(np.int64)
        least, _, greatest = bounds_us(aligned, FAR, x)
        axes.fill_between(x / S, least / 1e3, greatest / 1e3, color=SKY, alpha=0.6, linewidth=0)
    forth = messages.sender == messages.clocks.index(NEAR)
    is_rejected = np.zeros(len(messages), dtype=bool)
    is_rejected[aligned.rejected] = True
    readings = np.where(forth, messages.received_ns, messages.sent_ns) / S
    ahead = np.where(forth, messages.received_ns - messages.sent_ns, messages.sent_ns - messages.received_ns) / 1e6
    axes.plot(readings[forth & ~is_rejected], ahead[forth & ~is_rejected], "v", color=BLUE, markersize=3.5)
    axes.plot(readings[~forth & ~is_rejected], ahead[~forth & ~is_rejected], "^", color=ORANGE, markersize=3.5)
    axes.plot(readings[is_rejected], ahead[is_rejected], "x", color="black", markersize=6, label="not used")
    axes.axvspan(step.earliest_ns / S, step.latest_ns / S, color=PURPLE, alpha=0.5, label="the step is here")
    assert step.size_ns_least is not None
    assert step.size_ns_greatest is not None
    axes.annotate(
        f"set by {step.size_ns_least / 1e6:.1f} to {step.size_ns_greatest / 1e6:.1f} ms",
        (step.latest_ns / S, 0.5),
        (8, 0),
        textcoords="offset points",
        fontsize=9,
    )
    axes.set(xlim=(0, 60), ylim=(-5, 9), xlabel="reading of the far clock, s", ylabel="offset, far minus near, ms")
    axes.legend(loc="upper left")
    return figure


PICTURES: dict[str, Callable[[], Any]] = {
    "clocks-exchange": exchange,
    "clocks-cone": cone,
    "clocks-grades": grades,
    "clocks-parabola": parabola,
    "clocks-many": many,
    "clocks-order": order,
    "clocks-steps": steps,
}


def main(folder: Path, *, endings: tuple[str, ...] = ("svg",)) -> None:
    """Write every picture into a folder."""
    with mpl.rc_context(STYLE):
        for name, draw in PICTURES.items():
            figure = draw()
            figure.tight_layout()
            for ending in endings:
                figure.savefig(folder / f"{name}.{ending}", metadata=METADATA.get(ending), dpi=96)
            plt.close(figure)
            if "svg" in endings:
                made = folder / f"{name}.svg"
                # A hundredth of a point is finer than any screen.
                made.write_text(re.sub(r"(\d\.\d\d)\d+", r"\1", made.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
