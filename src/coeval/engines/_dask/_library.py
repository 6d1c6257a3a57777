"""What we use of Dask. It is typed in parts only, so these are `Any`: here is the border."""

from __future__ import annotations

from typing import Any

import distributed
from distributed import comm, core, protocol
from distributed.client import FuturesCancelledError

Client: Any = distributed.Client
Security: Any = distributed.Security
SpecCluster: Any = distributed.SpecCluster
Scheduler: Any = distributed.Scheduler
Worker: Any = distributed.Worker

get_worker: Any = distributed.get_worker
wait: Any = distributed.wait
Status: Any = core.Status
connect: Any = comm.connect  # type: ignore[attr-defined]
to_serialize: Any = protocol.to_serialize  # type: ignore[attr-defined]

# A task that Dask gave up: too many workers were lost under it, or it was cancelled.
KilledWorker = distributed.KilledWorker
TasksCancelled = FuturesCancelledError
