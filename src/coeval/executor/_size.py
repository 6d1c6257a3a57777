"""Sizes of memory as people write them."""

from __future__ import annotations

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
}
_BY_UPPER = {unit.upper(): factor for unit, factor in _UNITS.items()}


def size_bytes(size: int | str, argument: str) -> int:
    """
    Read a size: a number of bytes, or text such as "2 GB" (powers of 1000) or "1.5 GiB" (powers of 1024).

    Args:
        argument: what it was given as, for the error.

    Raises:
        TypeError: it is neither.
        ValueError: it is no size above 0.
    """
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise TypeError(f"{argument} is {size!r}; expected bytes as an int, or text such as '2 GB'")
    found = size if isinstance(size, int) else _read(size)
    if found is None or found < 1:
        raise ValueError(
            f"{argument} is {size!r}; expected bytes above 0, or text such as '500 MB', '2 GB' or '1.5 GiB'"
        )
    return found


def _read(text: str) -> int | None:
    unit = text.lstrip("0123456789. \t")
    try:
        number = float(text.removesuffix(unit))
        return int(number * _BY_UPPER[unit.strip().upper()])
    except (KeyError, OverflowError, ValueError):
        return None
