"""`coeval join`: rows of two timelines that belong together by time, and how sure that is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click

from coeval.cli._data_output import DataOutput, OutputClosed, OutputFailed, OutputRefused, check_output
from coeval.cli._output import fail, refuse_reading_itself
from coeval.cli._pandas import do_without_pandas
from coeval.cli._parameters import Argument, Option

if TYPE_CHECKING:
    import pyarrow as pa

    from coeval.timeline.join._files import JoinInput

Direction = Literal["backward", "forward", "nearest"]
How = Literal["left", "inner"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PART_OF_MEMORY = 2


def join(
    left: Annotated[Path, Argument(metavar="A", help="A timeline: Parquet.")],
    right: Annotated[Path, Argument(metavar="B", help="Where matches come from.")],
    on: Annotated[
        list[str] | None, Option("--on", metavar="KEY", help="A column equal in both; repeat for more.")
    ] = None,
    within: Annotated[str | None, Option("--within", metavar="TIME", help="Farthest apart, as 5ms. [no limit]")] = None,
    direction: Annotated[
        Direction | None, Option("--direction", metavar="WHERE", help="backward, forward or nearest. [backward]")
    ] = None,
    overlap: Annotated[bool, Option("--overlap", help="All pairs of spans that overlap.")] = False,
    window: Annotated[
        str | None,
        Option("--window", metavar="TIME", help="Count what is so near: 5ms, or before and after: 1s,0s."),
    ] = None,
    how: Annotated[
        How | None,
        Option("--how", metavar="HOW", help="left: all rows of A; inner: those with a match."),
    ] = None,
    every: Annotated[bool, Option("--all", help="A row for each possible match.")] = False,
    bound: Annotated[
        str | None, Option("--bound", metavar="TIME", help="No bounds in a file: its times ± TIME.")
    ] = None,
    out: Annotated[
        str, Option("-o", "--out", metavar="OUT", help="OUT.parquet, .jsonl, .csv, or - (JSON lines).")
    ] = "-",
    memory: Annotated[
        str | None, Option("--memory", metavar="SIZE", help="Use about so much, as 2G. [half of it]")
    ] = None,
    force: Annotated[bool, Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    """
    Match rows of two timelines by time, and say which are certain.

    Each row of A gets the row of B before it, after it or nearest to it; or,
    with --overlap or --window, all rows of B that are there at its time.

    \b
      coeval join orders.parquet payments.parquet --on id --within 5ms
      coeval join a.parquet b.parquet --direction nearest -o pairs.parquet
      coeval join a.parquet b.parquet --bound 2ms --how inner -o -
      coeval join requests.parquet jobs.parquet --overlap -o pairs.parquet
      coeval join alarms.parquet logs.parquet --window 1s,0s --all

    A and B are timelines as coeval merge writes them, on one reference, in any
    order. A file with one column of times and no bounds needs --bound.

    \b
    Added to A's columns: B's (with _right where a name is taken), and
      verdict           certain: whatever the true times are within their
                        bounds, this row is the match; possible: for some of
                        them one is; none
      matches_possible  how many rows of B can be the match
    Shown is the match by the estimates. With --overlap, and with --window and
    --all, there is a row for each pair, certain or possible; with --window
    alone, certain_count and possible_count. How many rows of A got which
    verdict is said on standard error.
    """
    do_without_pandas()
    from coeval.errors import CoevalError
    from coeval.timeline.join._files import JoinInput, join_files, parquet_writer
    from coeval.timeline.join._rules import OptionNames, rules_of
    from coeval.timeline.sources._said import parse_duration

    try:
        rules = rules_of(
            tuple(on or ()),
            within=within,
            direction=direction,
            overlap=overlap,
            window=window,
            how=how,
            every=every,
            names=OptionNames("--within", "--direction", "--overlap", "--window", "--how", "--all"),
        )
        bound_ns = None if bound is None else parse_duration(bound, "--bound")
        memory_bytes = _half_of_memory() if memory is None else _size(memory)
        kind = _kind(out)
    except ValueError as error:
        fail(error)
    for path in (left, right):
        if not path.is_file():
            fail(f"{path} is no file; expected a timeline as Parquet")
    target = None if out == "-" else Path(out)
    try:
        if target is not None:
            check_output(target, force=force)
            refuse_reading_itself(target, (left, right))
        if kind == "parquet":
            assert target is not None
            write = parquet_writer(target, memory_bytes)
        else:
            write = _line_writer(target, kind)
        counts = join_files(
            _input(left, bound_ns, JoinInput),
            _input(right, bound_ns, JoinInput),
            rules,
            write,
            memory_bytes=memory_bytes,
            scratch=Path(tempfile.gettempdir()) if target is None else target.parent,
        )
    except OutputClosed:
        raise click.exceptions.Exit(0) from None
    except OSError as error:
        fail(f"{error.filename or out} cannot be read or written: {error.strerror or error}")
    except (CoevalError, OutputRefused, OutputFailed, ValueError) as error:
        fail(error)
    where = "" if target is None else f" in {target} ({target.stat().st_size:,} bytes)"
    click.echo(
        f"{counts.rows:,} rows: {counts.certain:,} certain, {counts.possible:,} possible, {counts.none:,} none; "
        f"{counts.written:,} written{where}",
        err=True,
    )


def _input(path: Path, bound_ns: int | None, make: type[JoinInput]) -> JoinInput:
    """A file, with bounds to be made only if it has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except pa.ArrowInvalid:
        names = []
    return make(path, None if "earliest_ns" in names else bound_ns)


def _kind(out: str) -> Literal["parquet", "jsonl", "csv"]:
    if out == "-":
        return "jsonl"
    suffix = Path(out).suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if suffix == ".csv":
        return "csv"
    if suffix in (".parquet", ".pq"):
        return "parquet"
    raise ValueError(f"{out} says not which format; expected a name that ends in .parquet, .jsonl or .csv, or -")


def _size(text: str) -> int:
    number, unit = text.strip().lower().removesuffix("b").removesuffix("i"), ""
    if number and number[-1] in _UNITS:
        number, unit = number[:-1], number[-1]
    if not number.isdecimal() or not int(number):
        raise ValueError(f"--memory {text!r} is no size; expected a number and a unit, such as 500M or 2G")
    return int(number) * _UNITS[unit]


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _PART_OF_MEMORY


def _line_writer(
    target: Path | None, kind: Literal["jsonl", "csv"] | str
) -> Callable[[Iterable[pa.Table], pa.Schema], int]:
    """What writes rows as lines, to a file or to standard output."""

    def write(tables: Iterable[pa.Table], schema: pa.Schema) -> int:
        import io

        import pyarrow.csv as pv

        from coeval.timeline._target import Target

        count = 0

        def chunks() -> Iterator[list[bytes]]:
            nonlocal count
            if kind == "csv":
                yield [",".join('"' + name.replace('"', '""') + '"' for name in schema.names).encode() + b"\n"]
            for table in tables:
                count += table.num_rows
                if kind == "csv":
                    buffer = io.BytesIO()
                    pv.write_csv(_flat(table), buffer, pv.WriteOptions(include_header=False))
                    yield [buffer.getvalue()]
                else:
                    yield _json_lines(table)

        if target is not None:
            with Target(target) as file:
                for lines in chunks():
                    file.writelines(lines)
            return count
        output = DataOutput.to_standard_output()
        for lines in chunks():
            output.write(lines)
        output.close()
        return count

    return write


def _flat(table: pa.Table) -> pa.Table:
    """Without dictionaries, which CSV cannot have."""
    import pyarrow as pa

    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def _json_lines(table: pa.Table) -> list[bytes]:
    """One object per row; what JSON has no word for is text."""
    import json

    from coeval.timeline._python_rows import python_rows
    from coeval.timeline.writers._json_value import json_value

    return [
        json.dumps(json_value(row), ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        for batch in table.to_batches()
        for row in python_rows(batch)
    ]
