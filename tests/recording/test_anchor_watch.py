"""Time servers are asked at the start, now and then and at the end of a recording; a bad one is one warning."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from coeval.clocks import SYSTEM_CLOCK, Snapshot
from coeval.clocks._ntp import QUERY_EVERY_S_MIN, TIMEOUT_S, TimeServer
from coeval.errors import ClockWarning
from coeval.recording._anchor_watch import AnchorWatch
from coeval.recording._raw_rows import RawRow
from coeval.testing._gate import wait_until
from tests.ntp_server import NtpServer, honest

PATIENCE_S = 20


class Rows(list[RawRow]):
    """What a watch hands on, without what this host says of itself, which depends on the host."""

    def of_servers(self) -> list[RawRow]:
        return [row for row in self if row[-1].startswith("ntp ")]

    def wait_for(self, count: int) -> None:
        assert wait_until(lambda: len(self.of_servers()) >= count, PATIENCE_S), self


@pytest.fixture
def watching() -> Iterator[Callable[..., tuple[AnchorWatch, Rows]]]:
    watches: list[AnchorWatch] = []

    def watch(*servers: NtpServer, **options: object) -> tuple[AnchorWatch, Rows]:
        rows = Rows()
        asked = [TimeServer("127.0.0.1", server.port) for server in servers]
        watches.append(AnchorWatch(asked, rows.append, **options))  # type: ignore[arg-type]
        return watches[-1], rows

    yield watch
    for watch_ in watches:
        watch_.finish()
    assert not any(thread.name == "coeval-time-servers" for thread in threading.enumerate())


class ClockThatHurries:
    """The system's clocks, but a minute later each time they are read, so that a pause seems long."""

    name = SYSTEM_CLOCK.name

    def __init__(self) -> None:
        self.raw_ns: Callable[[], int] = self._raw_ns
        self.ahead_ns = 0

    def _raw_ns(self) -> int:
        return SYSTEM_CLOCK.raw_ns() + self.ahead_ns

    def snapshot(self) -> Snapshot:
        return SYSTEM_CLOCK.snapshot()


def test_servers_are_asked_at_once_and_each_answer_is_a_row_of_the_driver(
    watching: Callable[..., tuple[AnchorWatch, Rows]],
) -> None:
    with NtpServer() as one, NtpServer() as other:
        began_ns = SYSTEM_CLOCK.raw_ns()
        _, rows = watching(one, other)
        rows.wait_for(2)
    for row in rows.of_servers():
        kind, process, reading_ns, earliest_ns, latest_ns, source = row
        assert (kind, process) == ("anchor", 0)
        assert began_ns < reading_ns < SYSTEM_CLOCK.raw_ns()
        assert earliest_ns < latest_ns
        assert source in (f"ntp 127.0.0.1:{one.port}", f"ntp 127.0.0.1:{other.port}")


def test_they_are_asked_again_and_again(watching: Callable[..., tuple[AnchorWatch, Rows]]) -> None:
    with NtpServer() as server:
        _, rows = watching(server, pauses_s=(0.001, 0.002))
        rows.wait_for(5)
    assert len(server.queries) >= 5


def test_they_are_asked_at_the_end_unless_they_just_were(
    watching: Callable[..., tuple[AnchorWatch, Rows]],
) -> None:
    with NtpServer() as server:
        clock = ClockThatHurries()
        watch, rows = watching(server, clock=clock)
        rows.wait_for(1)
        clock.ahead_ns = round(QUERY_EVERY_S_MIN * 1e9)
        watch.finish()
        assert len(server.queries) == 2
        assert len(rows.of_servers()) == 2

        watch, rows = watching(server)
        rows.wait_for(1)
        watch.finish()
        assert len(server.queries) == 3


def test_a_server_without_a_time_is_one_warning_and_the_others_are_used(
    watching: Callable[..., tuple[AnchorWatch, Rows]],
) -> None:
    with NtpServer() as gone:
        pass
    with NtpServer() as good, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        watch, rows = watching(gone, good, pauses_s=(0.001,))
        rows.wait_for(5)
        watch.finish()
    (warning,) = warned
    assert warning.category is ClockWarning
    reason = "nobody answers at 127.0.0.1 (Connection refused)"
    told = f"time server 127.0.0.1:{gone.port} gives no time: {reason}. The run goes on without it."
    assert str(warning.message) == told


def test_a_warning_that_is_an_error_ends_no_watch(
    watching: Callable[..., tuple[AnchorWatch, Rows]], capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(), NtpServer(lambda query: [honest(query, leap=3)]) as bad, NtpServer() as good:
        warnings.simplefilter("error")
        watch, rows = watching(bad, good, pauses_s=(0.001,))
        rows.wait_for(3)
        watch.finish()
    assert capsys.readouterr().err.count("not synchronised") == 1


def test_the_end_waits_for_a_silent_server_no_longer_than_a_second_and_nothing_comes_after_it(
    watching: Callable[..., tuple[AnchorWatch, Rows]],
) -> None:
    with NtpServer(lambda _: []) as silent:
        watch, rows = watching(silent)
        assert wait_until(lambda: bool(silent.queries), PATIENCE_S)
        began_ns = SYSTEM_CLOCK.raw_ns()
        watch.finish()
        took_s = (SYSTEM_CLOCK.raw_ns() - began_ns) / 1e9
        assert not watch._thread.is_alive()
    assert took_s < TIMEOUT_S
    assert rows.of_servers() == []
