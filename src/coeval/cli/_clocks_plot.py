"""`coeval clocks --plot FILE`: the picture, and what can be wrong with its name."""

from __future__ import annotations

from pathlib import Path

import click

from coeval.cli._output import fail, refuse_overwriting
from coeval.errors import MissingExtra
from coeval.timeline._clock_curves import Curves
from coeval.timeline._target import Target
from coeval.timeline.writers._clock_picture import CLOCKS_MAX, write_clock_picture

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


def check_picture(path: Path, *, force: bool) -> None:
    """End the command where the file would not be written, before anything is read."""
    if path.suffix not in PICTURE_SUFFIXES:
        fail(f"{path} does not say what to draw; expected a name that ends in {', '.join(PICTURE_SUFFIXES)}")
    refuse_overwriting(path, force=force)


def plot_to(path: Path, curves: Curves) -> None:
    """Draw, and say what was drawn."""
    try:
        with Target(path) as file:
            write_clock_picture(curves, file, path.suffix.removeprefix("."))
    except (MissingExtra, ValueError) as error:
        fail(error)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    drawn = min(len(curves.clocks), CLOCKS_MAX)
    left_out = f", {len(curves.clocks) - drawn} left out" if len(curves.clocks) > drawn else ""
    click.echo(f"{drawn} clock{'' if drawn == 1 else 's'} drawn in {path}{left_out}", err=True)
