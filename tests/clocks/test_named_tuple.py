"""Our `NamedTuple` behaves as that of `typing` does."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import typing

import pytest

from coeval.clocks import _named_tuple


class Theirs(typing.NamedTuple):
    """A point."""

    name: str
    x: int
    y: int = 2

    @property
    def both(self) -> int:
        return self.x + self.y


class Ours(_named_tuple.NamedTuple):
    """A point."""

    name: str
    x: int
    y: int = 2

    @property
    def both(self) -> int:
        return self.x + self.y


Kind = type[Theirs] | type[Ours]
both_kinds = pytest.mark.parametrize("kind", [Theirs, Ours])


@both_kinds
def test_it_is_a_tuple_whose_places_have_names(kind: Kind) -> None:
    point = kind("a", y=3, x=1)
    assert point == ("a", 1, 3)
    assert (point.name, point.x, point.y, point.both) == ("a", 1, 3, 4)
    assert kind("a", 1) == ("a", 1, 2)
    assert hash(point) == hash(("a", 1, 3))
    name, *_ = point
    assert name == "a"


@both_kinds
def test_it_answers_what_is_asked_of_named_tuples(kind: Kind) -> None:
    point = kind("a", 1)
    assert repr(point) == f"{kind.__name__}(name='a', x=1, y=2)"
    assert point._replace(x=5) == ("a", 5, 2)
    assert type(point._replace(x=5)) is kind
    assert point._asdict() == {"name": "a", "x": 1, "y": 2}
    assert kind._make(["a", 1, 2]) == point
    assert kind._fields == ("name", "x", "y")
    assert kind._field_defaults == {"y": 2}
    assert kind.__doc__ == "A point."
    assert typing.get_type_hints(kind) == {"name": str, "x": int, "y": int}
    assert list(inspect.signature(kind).parameters) == ["name", "x", "y"]
    match point:
        case Theirs(name, 1) | Ours(name, 1):
            assert name == "a"
        case _:
            pytest.fail("its places do not match")


@both_kinds
def test_it_travels_and_is_copied(kind: Kind) -> None:
    point = kind("a", 1)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        travelled = pickle.loads(pickle.dumps(point, protocol))
        assert (type(travelled), travelled) == (kind, point)
    assert copy.deepcopy(point) == point


@both_kinds
@pytest.mark.parametrize("wrong", ["()", "('a',)", "('a', 1, 2, 3)"])
def test_wrong_arguments_are_refused(kind: Kind, wrong: str) -> None:
    with pytest.raises(TypeError):
        kind(*eval(wrong))


@both_kinds
def test_it_does_not_change_and_has_no_other_attributes(kind: Kind) -> None:
    point = kind("a", 1)
    for name in ("x", "other"):
        with pytest.raises(AttributeError):
            setattr(point, name, 5)
    assert not hasattr(point, "__dict__")
    with pytest.raises((TypeError, ValueError)):
        point._replace(other=1)  # type: ignore[call-arg]  # refused at run time as well
    with pytest.raises(TypeError):
        kind._make(["a"])


def test_making_one_imports_nothing_of_typing() -> None:
    code = (
        "import sys; from coeval.clocks._named_tuple import NamedTuple\n"
        "class Point(NamedTuple):\n    x: int\n"
        "assert Point(1).x == 1\n"
        "print({'typing', 'collections', 'functools'} & set(sys.modules))"
    )
    source = str(_named_tuple.__file__).rpartition("/coeval/")[0]
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({source!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == "set()"
