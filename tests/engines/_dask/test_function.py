from __future__ import annotations

import logging
import operator
import pickle
import subprocess
import sys

import pytest

from coeval.engines._attempt import load_function
from coeval.engines._dask._function import logger_levels, pack
from coeval.engines._engine import Failure


@pytest.fixture
def logger() -> object:
    logger = logging.getLogger("coeval.tests.dask_function")
    yield logger
    logger.setLevel(logging.NOTSET)


def test_packed_function_is_the_same_function() -> None:
    assert load_function(pack(pickle.dumps(operator.neg), {})) is operator.neg


def test_unpacking_sets_the_callers_logger_levels(logger: logging.Logger) -> None:
    load_function(pack(pickle.dumps(operator.neg), {logger.name: logging.ERROR}))
    assert logger.level == logging.ERROR


def test_levels_are_those_that_were_set_except_dasks_own(logger: logging.Logger) -> None:
    logger.setLevel(logging.INFO)
    logging.getLogger("distributed.something").setLevel(logging.ERROR)
    levels = logger_levels()
    assert levels[logger.name] == logging.INFO
    assert levels[""] == logging.getLogger().level
    assert "distributed.something" not in levels


def test_function_that_cannot_be_unpacked_is_a_failure_of_the_function() -> None:
    failure = load_function(pack(b"cno_such_module\nf\n.", {}))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.type_name) == ("function", "ModuleNotFoundError")


def test_unpacking_needs_nothing_of_dask() -> None:
    script = (
        "import sys, coeval.engines._dask._function; assert not {'distributed', 'dask', 'asyncio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
