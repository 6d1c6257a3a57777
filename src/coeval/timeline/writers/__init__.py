"""A timeline in other programs' formats: one file for each."""

from typing import TYPE_CHECKING

# Nothing is imported before it is used: whoever writes one format waits for no other.
if TYPE_CHECKING:
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

_HOMES = {
    "_csv": ("write_csv",),
    "_jsonl": (
        "call_json",
        "event_json",
        "instant_json",
        "write_jsonl",
    ),
    "_otlp": (
        "WrittenOtlp",
        "write_otlp",
    ),
    "_parquet": ("write_parquet",),
    "_perfetto": (
        "Written",
        "write_perfetto",
    ),
    "_perfetto_archive": (
        "ArchivedTrace",
        "write_perfetto_archive",
    ),
    "_sqlite": ("write_sqlite",),
    "_text": ("write_text",),
}

# Hidden from type checkers, which would otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:
    from coeval._lazy_names import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, globals(), _HOMES)
