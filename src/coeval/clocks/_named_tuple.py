"""
`NamedTuple` without `typing`, for what workers and first calls make: written, read and type-checked like that of
`typing`.

Importing `typing` takes longer than forking a worker, and making a class with it takes 0.2 ms more. Whatever is off
those two paths uses `typing.NamedTuple` as usual.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
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
        # A function of its own, so that arguments are checked, named and counted as those of any function are. Compiled
        # once for each number of fields, as that takes 50 us.
        count = len(fields)
        if count not in _templates:
            names = ", ".join(f"_{place}" for place in range(count))
            code = f"lambda _cls, {names}: _tuple_new(_cls, ({names},))"
            _templates[count] = eval(code, {"_tuple_new": tuple.__new__})
        new = _templates[count]
        code = new.__code__.replace(co_varnames=("_cls", *fields), co_name="__new__")
        return type(new)(code, new.__globals__, "__new__", defaults)

    _templates = {}

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
