"""A timeline in other programs' formats: one file for each."""

from coeval.timeline.writers._parquet import write_parquet
from coeval.timeline.writers._perfetto import write_perfetto

__all__ = ["write_perfetto", "write_parquet"]
