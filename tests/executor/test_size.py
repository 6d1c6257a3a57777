from __future__ import annotations

import pytest

from coeval.executor._size import size_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (2048, 2048),
        ("2048", 2048),
        ("7 B", 7),
        ("500 MB", 500_000_000),
        ("2GB", 2_000_000_000),
        ("2 gb", 2_000_000_000),
        ("1.5 GiB", 3 << 29),
        ("64 KiB", 1 << 16),
        ("3 kB", 3000),
        (" 1 TB ", 10**12),
    ],
)
def test_a_size_is_read_as_people_write_it(text: int | str, expected: int) -> None:
    assert size_bytes(text, "memory") == expected


@pytest.mark.parametrize(
    "text", ["", "GB", "2 XB", "-1 GB", "0", "0.1 B", "1e3 MB", "2 G B", "nan", "inf", "1..5 GB", -5]
)
def test_what_is_no_size_is_refused_with_its_value_and_an_example(text: int | str) -> None:
    with pytest.raises(ValueError, match="2 GB") as caught:
        size_bytes(text, "memory")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("size", [1.5, True, None, b"1 GB"])
def test_another_kind_of_thing_is_refused(size: object) -> None:
    with pytest.raises(TypeError, match="memory"):
        size_bytes(size, "memory")  # type: ignore[arg-type]
