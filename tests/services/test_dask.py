"""The Dask engine on a real scheduler and real workers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import pytest

from coeval.engines.dask import BATCHES_PER_THREAD
from coeval.executor import Executor
from coeval.testing import EngineContract, Gap
from coeval.testing import _calls as calls
from coeval.testing._gate import wait_until

if TYPE_CHECKING:
    from tests.services.conftest import DaskCluster


# So that no worker waits for the network, calls are sent ahead of time, short ones several together; what was sent is
# running for the executor and cannot be cancelled.
SENT_AHEAD = Gap("never", "calls are sent ahead of time, and what was sent cannot be cancelled")


class TestDask(EngineContract):
    gaps: ClassVar = {
        "test_shutdown_cancels_what_waits_when_asked": SENT_AHEAD,
        "test_interrupted_with_block_cancels_what_waits_and_ends_what_runs": SENT_AHEAD,
    }

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_cluster(cls, dask_cluster: DaskCluster) -> None:
        cls.engine = dask_cluster.url
        # Dask keeps a thread for large messages from the first of them on.
        with Executor(cls.engine) as warm:
            assert len(warm.submit(bytes, 20 << 20).result()) == 20 << 20

    @pytest.fixture(autouse=True)
    def _what_was_sent_ahead_is_done(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Before the contract looks whether a behaviour left calls behind."""
        shared: Executor | None = request.getfixturevalue("ex") if "ex" in request.fixturenames else None
        yield
        if shared is not None:
            wait_until(lambda: shared.statistics().running == 0, self.patience_s)

    def test_closing_the_iterator_cancels_what_waits(self, tmp_path: Path) -> None:  # type: ignore[override]
        """As in the contract, but for what was sent ahead."""
        gate = self.gate(tmp_path)
        count = 1000
        with self.executor() as own:
            try:
                results = own.map(calls.pass_gate, [gate] * count, buffersize=count)
                gate.wait_for_arrivals(self.workers)
                cast(Generator[None], results).close()
            finally:
                gate.open()
        assert len(gate.arrived()) <= own_window(self.workers)
        assert own.statistics().cancelled >= count - own_window(self.workers)


def own_window(threads: int) -> int:
    return BATCHES_PER_THREAD * threads
