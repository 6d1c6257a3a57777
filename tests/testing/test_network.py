"""Networks of hosts: real packets over links that the test makes bad, and what is left when they end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coeval.testing._hub import UNDER_WAY_MAX
from coeval.testing._link import Link
from coeval.testing._network import Network, why_no_network
from coeval.testing._skew import Skew
from coeval.testing._skew_library import CannotSkew
from coeval.testing._skewed_host import SkewedHost

pytestmark = pytest.mark.skipif(why_no_network() is not None, reason=f"{why_no_network()}")

MS_NS = 1_000_000
PORT = 5000  # every host has all ports to itself
COUNT = 400

# Receives datagrams, each with the true time of its sending, until told that all were sent.
RECEIVES = """
import json, select, socket, sys
from coeval.testing import true_times
taken = []
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    receiver.bind((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    # All that will come has come when half a second passes without one more.
    while True:
        told = not select.select([receiver], [], [], 0.5)[0]
        if told and select.select([sys.stdin], [], [], 0)[0]:
            break
        if not told:
            sent_ns = int(receiver.recv(100))
            taken.append((sent_ns, true_times().raw_ns))
print(json.dumps(taken))
"""
SENDS = """
import socket, sys, time
from coeval.testing import true_times
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for _ in range(int(sys.argv[3])):
        sender.sendto(b"%d" % true_times().raw_ns, (sys.argv[1], int(sys.argv[2])))
        time.sleep(0.001)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def python(host: SkewedHost, program: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, **options}
    return host.popen([sys.executable, "-c", program, *map(str, args)], **pipes)


def output(process: subprocess.Popen[str]) -> str:
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return said


def datagrams(sender: SkewedHost, receiver: SkewedHost, count: int = COUNT) -> list[tuple[int, int]]:
    """Send so many; the true times at which each that arrived was sent and received."""
    taking = python(receiver, RECEIVES, receiver.address, PORT)
    assert taking.stdout is not None
    assert taking.stdout.readline() == "ready\n"
    output(python(sender, SENDS, receiver.address, PORT, count))
    return [(sent_ns, received_ns) for sent_ns, received_ns in json.loads(output(taking))]


def delays_ns(sender: SkewedHost, receiver: SkewedHost) -> list[int]:
    return [received_ns - sent_ns for sent_ns, received_ns in datagrams(sender, receiver)]


# Hosts ----------------------------------------------------------------------------------------------------------------


def test_hosts_reach_each_other_by_address_and_nothing_else(network: Network) -> None:
    one, other = network.host("one"), network.host("other", Skew(wall_offset_ns=10**12))
    assert network.hosts == ("one", "other")
    assert len({one.address, other.address}) == 2
    assert one.clock_id != other.clock_id
    assert len(datagrams(one, other)) == COUNT
    with socket.create_server(("127.0.0.1", 0)) as server:
        asks = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=30)"
        refused = python(one, asks, server.getsockname()[1], stderr=subprocess.PIPE)
        assert "ConnectionRefusedError" in refused.communicate(timeout=60)[1]


def test_a_program_finds_the_address_of_its_host(network: Network) -> None:
    host = network.host("node7")
    # The usual way: the address from which the wide world would be reached.
    asks = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(("8.8.8.8", 80))
    print(probe.getsockname()[0])
"""
    assert output(python(host, asks)) == f"{host.address}\n"


def test_this_machines_own_network_is_left_alone() -> None:
    before = socket.if_nameindex()
    with Network() as network:
        network.host("node7")
        assert socket.if_nameindex() == before


def test_hosts_come_and_go_while_others_talk(network: Network) -> None:
    one, other = network.host("one"), network.host("other")
    with SkewedHost("guest", network=network) as guest:
        assert len(datagrams(one, guest, 20)) == 20
        first_address = guest.address
    assert network.hosts == ("one", "other")
    with SkewedHost("guest", network=network) as guest:
        assert guest.address != first_address
        assert len(datagrams(guest, one, 20)) == 20
    assert len(datagrams(one, other, 20)) == 20


# Links ----------------------------------------------------------------------------------------------------------------


def test_no_packet_takes_less_than_the_delay_of_its_direction(network: Network) -> None:
    # By the true clocks, whatever the hosts' own show.
    one = network.host("one", Skew(10**10, 50_000, 10**12, 90_000))
    other = network.host("other", Skew(-(10**10), 0, 10**9, -90_000))
    network.set(one, other, Link(delay_s=(0.020, 0.005)))
    for sender, receiver, asked_ns in ((one, other, 20 * MS_NS), (other, one, 5 * MS_NS)):
        took_ns = delays_ns(sender, receiver)
        assert len(took_ns) == COUNT
        assert asked_ns <= min(took_ns) < asked_ns + 5 * MS_NS


def test_jitter_comes_on_top_and_keeps_the_order(network: Network) -> None:
    one, other = network.host("one"), network.host("other")
    network.set("one", "other", Link(delay_s=0.001, jitter_s=(0.010, 0)))
    rows = datagrams(one, other)
    assert rows == sorted(rows)
    took_ns = [received_ns - sent_ns for sent_ns, received_ns in rows]
    assert min(took_ns) >= MS_NS
    # In order, a packet takes as long as the slowest before it that is still under way: more than the mean on average.
    assert sum(took_ns) / len(took_ns) > 11 * MS_NS
    assert min(delays_ns(other, one)) < 11 * MS_NS


def test_lost_packets_are_counted_and_all_others_arrive(network: Network) -> None:
    one, other = network.host("one"), network.host("other")
    network.set(one, other, Link(loss=(0.2, 0)))
    arrived = datagrams(one, other)
    sent, lost = network.traffic(one, other)
    assert sent == COUNT
    assert lost == COUNT - len(arrived)
    assert 0.2 * COUNT / 2 < lost < 0.2 * COUNT * 2
    assert network.traffic("other", "one").lost == 0


# Sends numbers over TCP, each in a segment or so of its own, and says how many the kernel had to send again.
TCP_SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as server:
    print("ready", flush=True)
    connection = server.accept()[0]
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            print(int(line), flush=True)
"""
TCP_CLIENT = """
import socket, struct, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as connection:
    for line in sys.stdin:
        for number in range(*map(int, line.split())):
            connection.sendall(b"%01000d\\n" % number)
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""
    at = 100  # tcpi_total_retrans of struct tcp_info, linux/tcp.h
    print(struct.unpack_from("=I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, at + 4), at)[0])
"""


@pytest.fixture
def tcp(network: Network) -> tuple[Network, subprocess.Popen[str], subprocess.Popen[str]]:
    one, other = network.host("one"), network.host("other")
    server = python(other, TCP_SERVER, other.address, PORT)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    return network, server, python(one, TCP_CLIENT, other.address, PORT)


def test_tcp_meets_loss_as_on_a_real_path_and_sends_again(
    tcp: tuple[Network, subprocess.Popen[str], subprocess.Popen[str]],
) -> None:
    network, server, client = tcp
    network.set_all(Link(delay_s=0.001, loss=0.1))
    said, _ = client.communicate("0 2000\n", timeout=60)
    assert list(map(int, output(server).split())) == list(range(2000))
    assert network.traffic("one", "other").lost > 0
    assert int(said) > 0, "the kernel sent nothing again"


def test_a_connection_outlives_a_cut_link(
    tcp: tuple[Network, subprocess.Popen[str], subprocess.Popen[str]],
) -> None:
    network, server, client = tcp
    assert server.stdout is not None
    assert client.stdin is not None
    client.stdin.write("0 1\n")
    client.stdin.flush()
    assert server.stdout.readline() == "0\n"
    network.set("one", "other", Link(loss=1.0))
    client.stdin.write("1 2\n")
    client.stdin.flush()
    assert not select.select([server.stdout], [], [], 0.3)[0]
    network.set("one", "other", Link())
    assert server.stdout.readline() == "1\n"
    client.communicate(timeout=60)
    output(server)


def test_links_set_for_all_hold_for_hosts_that_come_later() -> None:
    with Network(Link(delay_s=0.003)) as network:
        one, other = network.host("one"), network.host("other")
        assert 3 * MS_NS <= min(delays_ns(one, other)) < 10 * MS_NS
        network.set_all(Link(delay_s=0.030))
        later = network.host("later")
        assert min(delays_ns(one, other)) >= 30 * MS_NS
        assert min(delays_ns(later, one)) >= 30 * MS_NS


FLOODS = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for line in sys.stdin:
        for _ in range(5000):
            sender.sendto(b"", (sys.argv[1], int(sys.argv[2])))
        print("sent", flush=True)
"""


def test_a_program_that_sends_without_end_loses_packets_and_does_not_fill_the_memory(network: Network) -> None:
    one, other = network.host("one"), network.host("other")
    network.set(one, other, Link(delay_s=60))
    flood = python(one, FLOODS, other.address, PORT)
    assert flood.stdin is not None
    assert flood.stdout is not None
    while not network.traffic(one, other).lost:
        flood.stdin.write("more\n")
        flood.stdin.flush()
        assert flood.stdout.readline() == "sent\n"
    output(flood)
    sent, lost = network.traffic(one, other)
    assert sent - lost == UNDER_WAY_MAX


# The end --------------------------------------------------------------------------------------------------------------


def network_namespace(host: SkewedHost) -> Callable[[], bool]:
    """Looks whether any process lives in the host's network namespace."""
    host.popen(["sleep", "600"])
    namespace = Path(output(python(host, "import os; print(os.readlink('/proc/self/ns/net'), end='')")))
    assert namespace != Path("/proc/self/ns/net").readlink()

    def lived_in() -> bool:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                found.append((path / "ns/net").readlink())
        return namespace in found

    assert lived_in()
    return lived_in


def test_a_network_ends_its_hosts_and_leaves_nothing() -> None:
    children_before = children()
    with Network() as network:
        host = network.host("node7")
        lived_in = network_namespace(host)
        assert len(children()) > len(children_before)
    assert not lived_in()
    assert children() == children_before
    network.end()


def test_a_network_ends_with_the_process_that_made_it_even_if_that_is_killed() -> None:
    maker_program = """
import os, sys
from coeval.testing import Network
network = Network()
host = network.host("node7")
program = host.popen(["sleep", "600"])
print(program.pid, *(pid for pid in open(f"/proc/self/task/{os.getpid()}/children").read().split()), flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", maker_program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        pids = {int(pid) for pid in maker.stdout.readline().split()}
        assert len(pids) == 3, "the program, the keeper and the hub"
        pidfds = [os.pidfd_open(pid) for pid in pids]
        maker.kill()
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], 30)[0], "a process stays"
            os.close(pidfd)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_killed_hub_is_told_and_the_hosts_end_all_the_same() -> None:
    before = children()
    with Network() as network:
        (hub,) = children() - before
        host = network.host("node7")
        os.kill(int(hub), signal.SIGKILL)
        with pytest.raises(CannotSkew, match="the hub of the network has ended"):
            network.host("other")
        program = host.popen(["sleep", "600"])
    assert program.returncode == -signal.SIGKILL


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_refused_and_nothing_of_the_second_is_left(network: Network) -> None:
    network.host("node7")
    before = children()
    with pytest.raises(ValueError, match="there is a host 'node7' on this network already"):
        network.host("node7")
    assert children() == before
    assert network.hosts == ("node7",)


def test_a_link_is_between_two_hosts_of_the_network(network: Network) -> None:
    network.host("one")
    with pytest.raises(ValueError, match="no host 'two' is on this network; there are one"):
        network.set("one", "two", Link())
    with pytest.raises(ValueError, match="from host 'one' to itself"):
        network.traffic("one", "one")


def test_a_host_of_a_network_is_isolated(network: Network) -> None:
    with pytest.raises(ValueError, match="and is not isolated; leave one of the two out"):
        SkewedHost("node7", isolated=False, network=network)


def test_a_network_that_has_ended_has_no_more_hosts(network: Network) -> None:
    network.end()
    with pytest.raises(CannotSkew, match="the hub of the network has ended"):
        network.host("node7")
