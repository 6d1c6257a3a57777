"""`coeval clocks`: each clock of a run, or of messages from anywhere: how far off it is, and how well that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click

from coeval.alignment import RATE_BOUND_PPM_DEFAULT
from coeval.cli._clocks_of_run import clock_json, clock_lines
from coeval.cli._ntp import QUERIES_DEFAULT, show_time_servers
from coeval.cli._output import fail, read_run, style_of_output, write_json_lines, write_lines
from coeval.cli._parameters import Argument, Option


def clocks(
    sources: Annotated[
        list[Path] | None,
        Argument(metavar="[RUN|MESSAGES]...", help="A run folder, or CSV or Parquet files."),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="The same as JSON; integers in ns.")] = False,
    plot: Annotated[
        Path | None, Option("--plot", metavar="FILE", help="Draw offsets and bounds over time: .png, .svg.")
    ] = None,
    watch: Annotated[bool, Option("--watch", help="Show a RUN that goes on until it ends.")] = False,
    anchors: Annotated[Path | None, Option(metavar="FILE", help="Readings tied to UTC.")] = None,
    reference: Annotated[
        str | None, Option(metavar="CLOCK", help="Measure against it. [the one with most messages]")
    ] = None,
    rate_bound: Annotated[
        float | None,
        Option(metavar="PPM", help=f"How far a clock's rate may be off. [{RATE_BOUND_PPM_DEFAULT:g}]"),
    ] = None,
    resolution: Annotated[
        list[str] | None,
        Option(metavar="CLOCK=1ms", help="What its stamps are cut to; 0: nothing. [detected]"),
    ] = None,
    at: Annotated[Path | None, Option("--at", metavar="STAMPS", help="Place these stamps.")] = None,
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="OUT", help="Write here: .csv, .parquet or .jsonl for stamps.")
    ] = None,
    set_aside: Annotated[
        Path | None, Option(metavar="FILE", help="Keep rows that cannot be used, as lines of JSON.")
    ] = None,
    force: Annotated[bool, Option("--force", help="Overwrite files.")] = False,
    ntp: Annotated[
        list[str] | None,
        Option("--ntp", metavar="HOST", help="Ask this time server about this host; repeat it for more."),
    ] = None,
    queries: Annotated[
        int, Option(metavar="N", least=1, greatest=100, help="Ask each server so often, 2 s apart.")
    ] = QUERIES_DEFAULT,
) -> None:
    """
    Show each clock: offset, rate, steps, and the bound on each.

    \b
      coeval clocks run
      coeval clocks run --json | jq .wall_offset_declared_ns
      coeval clocks run --watch
      coeval clocks calls.csv replies.csv.gz --plot clocks.png
      coeval clocks calls.parquet --at events.csv -o placed.csv
      coeval clocks --ntp ntp1.example.org --ntp ntp2.example.org

    Of a run, two clocks of a host are told apart. The raw clock stamps;
    nothing sets it; rates and bounds are its. The wall clock is what people
    read; offsets are its, and positive means that it is ahead.

    MESSAGES have the columns sender, receiver, sent_ns, received_ns: a
    reading of the sender's clock that came before one of the receiver's.
    FILE of --anchors: clock, reading_ns, earliest_ns, latest_ns (UTC).
    STAMPS: clock, reading_ns; they come back with earliest_ns, estimate_ns,
    latest_ns on the reference, empty where unknown.

    Declared bounds are true whenever the clocks keep within their rate
    bound. Assumed bounds are narrower and rest on the wander that is named
    with them.

    With --ntp no run is looked at: time servers are asked how far this host's
    wall clock is from UTC, and a false one is named. Exit code then: 0 all
    agree, 1 some are false or silent, 2 nothing can be called UTC.
    """
    if ntp:
        if sources:
            fail(f"--ntp asks about this host now, not about {sources[0]}: leave one of the two out")
        show_time_servers(ntp, queries, as_json=as_json)
    if not sources:
        fail("expected a run folder, files of messages, or time servers to ask with --ntp HOST")
    of_messages = {
        "--anchors": anchors,
        "--reference": reference,
        "--rate-bound": rate_bound,
        "--resolution": resolution,
        "--at": at,
        "--set-aside": set_aside,
        "--out": out,
    }
    if plot is not None:
        from coeval.cli._clocks_plot import check_picture

        check_picture(plot, force=force)
    folders = [source for source in sources if source.is_dir()]
    if folders:
        given = [name for name, value in of_messages.items() if value]
        if len(sources) > 1:
            fail(f"{folders[0]} is a folder; expected one run folder alone, or files of messages")
        if given:
            fail(f"{given[0]} is for files of messages, and {folders[0]} is a folder; leave it out for a run")
        _of_run(folders[0], as_json=as_json, plot=plot, watch=watch)
        return
    if watch:
        fail(f"--watch is for a run folder, and {sources[0]} is none")
    # Imported here: a run needs none of Arrow.
    from coeval.cli._clocks_of_messages import MessageOptions, clocks_of_messages

    options = MessageOptions(
        sources, anchors, reference, rate_bound, resolution or [], at, out, set_aside, plot, as_json, force
    )
    raise click.exceptions.Exit(clocks_of_messages(options))


def _of_run(run: Path, *, as_json: bool, plot: Path | None, watch: bool) -> None:
    if watch:
        from coeval.cli._clocks_watch import watch_clocks

        watch_clocks(run, as_json=as_json)
        return
    found = read_run(run)
    if plot is not None:
        from coeval.cli._clocks_plot import plot_to
        from coeval.timeline._clock_curves import curves_of_run

        plot_to(plot, curves_of_run(found))
    if as_json:
        write_json_lines(map(clock_json, found.clocks))
        return
    write_lines(clock_lines(found, style_of_output().columns))
