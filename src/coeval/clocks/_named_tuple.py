"""
`NamedTuple` without `typing`, for what workers and first calls make: written, read and type-checked like that of
`typing`.

Importing `typing` takes longer than forking a worker, and making a class with it takes 0.2 ms more. Whatever is off
those two paths uses `typing.NamedTuple` as usual.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, TypeVar
    from typing import NamedTuple as NamedTuple

    _T = TypeVar("_T")

    def unchecked(kind: type[_T], fields: tuple[Any, ...]) -> _T: ...

else:
    from _collections import _tuplegetter

    class _Fields(type):
        """Makes the fields of a class's body those of a tuple."""

        def __new__(cls, name, bases, body):
            if bases[0].__base__ is tuple:  # neither `NamedTuple` itself nor a class derived from one with fields
                fields = body["_fields"] = body["__match_args__"] = tuple(body.get("__annotations__", ()))
                defaults = body["_field_defaults"] = {field: body[field] for field in fields if field in body}
                body |= {field: _tuplegetter(place, "") for place, field in enumerate(fields)}
                body["__new__"] = _constructor(fields, tuple(defaults.values()))
                body["__slots__"] = ()
            return type.__new__(cls, name, bases, body)

    def _constructor(fields, defaults):
        # A function of its own, so that arguments are checked, named and counted as those of any function are.
        new = _TEMPLATES[len(fields)]
        code = new.__code__.replace(co_varnames=("_cls", *fields), co_name="__new__")
        return type(new)(code, new.__globals__, "__new__", defaults)

    # Makes one of all its fields in a third of the time, without looking whether it was given all of them. For what is
    # made anew for each call.
    unchecked = _new = tuple.__new__

    # For each number of fields. Written out, so that they are compiled with this file: one takes 50 us.
    # fmt: off
    _TEMPLATES = {
        1: lambda _cls, a: _new(_cls, (a,)),
        2: lambda _cls, a, b: _new(_cls, (a, b)),
        3: lambda _cls, a, b, c: _new(_cls, (a, b, c)),
        4: lambda _cls, a, b, c, d: _new(_cls, (a, b, c, d)),
        5: lambda _cls, a, b, c, d, e: _new(_cls, (a, b, c, d, e)),
        6: lambda _cls, a, b, c, d, e, f: _new(_cls, (a, b, c, d, e, f)),
        7: lambda _cls, a, b, c, d, e, f, g: _new(_cls, (a, b, c, d, e, f, g)),
        8: lambda _cls, a, b, c, d, e, f, g, h: _new(_cls, (a, b, c, d, e, f, g, h)),
        9: lambda _cls, a, b, c, d, e, f, g, h, i: _new(_cls, (a, b, c, d, e, f, g, h, i)),
        10: lambda _cls, a, b, c, d, e, f, g, h, i, j: _new(_cls, (a, b, c, d, e, f, g, h, i, j)),
        11: lambda _cls, a, b, c, d, e, f, g, h, i, j, k: _new(_cls, (a, b, c, d, e, f, g, h, i, j, k)),
        12: lambda _cls, a, b, c, d, e, f, g, h, i, j, k, m: _new(_cls, (a, b, c, d, e, f, g, h, i, j, k, m)),
        13: lambda _cls, a, b, c, d, e, f, g, h, i, j, k, m, n: _new(_cls, (a, b, c, d, e, f, g, h, i, j, k, m, n)),
    }
    # fmt: on

    class NamedTuple(tuple, metaclass=_Fields):
        """See `typing.NamedTuple`."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, /, **changes):
            return type(self)(**(self._asdict() | changes))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({fields})"
