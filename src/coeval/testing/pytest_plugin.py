"""Pytest fixtures of coeval, registered by its entry point: hosts whose clocks are wrong, and networks of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from coeval.testing._network import Network
from coeval.testing._skew import Skew
from coeval.testing._skewed_host import SkewedHost


class SkewedHosts(Protocol):
    """Makes skewed hosts; arguments and errors are `SkewedHost`'s. All end with the test."""

    def __call__(
        self, name: str, skew: Skew | None = None, *, isolated: bool | None = None, network: Network | str | None = None
    ) -> SkewedHost: ...


@pytest.fixture
def skewed_hosts() -> Iterator[SkewedHosts]:
    """Make hosts whose clocks are wrong: `skewed_hosts("node7", Skew(wall_offset_ns=3_500_000_000))`."""
    with ExitStack() as hosts:

        def make(
            name: str, skew: Skew | None = None, *, isolated: bool | None = None, network: Network | str | None = None
        ) -> SkewedHost:
            return hosts.enter_context(SkewedHost(name, skew, isolated=isolated, network=network))

        yield make


@pytest.fixture
def skewed_network() -> Iterator[Network]:
    """A network without hosts, its links perfect: see `Network.host` and `Network.set`. It ends with the test."""
    with Network() as network:
        yield network
