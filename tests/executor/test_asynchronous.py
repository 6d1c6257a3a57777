"""The executor from an event loop."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path

import pytest

from coeval.executor import Executor


def test_a_call_is_awaited_and_its_exception_raised() -> None:
    async def main() -> None:
        with Executor("local:1") as ex:
            assert await ex.run(divmod, 7, 2) == (3, 1)
            with pytest.raises(ZeroDivisionError):
                await ex.run(divmod, 1, 0)

    asyncio.run(main())


def test_calls_run_at_once_while_the_loop_goes_on() -> None:
    async def main() -> list[int]:
        with Executor("local:2") as ex:
            return await asyncio.gather(*(ex.run(abs, -n) for n in range(20)))

    assert asyncio.run(main()) == list(range(20))


def test_amap_is_lazy_bounded_and_in_order() -> None:
    read: list[int] = []

    def note(number: int) -> int:
        read.append(number)
        return number

    async def main() -> list[int]:
        got: list[int] = []
        with Executor("local:2") as ex:
            results = ex.amap(abs, map(note, itertools.count()), buffersize=5)
            assert read == []
            async for value in results:
                got.append(value)
                assert len(read) <= len(got) + 5
                if len(got) == 30:
                    break
            await results.aclose()  # type: ignore[attr-defined]
        return got

    assert asyncio.run(main()) == list(range(30))


def test_cancelling_the_task_cancels_a_call_that_waits_and_leaves_one_that_runs(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    os.mkfifo(pid_file)

    def hold() -> str:
        pid_file.write_text(str(os.getpid()))
        signal.sigwait([signal.SIGUSR1])
        return "went on"

    async def main() -> None:
        with Executor("local:1") as ex:
            signal_blocked = ex.submit(signal.pthread_sigmask, signal.SIG_BLOCK, [signal.SIGUSR1])
            await asyncio.wrap_future(signal_blocked)
            running = ex.submit(hold)
            pid = int(await asyncio.to_thread(pid_file.read_text))
            waiting = asyncio.ensure_future(ex.run(abs, -1))
            await asyncio.sleep(0)  # lets it submit
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            os.kill(pid, signal.SIGUSR1)
            assert await asyncio.wrap_future(running) == "went on"
            assert ex.statistics().cancelled + ex.statistics().waiting == 1

    asyncio.run(main())
