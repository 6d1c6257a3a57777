"""`coeval query`: questions about timelines in SQL."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

from coeval.cli._output import (
    fail,
    parse_zone,
    plain,
    read_timeline,
    refuse_overwriting,
    refuse_reading_itself,
    style_of_output,
)
from coeval.cli._parameters import Argument, Option
from coeval.timeline._python_rows import python_rows
from coeval.timeline._target import Target, as_text
from coeval.timeline.writers._json_value import json_value

if TYPE_CHECKING:
    import duckdb

Format = Literal["table", "jsonl", "csv", "parquet"]

ROWS_SHOWN = 40
# In a table that is wider than the terminal, columns are cut; that of the time, to the ns and with its zone, is not.
_TIME_COLUMNS = len("2026-11-27 12:30:02.400296611+05:30")
_SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def query(
    sql: Annotated[str, Argument(metavar="SQL", help="A SELECT, in DuckDB's SQL.")],
    timelines: Annotated[
        list[Path],
        Argument(metavar="TIMELINE...", help="Run folders, or what merge wrote."),
    ],
    to: Annotated[
        Format | None,
        Option("--to", metavar="FORMAT", help="table, jsonl, csv or parquet. [by OUT's name, else table]"),
    ] = None,
    out: Annotated[Path | None, Option("-o", "--out", metavar="OUT", help="Write here. [standard output]")] = None,
    tz: Annotated[str | None, Option("--tz", metavar="ZONE", help="Show column `time` in this zone. [UTC]")] = None,
    limit: Annotated[int, Option("--limit", least=1, metavar="N", help="So many rows of a table.")] = ROWS_SHOWN,
    force: Annotated[bool, Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    """
    Ask about timelines in SQL. One timeline is the table `timeline`; of
    several, each is a table of its file's name.

    \b
      coeval query "select clock, count(*) from timeline group by 1" all.parquet
      coeval query "select a.line, b.line from web a, db b where a.id = b.id
                    and certain(before(b, a))" web.parquet db.parquet
      coeval query "select time, source, said(timeline) from timeline
                    where said(timeline) like '%error%'" all.parquet -o e.csv

    \b
    Columns of time: time (the estimate); earliest_ns, estimate_ns, latest_ns
    (the truth is between, null: unknown); raw_ns, as written by clock;
    source, line. Beside DuckDB's functions, for aliases of tables a and b:
      before(a, b)     true, false, or null where it is not known
      overlaps(a, b)   likewise, of events with an end
      certain(x)       true only where x is true: what is known for certain
      possible(x)      false only where x is false
      said(a)          what an event says, whatever source it is from
      at_zone(ns, z)   the local time in a zone
    """
    chosen = to or (_SUFFIXES.get(out.suffix, "table") if out is not None else "table")
    zone = parse_zone(tz)
    if chosen == "parquet" and out is None:
        fail("parquet is no text for standard output; name a file with -o")
    if out is not None:
        refuse_overwriting(out, force=force)
        refuse_reading_itself(out, timelines)
    found = [read_timeline(path) for path in timelines]
    names = ["timeline"] if len(found) == 1 else _names(timelines)
    import duckdb

    from coeval.errors import DifferentClocks
    from coeval.timeline._query import ask

    tables = dict(zip(names, found, strict=True))
    try:
        answer = ask(sql, tables, zone)
        if out is not None:
            _write(answer, chosen, out, limit)
        else:
            _print(answer, chosen, sys.stdout, limit)
            sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has seen enough; what is still buffered must not be tried again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except (duckdb.Error, DifferentClocks, ValueError) as error:
        fail(f"the query cannot be answered: {plain(str(error))}")


def _names(paths: list[Path]) -> list[str]:
    """Tables' names from files' names."""
    names = [re.sub(r"\W", "_", path.resolve().name.partition(".")[0]) for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        fail(f"two timelines would be table {twice}; give their files different names")
    return names


def _write(answer: duckdb.DuckDBPyRelation, to: Format, out: Path, limit: int) -> None:
    target = Target(out)
    try:
        with target as file:
            if to == "parquet":
                answer.write_parquet(str(target.partial))
            else:
                with as_text(file) as lines:
                    _print(answer, to, lines, limit)
    except OSError as error:
        fail(f"{out} cannot be written: {error.strerror}")


# The lines of a table where the output has no signs for them, as in the locale C.
_PLAIN_LINES = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")


def _encodable(table: str, encoding: str) -> str:
    """A table as an encoding can have it: drawn with plain lines, and other signs it has not as escapes."""
    try:
        table.encode(encoding)
    except UnicodeEncodeError:
        return table.translate(_PLAIN_LINES).encode(encoding, "backslashreplace").decode(encoding)
    return table


def _print(answer: duckdb.DuckDBPyRelation, to: Format, file: TextIO, limit: int) -> None:
    if to == "table":
        drawn = io.StringIO()
        with redirect_stdout(drawn):
            answer.show(max_rows=limit, max_width=style_of_output().columns, max_col_width=_TIME_COLUMNS)
        file.write(_encodable(drawn.getvalue(), file.encoding))
        return
    import pyarrow as pa

    table = csv.writer(file)
    if to == "csv":
        table.writerow(answer.columns)
    for batch in pa.RecordBatchReader.from_stream(answer):
        for row in python_rows(batch):
            values = {name: json_value(value) for name, value in row.items()}
            if to == "jsonl":
                file.write(json.dumps(values, separators=(",", ":")) + "\n")
            else:
                table.writerow(json.dumps(v) if isinstance(v, (dict, list)) else v for v in values.values())
