"""The picture of clocks: what is in it, and that it is one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coeval.timeline._clock_curves import Band, ClockCurve, Curves, Dots, StepMark
from coeval.timeline.writers._clock_picture import CLOCKS_MAX, clock_figure, write_clock_picture

AT = np.linspace(0, 600e9, 50)


def band(middle: np.ndarray[tuple[int], np.dtype[np.float64]], half_ns: float) -> Band:
    return Band(middle - half_ns, middle, middle + half_ns)


def curve(name: str, steps: tuple[StepMark, ...] = ()) -> ClockCurve:
    middle = AT * 1e-6
    dots = (Dots(AT, middle - 3e5, True), Dots(AT, middle + 3e5, False))
    return ClockCurve(name, "a", 2_501_000_000, AT, band(middle, 2e5), band(middle, 1e5), dots, steps)


STEP = StepMark(200e9, 210e9, 300_000_000)


def drawn(*clocks: ClockCurve) -> Figure:
    return clock_figure(Curves("clock a", 1_790_000_000 * 10**9, True, clocks))


def lines(axes: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): list(map(float, np.asarray(line.get_ydata()))) for line in axes.get_lines()}


def test_each_clock_has_its_offset_and_below_it_its_bound() -> None:
    figure = drawn(curve("b", (STEP,)), curve("c"))
    assert figure.get_suptitle() == "Clocks against clock a"
    assert len(figure.axes) == 4
    offset, bound = figure.axes[:2]
    assert offset.get_title(loc="left") == "b   against a"
    assert offset.get_ylabel() == "offset less 2.501 s\n(ms)"
    assert bound.get_ylabel() == "bound\n(± µs)"
    assert figure.axes[3].get_xlabel() == "time since 2026-09-21 14:13:20.000Z (min)"
    found = lines(offset)
    assert found["estimate"] == pytest.approx(list(AT * 1e-6 / 1e6))
    assert found["message to the reference: at least"] == pytest.approx(list((AT * 1e-6 - 3e5) / 1e6))
    assert "step" in found
    assert [text.get_text() for text in offset.texts] == ["+300 ms"]
    halves = [list(np.asarray(line.get_ydata())) for line in bound.get_lines()[:2]]
    assert halves[0] == pytest.approx([200.0] * 50)
    assert halves[1] == pytest.approx([100.0] * 50)
    bands = [collection.get_label() for collection in offset.collections]
    assert bands == ["declared bounds", "assumed bounds"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(legend) == len(set(legend)) == 6


def test_what_is_not_known_says_so() -> None:
    nothing = np.full(50, np.nan)
    unknown = replace(curve("b"), declared=Band(*[nothing] * 3), assumed=Band(*[nothing] * 3), dots=())
    offset, bound = drawn(unknown).axes
    assert [text.get_text() for text in (*offset.texts, *bound.texts)] == ["unknown", "unknown"]
    offset, bound = drawn(replace(unknown, dots=curve("b").dots)).axes
    assert [text.get_text() for text in (*offset.texts, *bound.texts)] == [
        "unknown: what messages say is all there is",
        "unknown",
    ]
    low, high = offset.get_ylim()
    values = lines(offset)["message from it: at most"]
    assert low < min(values) < max(values) < high


def test_one_sided_bounds_are_drawn_to_the_edge() -> None:
    middle = AT * 1e-6
    one_sided = Band(np.full(50, np.nan), middle, middle)
    offset, _ = drawn(replace(curve("b"), declared=one_sided, assumed=one_sided, dots=())).axes
    (shape,) = offset.collections
    low = offset.get_ylim()[0]
    assert min(vertex[1] for vertex in np.asarray(shape.get_paths()[0].vertices)) <= low


def test_too_many_clocks_are_left_out_by_number() -> None:
    figure = drawn(*(curve(f"clock {number}") for number in range(CLOCKS_MAX + 2)))
    assert len(figure.axes) == 2 * CLOCKS_MAX
    assert "(2 more clocks are not drawn)" in figure.get_suptitle()
    with pytest.raises(ValueError, match="there is no clock to draw"):
        drawn()


@pytest.mark.parametrize("count", [1, 5])
def test_the_file_is_a_picture(tmp_path: Path, count: int) -> None:
    curves = Curves("clock a", 0, False, tuple(curve(f"clock {number}", (STEP,)) for number in range(count)))
    for kind in ("png", "svg"):
        with open(tmp_path / f"clocks.{kind}", "wb") as file:
            write_clock_picture(curves, file, kind)
    pixels = matplotlib.image.imread(tmp_path / "clocks.png")
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 800
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50
    assert ElementTree.parse(tmp_path / "clocks.svg").getroot().tag.endswith("svg")


def test_without_matplotlib_it_names_what_to_install() -> None:
    program = """
import sys
sys.modules["matplotlib"] = None
from coeval.errors import MissingExtra
from coeval.timeline.writers._clock_picture import clock_figure
from coeval.timeline._clock_curves import Curves
try:
    clock_figure(Curves("a", 0, False, ()))
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "drawing needs matplotlib; install it with: pip install 'coeval[plot]'\n"
