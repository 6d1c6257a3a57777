"""Files that appear behind a URL when they are whole."""

import importlib.util
import secrets
import tarfile
from pathlib import Path

import fsspec
import pytest

from coeval.errors import MissingExtra
from coeval.timeline._url_target import UrlTarget, place_of


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = "memory://" + secrets.token_hex(8) if request.param == "memory" else f"file://{tmp_path}"
    return f"{folder}/out.jsonl"


def names_beside(url: str) -> list[str]:
    filesystem, within = fsspec.core.url_to_fs(url)
    folder = within.rpartition("/")[0]
    return (
        [name.rpartition("/")[2] for name in filesystem.ls(folder, detail=False)] if filesystem.exists(folder) else []
    )


def test_a_file_is_there_when_it_is_whole(url: str) -> None:
    with UrlTarget(url) as file:
        file.write(b"one\n")
        file.write(memoryview(b"two\n"))
        assert names_beside(url) == []
    assert fsspec.open(url, "rb").open().read() == b"one\ntwo\n"
    assert names_beside(url) == ["out.jsonl"]


def test_what_fails_half_way_leaves_what_was_there(url: str) -> None:
    with UrlTarget(url) as file:
        file.write(b"first")
    with pytest.raises(RuntimeError, match="half way"), UrlTarget(url) as file:
        file.write(b"second")
        raise RuntimeError("half way")
    assert fsspec.open(url, "rb").open().read() == b"first"
    assert names_beside(url) == ["out.jsonl"]


def test_what_others_write_meanwhile_is_there_at_once(url: str) -> None:
    filesystem, within = fsspec.core.url_to_fs(url)
    with pytest.raises(RuntimeError, match="half way"), UrlTarget(url) as file:
        file.write(b"ours")
        filesystem.pipe_file(within + ".other", b"theirs")
        raise RuntimeError("half way")
    assert filesystem.cat_file(within + ".other") == b"theirs"
    assert names_beside(url) == ["out.jsonl.other"]


def test_what_cannot_be_closed_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{secrets.token_hex(8)}/out.jsonl"

    def refuse(file: object) -> None:
        raise OSError("the last part was refused")

    with pytest.raises(OSError, match="the last part"), UrlTarget(url) as file:
        file.write(b"one")
        monkeypatch.setattr(type(file), "close", refuse)
    monkeypatch.undo()
    assert names_beside(url) == []


def test_a_url_of_this_machine_is_a_path() -> None:
    assert place_of("file:///logs/all.parquet") == Path("/logs/all.parquet")
    assert place_of("logs/all.parquet") == Path("logs/all.parquet")
    assert place_of("s3://logs/all.parquet") == "s3://logs/all.parquet"


def test_a_store_that_is_only_read_says_so() -> None:
    with fsspec.open("memory://there.tar", "wb") as there, tarfile.TarFile(fileobj=there, mode="w"):
        pass
    url = "tar://out.jsonl::memory://there.tar"
    with pytest.raises(OSError, match=r"out.jsonl::memory://there.tar cannot be written: Read-only"), UrlTarget(url):
        pytest.fail("it was opened")


def test_a_url_that_needs_another_package_says_which() -> None:
    assert importlib.util.find_spec("s3fs") is None
    with pytest.raises(MissingExtra, match=r"s3://bucket/out.jsonl cannot be opened.*s3fs"):
        UrlTarget("s3://bucket/out.jsonl")


def test_a_url_that_nothing_opens_says_what_is_expected() -> None:
    with pytest.raises(ValueError, match=r"nothing://out.jsonl cannot be opened.*expected a URL that fsspec knows"):
        UrlTarget("nothing://out.jsonl")
