"""
A network of skewed hosts on this machine: each with an address of its own, over links that the test makes bad.

    a program on host a ──> its eth0 (TUN) ──> hub process: delay, jitter, loss ──> eth0 of host b ──> a program there
                                                 ^ commands
    test: Network.set("a", "b", Link(…)) ────────┘

Packets are delayed and lost below TCP, so what programs meet is what they meet on a real path: late answers,
retransmissions, connections that hang. The hosts reach each other and nothing else; this machine's own network is left
alone. Needs root, as isolated hosts do, and /dev/net/tun.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from coeval.testing._ending import Ending
from coeval.testing._link import Link, Traffic
from coeval.testing._skew import Skew
from coeval.testing._skew_library import CannotSkew
from coeval.testing._skewed_host import PATIENCE_S, SkewedHost, why_not_isolated

# Set aside for measuring between hosts (RFC 2544), so no real network that a program may know has them.
_ADDRESSES = ipaddress.IPv4Network("198.18.0.0/15")

_HUB = Path(__file__).with_name("_hub.py")
_TUN = "/dev/net/tun"


class Network(Ending):
    """
    Skewed hosts with addresses of their own, and links between them whose delay, jitter and loss the test sets.

        with Network(Link(delay_s=0.005, loss=0.01)) as network:
            node = network.host("node7", Skew(wall_offset_ns=3_500_000_000))
            server = node.popen([sys.executable, "-m", "http.server", "--bind", node.address])

    Ends with `end()`, as a context manager, and when the process that made it is gone, however that went; its hosts end
    with it. Nothing is left then: no process, namespace, interface or file.
    """

    def __init__(self, link: Link | None = None, *, seed: int = 0) -> None:
        """
        Make a network without hosts.

        Args:
            link: between every two hosts; None: nothing is delayed or lost.
            seed: of the draws of jitter and loss. The draws repeat with it; when packets are sent does not.

        Raises:
            CannotSkew: this machine cannot do it; the error says what is missing.
        """
        if missing := why_no_network():
            raise CannotSkew(f"there can be no network of hosts: {missing}")
        self._link = link or Link()
        self._free = iter(_ADDRESSES.hosts())
        self._hosts: dict[str, str] = {}
        self._made = ExitStack()
        # Hosts may be made and links set by several threads; who holds it may ask the hub too.
        self._lock = threading.RLock()
        self._hub = subprocess.Popen(
            [sys.executable, "-I", str(_HUB), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # an interrupt at the terminal must not take the network from those who clean up
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts that are up, in the order they came."""
        return tuple(self._hosts)

    def host(self, name: str, skew: Skew | None = None) -> SkewedHost:
        """
        Make a host on this network. It is up and reached at its `address` when this returns; it ends with the network.

        Raises:
            ValueError: a bad name, or one that a host of this network has.
            CannotSkew: as for `SkewedHost`.
        """
        return self._made.enter_context(SkewedHost(name, skew, isolated=True, network=self))

    def set(self, first: str | SkewedHost, second: str | SkewedHost, link: Link) -> None:
        """
        Set the link between two hosts, from now on; packets that are under way come as they would have come.

        Args:
            first, second: hosts or their names. *There* is from the first to the second.

        Raises:
            ValueError: a host that is not on this network, or twice the same.
        """
        self._tell(*self._pair(first, second), link)

    def set_all(self, link: Link) -> None:
        """
        Set the links between all hosts, also those that come later.

        With an uneven link, *there* is from the host that came to this network first.
        """
        with self._lock:
            self._link = link
            for pair in combinations(self._hosts, 2):
                self._tell(*pair, link)

    def traffic(self, sender: str | SkewedHost, receiver: str | SkewedHost) -> Traffic:
        """
        What the one sent to the other so far, and how much of it was lost.

        Raises:
            ValueError: a host that is not on this network, or twice the same.
        """
        sent, lost = self._ask("traffic", *self._pair(sender, receiver))
        return Traffic(sent, lost)

    def join(self, name: str, process: int) -> str:
        """
        Connect the network namespace of a process; `SkewedHost` does this when it comes up.

        Returns:
            Its address.
        """
        with self._lock:
            if name in self._hosts:
                raise ValueError(f"there is a host {name!r} on this network already; expected another name")
            address = str(next(self._free))
            # Before the device is there, so that no packet passes undelayed.
            for other in self._hosts:
                self._tell(other, name, self._link)
            self._ask("join", name, process, address, _ADDRESSES.prefixlen)
            self._hosts[name] = address
        return address

    def leave(self, name: str) -> None:
        """Disconnect a host; `SkewedHost` does this when it ends. Does nothing if it is not connected."""
        with self._lock:
            if self._hosts.pop(name, None) is None:
                return
            with suppress(CannotSkew):  # the hub has ended, and all devices with it
                self._ask("leave", name)

    def end(self) -> None:
        """End the hosts that `host` made, and take the network away. A second time does nothing."""
        assert self._hub.stdin is not None
        assert self._hub.stdout is not None
        if self._hub.stdin.closed:
            return
        try:
            self._made.close()
        finally:
            self._hosts.clear()
            # A word, because children that this process forked may hold the pipe too. The hub may be gone already.
            with suppress(BrokenPipeError):
                self._hub.stdin.write(json.dumps(["end"]) + "\n")
                self._hub.stdin.flush()
            with suppress(BrokenPipeError):
                self._hub.stdin.close()
            self._hub.wait(PATIENCE_S)
            self._hub.stdout.close()

    def __repr__(self) -> str:
        return f"<Network {' '.join(f'{name}={address}' for name, address in self._hosts.items())} {self._link}>"

    def _pair(self, first: str | SkewedHost, second: str | SkewedHost) -> tuple[str, str]:
        names = tuple(host if isinstance(host, str) else host.name for host in (first, second))
        for name in names:
            if name not in self._hosts:
                raise ValueError(f"no host {name!r} is on this network; there are {', '.join(self._hosts) or 'none'}")
        if names[0] == names[1]:
            raise ValueError(f"a link was given from host {names[0]!r} to itself; expected two hosts")
        return names[0], names[1]

    def _tell(self, first: str, second: str, link: Link) -> None:
        there, back = link.ways()
        self._ask("way", first, second, *there)
        self._ask("way", second, first, *back)

    def _ask(self, *command: Any) -> Any:
        assert self._hub.stdin is not None
        assert self._hub.stdout is not None
        with self._lock:
            try:
                self._hub.stdin.write(json.dumps(command) + "\n")
                self._hub.stdin.flush()
                said = self._hub.stdout.readline()
            except (BrokenPipeError, ValueError):  # gone; or closed, by `end`
                said = ""
        if not said.startswith("["):
            raise CannotSkew(f"the hub of the network has ended: {said}{self._last_words()}".rstrip(": \n"))
        verdict, answer = json.loads(said)
        if verdict == "failed":
            raise CannotSkew(f"the network cannot do it: {answer}")
        return answer

    def _last_words(self) -> str:
        stdout = self._hub.stdout
        return "" if stdout is None or stdout.closed else stdout.read()


@cache
def why_no_network() -> str | None:
    """Why there can be no network of hosts here, as a clause for people; None: there can."""
    if missing := why_not_isolated():
        return missing
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return f"it needs {_TUN}, which is not there or not open to this user (docker run: --device {_TUN})"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, timeout=PATIENCE_S)
    return f"this kernel or container does not allow it ({tried.stderr.strip()})" if tried.returncode else None
