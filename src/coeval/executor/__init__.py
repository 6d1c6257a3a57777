"""The face: a `concurrent.futures.Executor` over any engine, with retries, time limits, recording and a timeline."""

from coeval.executor._executor import Executor
from coeval.executor._retry import Retry
from coeval.executor._statistics import Statistics

__all__ = ["Executor", "Retry", "Statistics"]
