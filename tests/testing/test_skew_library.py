from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coeval.testing._skew_library import CannotSkew, cache_folder, skew_library


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "coeval"


def test_the_library_is_built_once_and_found_again(cache: Path) -> None:
    built = skew_library()
    assert cache_folder() == cache == built.parent
    first = built.stat()
    assert skew_library() == built
    assert built.stat() == first


def test_nobody_else_can_write_where_programs_load_it_from(cache: Path) -> None:
    skew_library()
    assert cache.stat().st_mode & 0o077 == 0


def test_two_that_build_at_once_both_have_it_and_leave_nothing_beside_it(cache: Path) -> None:
    with ThreadPoolExecutor(2) as ex:
        built = set(ex.map(lambda _: skew_library(), range(2)))
    assert set(cache.iterdir()) == built
    assert len(built) == 1


def test_a_missing_compiler_is_named_with_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(CannotSkew, match=r"there is no 'no-such-compiler'; install one .* or name yours in CC"):
        skew_library()
    assert list(cache.iterdir()) == []


def test_what_the_compiler_says_against_the_source_is_shown(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{os.environ.get('CC') or 'cc'} -include /no/such/header.h")
    with pytest.raises(CannotSkew, match=r"cannot compile coeval's skewclock\.c, which needs glibc: .*no/such/header"):
        skew_library()
    assert list(cache.iterdir()) == []
