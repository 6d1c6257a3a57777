"""Functions that travel by value are pickled again when, and only when, their pickle may have changed."""

from __future__ import annotations

import contextlib
import gc
import importlib
import pickle
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import cloudpickle
import pytest

from coeval.engines._payload import dump, load
from coeval.executor import _function_parts, _functions
from coeval.executor._function_parts import parts_of
from coeval.executor._functions import Functions

SOURCE = """
import collections.abc, math, pathlib
from fractions import Fraction
from os.path import join

number, texts, items, holder = 3, ("a", ("b", 2.5)), [1], None
class Own: value = 1
class Holder: pass
def inner(x): return x + number
def rounds(x): return x if x <= 0 else rounds(x - 1)

def plain(_): return None
def typed(x: int, more: "str" = "m") -> float: return float(x)
def uses_number(x): return x + number
def uses_texts(x): return texts[0]
def uses_items(x): return items[0]
def uses_modules(x): return math.sin(x) + len(collections.abc.__name__)
def uses_defined(x): return join(str(Fraction(x)), "y")
def uses_inner(x): return inner(x)
def uses_itself(x): return uses_itself(x - 1) if x else rounds(x)
def uses_what_comes(x): return to_come
def uses_class(x): return Own.value
def uses_holder(x): return holder.value
def has_inside(x): return (lambda: number)()
def with_default(x, more=(1, [2])): return more
def of_keyword(x, *, more=1): return more
def lacks_module(x): return package.later.VALUE
def compose(*functions): return lambda x: [function(x) for function in functions]
composed = compose(inner)
def calls_default(x, function=inner): return function(x)
def annotated(x: inner) -> int: return x
def uses_proxy(x): return x.proxy
class Proxy:
    @property
    def __class__(self): raise RuntimeError("not set up")
proxy = Proxy()
def closed(value):
    def change(new):
        nonlocal value
        value = new
    def use(x): return value
    return use, change
use_closed, change_closed = closed(4)
"""

FIXED = ["plain", "typed", "uses_number", "uses_texts", "uses_modules", "uses_defined", "uses_inner", "uses_itself"]
FIXED += ["uses_what_comes", "has_inside", "use_closed"]
UNKNOWN = ["uses_items", "uses_class", "uses_holder", "with_default", "of_keyword", "composed", "calls_default"]
UNKNOWN += ["annotated", "uses_proxy"]


@pytest.fixture
def names() -> dict[str, Any]:
    made: dict[str, Any] = {"__name__": "nowhere"}
    exec(compile(SOURCE, "nowhere.py", "exec", dont_inherit=True), made)
    made["holder"] = made["Holder"]()
    made["holder"].value = 1
    return made


@pytest.fixture(autouse=True)
def nothing_else_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests have their own modules copied to workers, and then nothing is kept."""
    others = cloudpickle.list_registry_pickle_by_value()
    monkeypatch.setattr(
        _function_parts, "by_value_modules", lambda: cloudpickle.list_registry_pickle_by_value() - others
    )


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was pickled."""
    seen: list[object] = []

    def noting(value: object) -> bytes:
        seen.append(value)
        return dump(value)

    monkeypatch.setattr(_functions, "dump", noting)
    return seen


@pytest.mark.parametrize("name", FIXED)
def test_a_function_whose_parts_stay_as_they_are_is_pickled_once(
    names: dict[str, Any], pickled: list[object], name: str
) -> None:
    functions = Functions()
    first, is_new = functions.find(names[name])
    assert is_new and functions.find(names[name]) == (first, False)
    assert pickled == [names[name]]


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_function_of_which_a_part_may_change_is_pickled_each_time(
    names: dict[str, Any], pickled: list[object], name: str
) -> None:
    functions = Functions()
    first, _ = functions.find(names[name])
    assert functions.find(names[name]) == (first, False)
    assert len(pickled) == 2


def other_code(names: dict[str, Any]) -> CodeType:
    made: CodeType = names["inner"].__code__
    return made.replace(co_consts=(*made.co_consts, "other"))


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "plain its code": lambda names: setattr(names["plain"], "__code__", names["uses_number"].__code__),
    "plain its name": lambda names: setattr(names["plain"], "__name__", "other"),
    "plain its text": lambda names: setattr(names["plain"], "__doc__", "Says more."),
    "plain its module": lambda names: setattr(names["plain"], "__module__", "elsewhere"),
    "plain its attribute": lambda names: setattr(names["plain"], "mark", 1),
    "plain its file": lambda names: names.update(__file__="elsewhere.py"),
    "typed its default": lambda names: setattr(names["typed"], "__defaults__", ("n",)),
    "typed its annotation": lambda names: names["typed"].__annotations__.update(x=float),
    "uses_number the number": lambda names: names.update(number=4),
    "uses_number no number": lambda names: names.pop("number"),
    "uses_texts the texts": lambda names: names.update(texts=("c",)),
    "uses_items within": lambda names: names["items"].append(2),
    "uses_inner its code": lambda names: setattr(names["inner"], "__code__", other_code(names)),
    "uses_inner what it uses": lambda names: names.update(number=5),
    "uses_inner a class for it": lambda names: names.update(inner=int),
    "uses_itself what it uses": lambda names: setattr(names["rounds"], "__defaults__", (1,)),
    "uses_what_comes it comes": lambda names: names.update(to_come=6),
    "uses_class its attribute": lambda names: setattr(names["Own"], "value", 2),
    "uses_holder its attribute": lambda names: setattr(names["holder"], "value", 2),
    "has_inside the number": lambda names: names.update(number=7),
    "with_default within": lambda names: names["with_default"].__defaults__[0][1].append(3),
    "of_keyword its default": lambda names: names["of_keyword"].__kwdefaults__.update(more=2),
    "use_closed what it holds": lambda names: names["change_closed"](8),
    "composed what it calls uses": lambda names: names.update(number=10),
    "calls_default what that uses": lambda names: names.update(number=10),
    "annotated what that uses": lambda names: names.update(number=10),
    "uses_modules another": lambda names: names.update(math=names["pathlib"]),
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_what_changes_a_pickle_is_seen(names: dict[str, Any], change: str) -> None:
    function, functions = names[change.split()[0]], Functions()
    before, _ = functions.find(function)
    functions.find(function)
    CHANGES[change](names)
    after, is_new = functions.find(function)
    assert after.body == dump(function)
    assert is_new and after.number != before.number


def test_a_module_of_a_package_that_is_imported_later_is_named(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grown_package").mkdir()
    (tmp_path / "grown_package" / "__init__.py").write_text("")
    (tmp_path / "grown_package" / "later.py").write_text("VALUE = 9")
    monkeypatch.syspath_prepend(tmp_path)
    names["package"] = importlib.import_module("grown_package")
    functions = Functions()
    before, _ = functions.find(names["lacks_module"])
    importlib.import_module("grown_package.later")
    after, _ = functions.find(names["lacks_module"])
    assert after.body == dump(names["lacks_module"]) != before.body
    for name in ("grown_package", "grown_package.later"):
        del sys.modules[name]
    assert load(after.body)(0) == 9


def test_a_class_that_is_not_found_any_more_by_its_name_is_copied(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reloaded_module.py").write_text("class Model:\n    version = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("reloaded_module")
    names["number"] = getattr(module, "Model")  # noqa: B009  # which type checkers know nothing of
    functions = Functions()
    before, _ = functions.find(names["uses_number"])
    assert functions.find(names["uses_number"]) == (before, False)
    setattr(module, "Model", None)  # noqa: B010
    after, _ = functions.find(names["uses_number"])
    del sys.modules["reloaded_module"]
    assert after.body != before.body


def test_what_changes_while_a_function_is_pickled_is_seen(
    names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(value: object) -> bytes:
        names["number"] = 4
        return dump(value)

    functions = Functions()
    with monkeypatch.context() as patched:
        patched.setattr(_functions, "dump", meanwhile)
        functions.find(names["uses_number"])
    names["number"] = 3
    found, _ = functions.find(names["uses_number"])
    assert found.body == dump(names["uses_number"])


def test_nothing_is_kept_alive_that_stands_where_a_function_was_defined() -> None:
    class Large:
        pass

    names: dict[str, Any] = {}
    large = Large()
    exec("def inner(): return 1\ndef use(x): return inner() if x else use(1)", names)
    names["large"] = large
    functions, gone = Functions(), weakref.ref(large)
    dump(names["use"])  # looks through all modules for it, which makes some of them import others
    functions.find(names["use"])
    assert functions._parts
    del large, names
    gc.collect()
    assert gone() is None


def test_functions_that_call_each_other_very_deeply_are_pickled_as_far_as_that_goes() -> None:
    names: dict[str, Any] = {}
    exec("def f0(): return 0\n" + "\n".join(f"def f{n}(): return f{n - 1}()" for n in range(1, 3000)), names)
    with contextlib.suppress(RecursionError, pickle.PicklingError):
        Functions().find(names["f2999"])
    assert parts_of(names["f2999"]) is None


def test_a_module_that_is_to_be_copied_from_now_on_is(names: dict[str, Any]) -> None:
    import tests.strategies

    names["number"] = tests.strategies
    functions = Functions()
    before, _ = functions.find(names["uses_number"])
    cloudpickle.register_pickle_by_value(tests.strategies)
    try:
        after, _ = functions.find(names["uses_number"])
        assert after.body == dump(names["uses_number"]) != before.body
    finally:
        cloudpickle.unregister_pickle_by_value(tests.strategies)


def test_many_functions_fill_no_memory() -> None:
    functions = Functions()
    for number in range(1000):
        functions.find(lambda number=number: number)
    assert len(functions._parts) <= _functions._PARTS_KEPT_MAX
