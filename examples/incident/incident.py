"""
What happened first? Two services on hosts whose clocks and zones are wrong fail one after the other.

    python examples/incident/incident.py [FOLDER]

Starts `shop` (its clock 2.4 s ahead, in Berlin) and `stock` (0.8 s behind and slow by 60 ppm, in New York), sends
customers, deploys a bad version of `stock` in the middle, and leaves what both wrote down in FOLDER: access logs,
application logs, spans, a table. Then it has `coeval merge` make one timeline of it, and compares every claim of order
with the truth, which is known: whoever made the clocks wrong can tell what each reading really meant.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from coeval import Timeline, open_timeline
from coeval.testing import Skew, SkewedHost, Truth

HERE = Path(__file__).resolve().parent
CUSTOMERS = 60
DEPLOY_AFTER = 30

HOSTS = {
    "shop": (Skew(wall_offset_ns=2_400_000_000), "Europe/Berlin"),
    "stock": (Skew(wall_offset_ns=-800_000_000, wall_rate_ppb=-60_000), "America/New_York"),
}

# What nobody can read off the files: whose clock wrote which, in which zone, and which lines are two ends of one
# message. Written once, kept beside the logs.
PROJECT = """\
[source."shop*"]
clock = "shop"

[source."stock*"]
clock = "stock"

[source."shop.log"]
tz = "Europe/Berlin"

[source."stock.log"]
tz = "America/New_York"

# Each order's id, there and back. The spans tell more, but the way back they tell only if each server's span ended
# before its client had the answer; these lines need no such assumption.
[pairs.'message~request=(\\w+) did=(?:sent|received)']
sent = "message~did=sent"
received = "message~did=received"

[pairs.'message~request=(\\w+) did=(?:answered|returned)']
sent = "message~did=answered"
received = "message~did=returned"
"""

SOURCES = (
    *("shop.log", "shop-access.log", "shop-spans.jsonl"),
    *("stock.log", "stock-access.log", "stock-spans.jsonl", "stock.db"),
)
COMMAND = ("merge", *SOURCES, "--reference", "shop", "-o", "all.parquet")

EVENT = re.compile(r"ev-[a-z]+-\d{6}")


def main(folder: Path) -> None:
    truth = make_incident(folder)
    merged = merge(folder)
    print_story(merged)
    judged = judge(merged, truth)
    print(
        f"\n{judged.events} events, {judged.pairs:,} pairs of them, compared with the truth:\n"
        f"ordered wrongly by raw time: {judged.raw_wrong:,}\n"
        f"ordered wrongly by coeval:   {judged.wrong:,}\n"
        f"called unknown by coeval:    {judged.unknown:,} ({judged.unknown / judged.pairs:.1%})\n"
        f"unknown although further apart than both widths: {judged.missed:,}"
    )
    assert judged.wrong == judged.missed == 0


def make_incident(folder: Path) -> dict[str, int]:
    """
    Run the services and the customers.

    Returns:
        When each event really happened, ns since 1970, by its name.
    """
    (folder / "coeval.toml").write_text(PROJECT)
    hosts = {name: SkewedHost(name, skew) for name, (skew, _) in HOSTS.items()}
    try:
        stock = start(hosts["stock"], folder)
        shop = start(hosts["shop"], folder, stock)
        for number in range(CUSTOMERS):
            if number == DEPLOY_AFTER:
                ask(stock, "/deploy", "deploy")
            ask(shop, "/order", f"r{number:04}", f"{number + 1:032x}")
        return {
            line["event"]: truly(hosts[name].truth, line["reading_ns"])
            for name in HOSTS
            for line in map(json.loads, (folder / f"{name}-truth.jsonl").read_text().splitlines())
        }
    finally:
        for host in hosts.values():
            host.end()


def start(host: SkewedHost, folder: Path, stock_port: int = 0) -> int:
    """Start a service on its host; its port."""
    zone = HOSTS[host.name][1]
    command = [sys.executable, str(HERE / "service.py"), host.name, str(folder), "0", str(stock_port)]
    process = host.popen(command, env={**os.environ, "TZ": zone}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().split()
    assert said[:1] == ["up"], f"{host.name} did not come up"
    return int(said[1])


def ask(port: int, path: str, request: str, trace: str = "") -> None:
    headers = {"X-Request-Id": request, "X-Trace-Id": trace}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        urllib.request.urlopen(asked, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()


def truly(truth: Truth, reading_ns: int) -> int:
    return truth.wall.true(reading_ns)


def merge(folder: Path) -> Timeline:
    """Have `coeval merge` make one timeline of what was written."""
    print("$ coeval", *COMMAND, flush=True)
    subprocess.run([sys.executable, "-m", "coeval", *COMMAND], cwd=folder, check=True)
    return open_timeline(folder / "all.parquet")


def print_story(merged: Timeline) -> None:
    """The deploy, and the first errors after it; and what the stamps as written say of it."""
    print(f"\nWhat happened first? ({merged.reference_label})")
    # In the timeline's own order: by estimates, and where those are equal, what caused something before that.
    asked = """
        select at_zone(estimate_ns, 'UTC')::varchar, (latest_ns - earliest_ns) / 2e6, source, level, message
        from timeline where message like 'deploys%' or level = 'ERROR' limit 4
    """
    for when, half_ms, source, level, message in merged.sql(asked).fetchall():
        said = EVENT.sub("", message).partition(" did=")[0].strip()
        print(f"  {when} ±{half_ms:.1f} ms  {source:<9}  {level:<7}  {said}")
    asked = """
        select
            count(*) filter (where sold.raw_ns < deploy.raw_ns),
            count(*) filter (where certain(before(sold, deploy)))
        from timeline sold, timeline deploy
        where deploy.message like 'deploys%' and sold.source = 'shop.log' and sold.message like 'answers 200%'
    """
    ((raw, certain),) = merged.sql(asked).fetchall()
    print(f"Orders served before the deploy: {raw} by the stamps as written; {certain} for certain.")


class Judged(NamedTuple):
    """
    Attributes:
        events, pairs: how many were compared.
        raw_wrong: pairs whose stamps as written are the wrong way round.
        wrong: pairs that coeval claims the wrong order of.
        unknown: pairs that it claims no order of.
        missed: those of them that are further apart than the sum of their widths.
    """

    events: int
    pairs: int
    raw_wrong: int
    wrong: int
    unknown: int
    missed: int


def judge(merged: Timeline, truth: dict[str, int]) -> Judged:
    """Compare every claim with the truth."""
    events = []
    for event in merged:
        name = EVENT.search(json.dumps(event.payload, default=str))
        if name is not None:
            events.append((truth[name[0]], event))
    assert len(events) == len(truth), f"{len(truth)} events happened, and {len(events)} are on the timeline"
    counts = dict.fromkeys(Judged._fields, 0)
    counts["events"] = len(events)
    for (first_ns, first), (second_ns, second) in itertools.combinations(sorted(events, key=lambda pair: pair[0]), 2):
        if first_ns == second_ns:
            continue
        counts["pairs"] += 1
        counts["raw_wrong"] += first["raw_ns"] > second["raw_ns"]
        claim = merged.before(first, second)
        counts["wrong"] += claim is False
        if claim is None:
            counts["unknown"] += 1
            widths = [first.begin.width_ns, second.begin.width_ns]
            counts["missed"] += None not in widths and second_ns - first_ns > sum(filter(None, widths))
    return Judged(**counts)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        given = Path(sys.argv[1]).resolve()
        if given.exists():
            sys.exit(f"{given} is there already; name a new folder, which nothing else gets mixed with")
        given.mkdir(parents=True)
        main(given)
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
