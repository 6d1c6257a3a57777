"""The Dask engine on a real scheduler and real workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from coeval.executor import Executor
from coeval.testing import EngineContract

if TYPE_CHECKING:
    from tests.services.conftest import DaskCluster


class TestDask(EngineContract):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_cluster(cls, dask_cluster: DaskCluster) -> None:
        cls.engine = dask_cluster.url
        # Dask keeps a few threads and descriptors of its own from its first use on.
        with Executor(cls.engine) as warm:
            list(warm.map(str, range(4)))
