"""The face: a `concurrent.futures.Executor` over any engine, with retries, time limits, recording and a timeline."""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coeval.executor._executor import Executor
    from coeval.executor._retry import Retry
    from coeval.executor._statistics import Statistics

__all__ = ["Executor", "Retry", "Statistics"]

# Each by itself, as an executor launches what starts workers before it imports more. Hidden from type checkers, which
# would otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(__import__(f"{__name__}._{name.lower()}", fromlist=(name,)), name)
        return value
