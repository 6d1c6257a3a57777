"""What a Dask engine's URL says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from coeval.errors import UnknownEngine

# The URL's options, and what `distributed.Security` calls them.
TLS_OPTIONS = {"ca_file": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}

_EXAMPLES = "write dask://host:8786, dask+tls://host:8786?ca_file=ca.pem&cert=me.pem&key=me.key, dask: or dask:4"


class Place(NamedTuple):
    """
    Where the cluster is.

    Attributes:
        address: its scheduler's, as Dask writes it; None: a cluster of our own, in this process.
        security: arguments for `distributed.Security`; empty without TLS.
        workers: of a cluster of our own, how many calls it runs at once; None: one for each usable core.
    """

    address: str | None
    security: Mapping[str, str | bool]
    workers: int | None


def parse_url(url: str) -> Place:
    """
    Read `dask://host:port`, `dask+tls://host:port?ca_file=…&cert=…&key=…`, `dask:` or `dask:4`.

    Raises:
        UnknownEngine: it is none of these.
    """
    scheme, _, rest = url.partition(":")
    if not rest.startswith("//"):
        if scheme != "dask" or (rest and not (rest.isascii() and rest.isdigit() and int(rest) > 0)):
            raise _wrong(url, f"{rest!r} is neither an address nor a number of workers")
        return Place(None, {}, int(rest) if rest else None)
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong(url, str(error)) from error
    if not host or not port or parts.path not in ("", "/") or parts.username or parts.fragment:
        raise _wrong(url, "it wants a host and a port, and nothing after them but options")
    options = _options(url, parts.query)
    security: dict[str, str | bool] = {TLS_OPTIONS[name]: value for name, value in options.items()}
    if scheme == "dask+tls" and "ca_file" not in options:
        raise _wrong(url, "TLS wants ca_file=, the certificate of who signed the cluster's")
    if security:
        security["require_encryption"] = True
    host_text = f"[{host}]" if ":" in host else host
    return Place(f"{'tls' if security else 'tcp'}://{host_text}:{port}", security, None)


def _options(url: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in TLS_OPTIONS or not value or name in options:
            raise _wrong(
                url, f"option {name}={value!r} is unknown, empty or given twice; known: {', '.join(TLS_OPTIONS)}"
            )
        options[name] = value
    return options


def _wrong(url: str, reason: str) -> UnknownEngine:
    return UnknownEngine(f"no engine for {url!r}: {reason}; {_EXAMPLES}.")
