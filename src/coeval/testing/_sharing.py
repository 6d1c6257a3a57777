"""Chapter 4: shared objects. What many calls use is sent once to a host, and is one memory there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coeval.errors import CallNotSendable, WorkerDied
from coeval.testing import _calls as calls
from coeval.testing._gap import may_end_the_process
from coeval.testing._gate import wait_until
from coeval.testing._leaks import memory_files
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor

BLOCK_BYTES = 4 << 20


def block(first: int = 7) -> calls.Block:
    return calls.Block(bytes([first]) + bytes(BLOCK_BYTES - 1))


class Sharing(Subject):
    """Shared objects: one memory for each host."""

    def test_shared_object_arrives_in_place_of_its_handle_wherever_that_is(self, ex: Executor) -> None:
        with ex.share(block()) as shared:
            for args in ((shared,), ([1, (shared,)],), ({"deep": {"deeper": [shared]}},)):
                assert ex.submit(calls.first_bytes, *args).result(self.patience_s) == [7]
            assert ex.submit(calls.first_bytes, 1, named=shared).result(self.patience_s) == [7]
            assert ex.submit(calls.first_bytes, shared, [shared]).result(self.patience_s) == [7, 7]

    def test_function_that_holds_a_handle_has_the_object(self, ex: Executor) -> None:
        with ex.share(block()) as shared:
            assert ex.submit(partial(calls.first_bytes, shared)).result(self.patience_s) == [7]
            assert ex.submit(lambda: calls.first_bytes(shared)).result(self.patience_s) == [7]
            assert list(ex.map(partial(calls.first_bytes, shared), range(9))) == [[7]] * 9

    def test_every_item_of_a_map_has_the_object(self, ex: Executor) -> None:
        with ex.share(block()) as shared:
            for chunksize in (None, 1, 4):
                options: dict[str, Any] = {} if chunksize is None else {"chunksize": chunksize}
                assert list(ex.map(calls.first_bytes, [shared] * 30, range(30), **options)) == [[7]] * 30

    def test_several_objects_in_one_call_are_told_apart(self, ex: Executor) -> None:
        shared = [ex.share(block(number)) for number in range(5)]
        assert ex.submit(calls.first_bytes, *shared).result(self.patience_s) == [0, 1, 2, 3, 4]
        assert ex.submit(calls.first_bytes, *shared[::-2]).result(self.patience_s) == [4, 2, 0]

    def test_shared_object_is_pickled_when_it_is_shared_and_never_again(self, ex: Executor) -> None:
        value = block()
        with ex.share(value) as shared:
            pickled_count = value.pickled_count
            futures = [ex.submit(calls.first_bytes, shared) for _ in range(8 * self.workers)]
            assert [future.result(self.patience_s) for future in futures] == [[7]] * len(futures)
        assert value.pickled_count == pickled_count > 0

    def test_calls_of_one_host_see_one_memory(self, ex: Executor) -> None:
        before = memory_files()
        with ex.share(block()) as shared:
            futures = [ex.submit(calls.where_block_is_on_which_host, shared) for _ in range(8 * self.workers)]
            places = {future.result(self.patience_s) for future in futures}
            hosts = {host for host, _ in places}
            assert len(places) == len(hosts)
            large = {file for file, size in memory_files().items() if size >= BLOCK_BYTES and file not in before}
            assert len(large) <= len(hosts | {calls.which_host()}), "a host has a second copy"

    def test_call_cannot_change_a_shared_object(self, ex: Executor) -> None:
        with ex.share(block()) as shared:
            for _ in range(2 * self.workers):
                error = ex.submit(calls.write_into_block, shared).exception(self.patience_s)
                assert isinstance(error, TypeError)
                assert "read-only" in str(error)
            assert ex.submit(calls.first_bytes, shared).result(self.patience_s) == [7]

    def test_shared_object_stays_as_it_was_when_it_was_shared(self, ex: Executor) -> None:
        content = bytearray(BLOCK_BYTES)
        with ex.share(calls.Block(content)) as shared:
            content[0] = 1
            assert ex.submit(calls.first_bytes, shared).result(self.patience_s) == [0]

    def test_small_object_can_be_shared_too(self, ex: Executor) -> None:
        with ex.share([1, "two"]) as shared:
            assert ex.submit(calls.echo, shared).result(self.patience_s) == (([1, "two"],), {})

    def test_object_that_cannot_be_pickled_is_refused_when_it_is_shared(self, ex: Executor) -> None:
        with pytest.raises(TypeError, match="generator"):
            ex.share(number for number in range(3))

    def test_handle_of_a_freed_object_is_refused(self, ex: Executor) -> None:
        with ex.share(block()) as shared:
            assert ex.submit(calls.first_bytes, shared).result(self.patience_s) == [7]
        error = ex.submit(calls.first_bytes, shared).exception(self.patience_s)
        assert isinstance(error, CallNotSendable)
        assert "share it again" in str(error)

    def test_call_that_begins_after_its_object_was_freed_fails_alone_and_says_so(
        self, ex: Executor, tmp_path: Path
    ) -> None:
        gate = self.gate(tmp_path)
        before = self.occupy(ex, gate)
        with ex.share(block()) as shared:
            late = ex.submit(calls.first_bytes, shared)
        after = ex.submit(calls.square, 3)
        gate.open()
        error = late.exception(self.patience_s)
        assert isinstance(error, CallNotSendable)
        assert "freed" in str(error)
        assert [future.result(self.patience_s) for future in before] == list(range(self.workers))
        assert after.result(self.patience_s) == 9

    def test_call_that_has_the_object_keeps_it_to_its_end(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        with ex.share(block()) as shared:
            running = ex.submit(calls.first_bytes_behind_gate, gate, shared)
            gate.wait_for_arrivals(1)
        with ex.share(block(8)) as other:
            assert self.workers == 1 or ex.submit(calls.first_bytes, other).result(self.patience_s) == [8]
            gate.open()
            assert running.result(self.patience_s) == [7]

    def test_memory_of_freed_objects_does_not_add_up(self, ex: Executor) -> None:
        def held() -> int:
            return sum(size for file, size in memory_files().items() if size >= BLOCK_BYTES and file not in before)

        before = memory_files()
        for number in range(20):
            with ex.share(block(number)) as shared:
                futures = [ex.submit(calls.first_bytes, shared) for _ in range(self.workers)]
                assert [future.result(self.patience_s) for future in futures] == [[number]] * self.workers
        del shared
        assert wait_until(lambda: held() <= 4 * BLOCK_BYTES, self.patience_s), f"{held():,} bytes"

    @may_end_the_process
    def test_worker_that_replaces_a_killed_one_has_the_object(self, ex: Executor) -> None:
        with ex.share(block()) as shared:
            for _ in range(self.workers):
                assert isinstance(ex.submit(calls.die_with_block, shared).exception(self.patience_s), WorkerDied)
            futures = [ex.submit(calls.first_bytes, shared) for _ in range(4 * self.workers)]
            assert [future.result(self.patience_s) for future in futures] == [[7]] * len(futures)

    def test_executor_that_is_closed_first_leaves_nothing_of_it(self) -> None:
        before = memory_files()
        with self.executor() as own:
            shared = own.share(block())
            assert own.submit(calls.first_bytes, shared).result(self.patience_s) == [7]
        assert wait_until(
            lambda: not [file for file, size in memory_files().items() if size >= BLOCK_BYTES and file not in before],
            self.patience_s,
        )
        shared.free()
        shared.free()
