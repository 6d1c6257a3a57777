"""The engine contract: every behaviour of every chapter, one test each, unchanged for every engine."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from coeval.testing import _calls as calls
from coeval.testing._faults import Faults
from coeval.testing._futures import Futures
from coeval.testing._gap import Gap, expected_to_fail
from coeval.testing._gate import wait_until
from coeval.testing._leaks import SETTLE_S, Holdings, check_nothing_beyond, holdings, leaks
from coeval.testing._limits import Limits
from coeval.testing._map import Map
from coeval.testing._records import Records
from coeval.testing._seeing import Seeing
from coeval.testing._sharing import Sharing
from coeval.testing._subject import Subject
from coeval.testing._travel import Travel

if TYPE_CHECKING:
    from coeval.executor import Executor

CHAPTERS: tuple[type[Subject], ...] = (Futures, Map, Travel, Sharing, Faults, Limits, Records, Seeing)
"""The behaviours by subject: each class's docstring is its title, each `test_` method a behaviour."""


class EngineContract(Futures, Map, Travel, Sharing, Faults, Limits, Records, Seeing):
    """
    What every engine does, as a pytest class. Name the engine in a subclass whose name starts with `Test`.

    Behaviours that can share an executor do: it is made once for the class, and again after a behaviour that broke it.
    After each behaviour nothing may be left behind, and the shared executor must take new calls.

    Assumes Linux, and that workers and the test see one file system.

    Attributes:
        engine: the engine's URL; or override `executor` (and `executor_expression`, for behaviours of whole programs).
        workers: how many calls the engine runs at once.
        patience_s: how long to wait for what may never come.
        gaps: behaviours that the engine lacks, by the name of their test. Each still runs, and is expected to fail.

    Raises:
        ValueError: a gap names no behaviour (when the class is made).
    """

    gaps: ClassVar[Mapping[str, Gap]] = {}

    _shared: ClassVar[Executor | None] = None
    _before_shared: ClassVar[Holdings | None] = None
    _with_shared: ClassVar[Holdings | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        known = [name for name in dir(EngineContract) if name.startswith("test_")]
        for name, gap in cls.gaps.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{cls.__name__}.gaps: {name!r} is no behaviour of the engine contract.{meant}")
            setattr(cls, name, expected_to_fail(getattr(EngineContract, name), gap))

    @pytest.fixture
    def ex(self) -> Iterator[Executor]:
        """The executor that behaviours share."""
        shared, with_shared = self._open_shared()
        broken = True
        try:
            yield shared
            assert wait_until(lambda: _is_idle(shared), self.patience_s), "a call of this behaviour is not done"
            assert shared.submit(calls.square, 12).result(self.patience_s) == 144, "it takes no calls any more"
            check_nothing_beyond(with_shared, self._settle_s(), is_open=True)
            broken = False
        finally:
            if broken:
                self._close_shared(at_once=True)

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, request: pytest.FixtureRequest) -> Iterator[None]:
        if "ex" in request.fixturenames:  # it looks by itself
            yield
            return
        with leaks(self._settle_s()):
            yield

    @classmethod
    def teardown_class(cls) -> None:
        cls._close_shared()

    @classmethod
    def _settle_s(cls) -> float:
        return min(SETTLE_S, cls.patience_s)

    def _open_shared(self) -> tuple[Executor, Holdings]:
        cls = type(self)
        if cls._shared is None or cls._with_shared is None:
            cls._before_shared = holdings()
            cls._shared = self.executor()
            self._start_all_workers(cls._shared)
            cls._with_shared = holdings()
        return cls._shared, cls._with_shared

    def _start_all_workers(self, executor: Executor) -> None:
        # Workers may start as they are needed; what is held with all of them there is the measure of what is left.
        if not executor.capabilities.separate_process:
            executor.submit(calls.square, 1).result(self.patience_s)
            return
        with tempfile.TemporaryDirectory() as folder:
            gate = self.gate(Path(folder))
            futures = self.occupy(executor, gate)
            gate.open()
            for future in futures:
                future.result(self.patience_s)

    @classmethod
    def _close_shared(cls, *, at_once: bool = False) -> None:
        shared, before = cls._shared, cls._before_shared
        cls._shared = cls._before_shared = cls._with_shared = None
        if shared is None or before is None:
            return
        if at_once:  # as Ctrl-C would: a broken behaviour may have left something running
            shared.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        shared.shutdown()
        check_nothing_beyond(before, cls._settle_s())


def _is_idle(executor: Executor) -> bool:
    counts = executor.statistics()
    return counts.waiting == counts.running == 0
