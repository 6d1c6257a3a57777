"""A merge on a real Dask cluster of two workers gives what it gives here, also when one of them is killed half way."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle

import coeval
from coeval import Retry
from coeval.timeline.merge import merge
from tests.timeline.merge import worlds
from tests.timeline.merge.worlds import CLOCKS, OneWorkerDies, write_logs, write_parquet

if TYPE_CHECKING:
    from tests.services.conftest import DaskCluster

# Workers need not be able to import these.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
cloudpickle.register_pickle_by_value(worlds)


def test_a_merge_on_dask_is_the_same_as_here(start_dask: Callable[..., DaskCluster], tmp_path: Path) -> None:
    cluster = start_dask()
    cluster.add_worker()
    cluster.add_worker()
    (tmp_path / "logs").mkdir()
    logs = [path for path in write_logs(tmp_path / "logs") if path.endswith("s1.log")]
    paths = [*write_parquet(tmp_path, 9000), *(f"{path}:clock=s1.parquet" for path in logs)]
    here, there, again = (tmp_path / f"{name}.parquet" for name in ("here", "there", "again"))
    merge(paths, here, clock=CLOCKS)
    with coeval.Executor(cluster.url, retries=Retry(3, on_death=True)) as executor:
        merge(paths, there, clock=CLOCKS, executor=executor)
        assert there.read_bytes() == here.read_bytes()
        for at in (3, 5):  # while parts are scanned, and while blocks are merged
            marker = tmp_path / "logs" / f"died-{at}"
            merge(paths, again, clock=CLOCKS, executor=OneWorkerDies(executor, marker, at), overwrite=True)
            assert marker.exists()
            assert again.read_bytes() == here.read_bytes()
