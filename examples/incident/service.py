"""
One service of the incident: `shop`, which customers ask, or `stock`, which the shop asks. Standard library only.

    python service.py ROLE FOLDER PORT [PORT_OF_STOCK]

What it writes is what such services write, by the clock and in the zone of the host it runs on:

    ROLE-access.log   Nginx's combined format, local time in seconds, and the request's id
    ROLE.log          Python's logging, local time in milliseconds, no zone
    ROLE-spans.jsonl  OTLP JSON, ns since 1970
    stock.db          (stock) a table of reservations, ms since 1970

Beside it `ROLE-truth.jsonl` keeps, for each event, the full reading of the clock that its stamp was cut from: whoever
set the clock can tell from that when it really was.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SPAN_KIND = {"SERVER": 2, "CLIENT": 3}


class Books:
    """All that one service writes down, each stamp from one reading of the clock."""

    def __init__(self, role: str, folder: Path) -> None:
        self.role = role
        self._lock = threading.Lock()
        self._count = 0
        # Open as long as the service runs, which is until it is killed.
        self._access, self._spans, self._truth = (
            open(folder / f"{role}{suffix}", "w", buffering=1)  # noqa: SIM115
            for suffix in ("-access.log", "-spans.jsonl", "-truth.jsonl")
        )
        handler = logging.FileHandler(folder / f"{role}.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._logger = logging.getLogger(role)
        self._logger.addHandler(handler)
        self._logger.setLevel(logging.INFO)
        self._database = None
        if role == "stock":
            self._database = sqlite3.connect(folder / "stock.db", check_same_thread=False)
            self._database.execute("create table reservations (at_ms integer, request text, item text, event text)")

    def _event(self, reading_ns: int) -> str:
        """A name for an event, and the truth about it."""
        self._count += 1
        name = f"ev-{self.role}-{self._count:06}"
        self._truth.write(json.dumps({"event": name, "reading_ns": reading_ns}) + "\n")
        return name

    def log(self, level: int, text: str, request: str = "", did: str = "") -> None:
        with self._lock:
            now_ns = time.time_ns()
            words = [text, *([f"request={request}"] if request else []), *([f"did={did}"] if did else [])]
            record = self._logger.makeRecord(self.role, level, "", 0, " ".join([*words, self._event(now_ns)]), (), None)
            # Just as logging does, but from the reading that the truth is kept of.
            record.created, record.msecs = now_ns / 1e9, float(now_ns // 10**6 % 1000)
            self._logger.handle(record)

    def access(self, path: str, status: int, request: str) -> None:
        with self._lock:
            now_ns = time.time_ns()
            local = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(now_ns // 10**9))
            name = self._event(now_ns)
            self._access.write(f'127.0.0.1 - - [{local}] "GET {path} HTTP/1.1" {status} 17 "-" "{request} {name}"\n')

    def span(self, name: str, kind: str, ids: tuple[str, str, str], begin_ns: int, end_ns: int) -> None:
        trace, span, parent = ids
        with self._lock:
            record = {
                "traceId": trace,
                "spanId": span,
                "parentSpanId": parent,
                "name": name,
                "kind": SPAN_KIND[kind],
                "startTimeUnixNano": str(begin_ns),
                "endTimeUnixNano": str(end_ns),
                "attributes": [{"key": "event", "value": {"stringValue": self._event(begin_ns)}}],
            }
            resource = {"attributes": [{"key": "host.name", "value": {"stringValue": self.role}}]}
            scopes = [{"scope": {"name": self.role}, "spans": [record]}]
            self._spans.write(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}) + "\n")

    def reserve(self, request: str, item: str) -> None:
        assert self._database is not None
        with self._lock:
            now_ns = time.time_ns()
            row = (now_ns // 10**6, request, item, self._event(now_ns))
            self._database.execute("insert into reservations values (?, ?, ?, ?)", row)
            self._database.commit()


class Service(BaseHTTPRequestHandler):
    books: Books
    stock_port = 0
    is_broken = False
    count = 0

    def do_GET(self) -> None:
        begin_ns = time.time_ns()
        request = self.headers.get("X-Request-Id", "")
        trace, parent = self.headers.get("X-Trace-Id", ""), self.headers.get("X-Span-Id", "")
        type(self).count += 1
        span = f"{self.books.role.encode().hex():0<6.6}{type(self).count:010x}"
        self.books.log(logging.INFO, "asked", request, "received")
        answer = self.shop if self.books.role == "shop" else self.stock
        status = answer(request, (trace, span))
        did = "answered" if self.books.role == "stock" else "served"
        self.books.log(logging.INFO if status == 200 else logging.ERROR, f"answers {status}", request, did)
        self.books.span(f"GET {self.path}", "SERVER", (trace, span, parent), begin_ns, time.time_ns())
        self.send_response(status)
        self.send_header("Content-Length", "0")
        # All is written down when the other side has the answer: after the last one the service may be killed.
        self.books.access(self.path, status, request)
        self.end_headers()

    def shop(self, request: str, ids: tuple[str, str]) -> int:
        """Ask the stock."""
        trace, parent = ids
        span = f"c{parent[1:]}"
        headers = {"X-Request-Id": request, "X-Trace-Id": trace, "X-Span-Id": span}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.stock_port}/reserve", headers=headers)
        self.books.log(logging.INFO, "asks the stock", request, "sent")
        begin_ns = time.time_ns()
        try:
            with urllib.request.urlopen(asked, timeout=10) as response:
                status = int(response.status)
        except urllib.error.HTTPError as error:
            status = error.code
        self.books.span("GET /reserve", "CLIENT", (trace, span, parent), begin_ns, time.time_ns())
        self.books.log(logging.INFO, f"has {status} from the stock", request, "returned")
        return 200 if status == 200 else 502

    def stock(self, request: str, ids: tuple[str, str]) -> int:
        """Reserve an item; after the bad deploy, fail to."""
        if self.path == "/deploy":
            type(self).is_broken = True
            self.books.log(logging.WARNING, "deploys version 1.4.1")
            return 200
        if self.is_broken:
            self.books.log(logging.ERROR, "has no column reservations.shelf")
            return 500
        self.books.reserve(request, f"item {type(self).count}")
        return 200

    def log_message(self, *_: object) -> None:
        """It has an access log."""


def main(role: str, folder: str, port: str, stock_port: str = "0") -> None:
    Service.books, Service.stock_port = Books(role, Path(folder)), int(stock_port)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Service)
    print("up", server.server_address[1], os.getpid(), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
