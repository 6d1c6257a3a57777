"""A timeline in other programs' formats: one file for each."""

from coeval.timeline.writers._csv import write_csv
from coeval.timeline.writers._jsonl import call_json, event_json, instant_json, write_jsonl
from coeval.timeline.writers._otlp import WrittenOtlp, write_otlp
from coeval.timeline.writers._parquet import write_parquet
from coeval.timeline.writers._perfetto import Written, write_perfetto
from coeval.timeline.writers._perfetto_archive import ArchivedTrace, write_perfetto_archive
from coeval.timeline.writers._sqlite import write_sqlite
from coeval.timeline.writers._text import write_text

__all__ = [
    "write_jsonl",
    "write_csv",
    "write_otlp",
    "WrittenOtlp",
    "write_text",
    "write_parquet",
    "write_sqlite",
    "write_perfetto",
    "Written",
    "write_perfetto_archive",
    "ArchivedTrace",
    "event_json",
    "call_json",
    "instant_json",
]
