"""
The wires between the hosts of a network: one process that carries every IPv4 packet from host to host.

A script, run by path and importing nothing of coeval's. Not every kernel has netem, and this needs no tool but Python:
each host's network namespace has one TUN device whose descriptor is held here, so what a host sends is read here, and
written to the other host after the delay of its direction, or not at all. The devices and addresses vanish with their
descriptors: nothing is left behind, however this process ends. It ends with its standard input.

    python -I _hub.py SEED      on standard input one JSON array a line; each is answered by a line of JSON

    ["join", host, process, address, prefix]                  a device in that process's network namespace
    ["leave", host]
    ["way", sender, receiver, delay_ns, jitter_ns, loss]      from now on
    ["traffic", sender, receiver]                             is answered by [sent, lost]
    ["end"]
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import time
from typing import Any

# Every host's device. A packet is read and written whole.
DEVICE = b"eth0"
MTU = 1500

# Of one host's packets, how many are carried before others have their turn.
TURN = 64

# So many packets are under way at most, in all; further ones are lost, as where a router's queue is full.
# Fewer: a fast connection over a long path loses what it should not: a gigabit per second has 85 000 in one second.
# More: a program that sends without end takes all memory: these are 150 MB.
UNDER_WAY_MAX = 100_000

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU, _SIOCSIFTXQLEN = 0x8914, 0x8916, 0x891C, 0x8922, 0x8943
_SIOCADDRT, _RTF_UP = 0x890B, 0x1
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_PR_SET_TIMERSLACK = 29

_libc = ctypes.CDLL(None, use_errno=True)


class Direction:
    """What packets from one host to one other undergo, and what went so far."""

    def __init__(self, seed: str) -> None:
        # Draws of its own, so that what one direction carries changes nothing in another.
        self._chance = random.Random(seed)
        self._last_due_ns = 0
        self.delay_ns = self.jitter_ns = 0
        self.loss = 0.0
        self.sent = self.lost = 0

    def due_ns(self, now_ns: int) -> int | None:
        """When a packet that is sent now arrives; None: it is lost."""
        self.sent += 1
        if self.loss and self._chance.random() < self.loss:
            self.lost += 1
            return None
        due_ns = now_ns + self.delay_ns
        if self.jitter_ns:
            due_ns += int(self._chance.expovariate(1 / self.jitter_ns))
        self._last_due_ns = max(due_ns, self._last_due_ns)
        return self._last_due_ns


class Hub:
    """The hosts' devices, and the packets under way."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._directions: dict[tuple[str, str], Direction] = {}
        self._device: dict[str, int] = {}
        self._host_of: dict[int, str] = {}
        self._host_at: dict[bytes, str] = {}
        # By when they are due, then by when they were sent.
        self._under_way: list[tuple[int, int, Direction, str, bytes]] = []
        self._count = 0

    def answer(self, command: list[Any]) -> object:
        """Do what standard input says."""
        verb, *arguments = command
        if verb == "join":
            self._join(*arguments)
        elif verb == "leave":
            self._leave(*arguments)
        elif verb == "way":
            sender, receiver, delay_ns, jitter_ns, loss = arguments
            direction = self._direction(sender, receiver)
            direction.delay_ns, direction.jitter_ns, direction.loss = delay_ns, jitter_ns, loss
        elif verb == "traffic":
            direction = self._direction(*arguments)
            return [direction.sent, direction.lost]
        else:
            raise ValueError(f"unknown command {verb!r}")
        return None

    def carry(self, commands: int) -> None:
        """Carry packets until there is a command to read."""
        while True:
            due_ns = self._under_way[0][0] if self._under_way else None
            wait_s = None if due_ns is None else max(0, due_ns - time.monotonic_ns()) / 1e9
            ready = select.select([commands, *self._host_of], [], [], wait_s)[0]
            for device in ready:
                if device != commands:
                    self._take(device)
            self._give()
            if commands in ready:
                return

    def _join(self, host: str, process: int, address: str, prefix: int) -> None:
        device = device_in(process, address, prefix)
        self._device[host] = device
        self._host_of[device] = host
        self._host_at[socket.inet_aton(address)] = host

    def _leave(self, host: str) -> None:
        device = self._device.pop(host, None)
        if device is None:
            return
        del self._host_of[device]
        self._host_at = {address: other for address, other in self._host_at.items() if other != host}
        os.close(device)

    def _direction(self, sender: str, receiver: str) -> Direction:
        way = (sender, receiver)
        if way not in self._directions:
            self._directions[way] = Direction(f"{self._seed} {sender} {receiver}")
        return self._directions[way]

    def _take(self, device: int) -> None:
        sender = self._host_of[device]
        for _ in range(TURN):
            try:
                packet = os.read(device, 65_536)
            except BlockingIOError:
                return
            except OSError:  # the host and its namespace are gone
                self._leave(sender)
                return
            receiver = self._host_at.get(packet[16:20]) if packet[:1] and packet[0] >> 4 == 4 else None
            if receiver is None:  # IPv6, multicast, broadcast, and addresses that nobody has
                continue
            direction = self._direction(sender, receiver)
            due_ns = direction.due_ns(time.monotonic_ns())
            if due_ns is None:
                continue
            if len(self._under_way) == UNDER_WAY_MAX:
                direction.lost += 1
            else:
                self._count += 1
                heapq.heappush(self._under_way, (due_ns, self._count, direction, receiver, packet))

    def _give(self) -> None:
        now_ns = time.monotonic_ns()
        while self._under_way and self._under_way[0][0] <= now_ns:
            _, _, direction, receiver, packet = heapq.heappop(self._under_way)
            try:
                os.write(self._device[receiver], packet)
            except (KeyError, OSError):  # the receiver has left, or takes no more
                direction.lost += 1


def device_in(process: int, address: str, prefix: int) -> int:
    """A TUN device that lives in the network namespace of a process, while its descriptor stays here."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(there)
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", DEVICE, _IFF_TUN | _IFF_NO_PI))
                _bring_up(socket.inet_aton(address), prefix)
            except BaseException:
                os.close(device)
                raise
        finally:
            _enter(home)
    finally:
        os.close(home)
        os.close(there)
    return device


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def _bring_up(address: bytes, prefix: int) -> None:
    """In the namespace that this process is in: addresses, and a way to everywhere, so that programs find their own."""
    netmask = ((1 << 32) - (1 << (32 - prefix))).to_bytes(4, "big")
    up = struct.pack("=h22x", _IFF_UP | _IFF_RUNNING)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:

        def ask(request: int, device: bytes, value: bytes) -> None:
            fcntl.ioctl(control, request, struct.pack("=16s24s", device, value))

        ask(_SIOCSIFFLAGS, b"lo", up)
        ask(_SIOCSIFADDR, DEVICE, _socket_address(address))
        ask(_SIOCSIFNETMASK, DEVICE, _socket_address(netmask))
        ask(_SIOCSIFMTU, DEVICE, struct.pack("=i", MTU))
        # Long enough for all that a delayed connection has under way.
        ask(_SIOCSIFTXQLEN, DEVICE, struct.pack("=i", 5000))
        ask(_SIOCSIFFLAGS, DEVICE, up)
        # struct rtentry of 64-bit Linux: destination, gateway and netmask 0.0.0.0, the flags, the device's name.
        name = ctypes.create_string_buffer(DEVICE)
        route = struct.pack("=8x48sH30xQ24x", _socket_address(bytes(4)) * 3, _RTF_UP, ctypes.addressof(name))
        fcntl.ioctl(control, _SIOCADDRT, route)


def _socket_address(address: bytes) -> bytes:
    return struct.pack("=H2x4s8x", socket.AF_INET, address)


def serve(seed: str) -> None:
    """Until standard input ends."""
    _libc.prctl(_PR_SET_TIMERSLACK, 1)  # waits end within microseconds of their time
    hub, given = Hub(seed), b""
    while True:
        hub.carry(0)
        more = os.read(0, 65_536)
        if not more:
            return
        given += more
        *lines, given = given.split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command == ["end"]:
                return
            try:
                answer = ["done", hub.answer(command)]
            except OSError as error:
                answer = ["failed", f"{command[0]}: {error}"]
            os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve(sys.argv[1])
