from __future__ import annotations

import pytest

from coeval.engines._dask._url import Place, parse_url
from coeval.errors import UnknownEngine


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("dask:", Place(None, {}, None)),
        ("dask", Place(None, {}, None)),
        ("dask:4", Place(None, {}, 4)),
        ("dask://head:8786", Place("tcp://head:8786", {}, None)),
        ("dask://10.0.0.7:8786/", Place("tcp://10.0.0.7:8786", {}, None)),
        ("dask://[::1]:8786", Place("tcp://[::1]:8786", {}, None)),
        (
            "dask+tls://head:8786?ca_file=ca.pem&cert=me.pem&key=me.key",
            Place(
                "tls://head:8786",
                {
                    "tls_ca_file": "ca.pem",
                    "tls_client_cert": "me.pem",
                    "tls_client_key": "me.key",
                    "require_encryption": True,
                },
                None,
            ),
        ),
        (
            "dask://head:8786?ca_file=a%20b.pem",
            Place("tls://head:8786", {"tls_ca_file": "a b.pem", "require_encryption": True}, None),
        ),
    ],
)
def test_url_says_where_the_cluster_is(url: str, place: Place) -> None:
    assert parse_url(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "dask:0",
        "dask:-1",
        "dask:four",
        "dask:head:8786",
        "dask://",
        "dask://head",
        "dask://head:port",
        "dask://head:99999",
        "dask://:8786",
        "dask://me@head:8786",
        "dask://head:8786/path",
        "dask://head:8786?timeout=3",
        "dask://head:8786?ca_file=",
        "dask://head:8786?ca_file=a&ca_file=b",
        "dask+tls://head:8786",
        "dask+tls:4",
    ],
)
def test_url_that_says_something_else_is_refused_with_examples(url: str) -> None:
    with pytest.raises(UnknownEngine, match="write dask://host:8786") as caught:
        parse_url(url)
    assert url in str(caught.value)
