"""
A host whose clocks are wrong, on this machine: programs started on it see its clocks, and the test knows the truth.

    test (true clocks)                                a program on the host
      SkewedHost.set(skew) ──> skew file, mapped ──>  preloaded skewclock.c: wall clock, CLOCK_MONOTONIC_RAW
      SkewedHost.popen(…)  ──> nsenter ────────────>  boot id, time namespace, host name, /dev/shm of its own
      pipe, held open      ──> keeper (first and last process of the host: ends all others when the pipe closes)

Two grades of apartness. *Isolated* needs root: what names a host to coeval (boot id, time namespace) is really its own,
and CLOCK_MONOTONIC counts from another origin. Without root the library alone works, and `COEVAL_CLOCK_ID` names the
clocks apart. Files and process ids are this machine's in both: a kill by number hits what it means to. The network is
this machine's too, unless the host is made on a `Network` (_network.py).
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coeval.clocks import SYSTEM_CLOCK, ClockId
from coeval.testing._ending import Ending
from coeval.testing._skew import SECOND_NS, Piece, Skew, SkewedClock, Truth
from coeval.testing._skew_library import CannotSkew, skew_library

if TYPE_CHECKING:
    from coeval.testing._network import Network

# struct SkewFile of skewclock.c.
_FORMAT = b"cvskew01"
_SEQUENCE = struct.Struct("=Q")
_SEQUENCE_AT = 8
_CLOCKS = struct.Struct("=q6q6q")
_CLOCKS_AT = 16

_SKEW_FILE = "COEVAL_SKEW_FILE"
# What a clock did before it was first set; no program has seen it.
_BEFORE_ALL = Piece(0, 0, 0)

_KEEPER = Path(__file__).with_name("_host_keeper.py")
_TOOLS = ("unshare", "nsenter", "mount", "sh")

# How long a host may take to come up, and its programs to be gone after SIGKILL. It takes 50 ms.
PATIENCE_S = 30


class SkewedHost(Ending):
    """
    Programs started here run on a host of their own, with the clocks of its skew.

    Ends with `end()`, as a context manager, and when the process that made it is gone, however that went. Nothing that
    ran on it is left then: no process, mount, namespace or file.

    Attributes:
        name: its host name if isolated, and how the test calls it.
        isolated: whether it has a boot id, time namespace, host name and /dev/shm of its own.
        clock_id: how coeval will name the clock that programs on it take their stamps from.
        address: where other hosts of its `Network` reach it; None: it is on none.
        skew: what was set last. The offsets held when it was set; `truth` has what they have become.
    """

    name: str
    isolated: bool
    address: str | None
    clock_id: ClockId
    skew: Skew

    def __init__(
        self, name: str, skew: Skew | None = None, *, isolated: bool | None = None, network: Network | str | None = None
    ) -> None:
        """
        Make the host. It is up when this returns.

        Args:
            name: letters, digits, dot and hyphen, at most 63.
            skew: of its clocks; None: none.
            isolated: True: a host of its own or an error. False: the library alone. None: as much as is possible here.
            network: that it is a host of, with an address of its own; or the name of a network namespace that it lives
                in, as `ip netns` lists them; None: this machine's own network, so that hosts talk over loopback.

        Raises:
            CannotSkew: this machine cannot do it; the error says what is missing.
            ValueError: a bad name, one that its network has already, or a network for a host that is not isolated.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}", name):
            raise ValueError(f"the host's name is {name!r}; expected up to 63 letters, digits, dots and hyphens")
        if _SKEW_FILE in os.environ:
            raise CannotSkew("this process runs on a skewed host itself: it does not know the true clocks")
        self.name = name
        self._library = skew_library()
        missing = None if isolated is False else why_not_isolated()
        if isolated and missing:
            raise CannotSkew(f"host {name!r} cannot be isolated: {missing}. isolated=False gives it clocks alone")
        self.isolated = isolated is not False and not missing
        if network is not None and not self.isolated:
            raise ValueError(f"host {name!r} has network {network!r} and is not isolated; leave one of the two out")
        self._network = network
        self._wires = None if network is None or isinstance(network, str) else network
        self.address = None
        # Each host has been up for another time, so that readings of two hosts never look comparable by chance.
        self._up_s = 1_000 + zlib.crc32(name.encode()) % 10_000_000 if self.isolated else 0
        self._raw_ahead_ns = (self._up_s * SECOND_NS - _own_raw_ahead_ns()) if self.isolated else 0
        self._wall = self._raw = SkewedClock((_BEFORE_ALL,))
        self._sequence = 0
        self._programs: list[subprocess.Popen[Any]] = []
        self._boot_id = str(uuid.uuid4())
        self._folder = Path(tempfile.mkdtemp(prefix=f"coeval-host-{name}-"))
        self._skew_file = self._folder / "skew"
        try:
            self._skew_file.write_bytes(_FORMAT + bytes(_SEQUENCE.size + _CLOCKS.size))
            self.set(skew or Skew())
            self._keeper = self._start_keeper()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        try:
            self._wait_until_up()
            self.clock_id = self._name_clock()
            if self._wires is not None:
                self.address = self._wires.join(name, self._keeper_pid)
        except BaseException:
            self.end()
            raise

    def set(self, skew: Skew) -> None:
        """
        Set the clocks: running programs see them step to the new offsets, and go on at the new rates, from now on.

        To change a rate without a step, set the offsets that the clocks have come to: see `now`.
        """
        wall_before, raw_before = self._wall.pieces[-1], self._raw.pieces[-1]
        with open(self._skew_file, "r+b", buffering=0) as file:
            # Whoever reads its clock after this snapshot finds the sequence odd and waits.
            self._write_sequence(file.fileno())
            now = SYSTEM_CLOCK.snapshot()
            wall = Piece(now.realtime_ns, skew.wall_offset_ns, skew.wall_rate_ppb)
            raw = Piece(now.raw_after_ns, skew.raw_offset_ns, skew.raw_rate_ppb)
            clocks = _CLOCKS.pack(self._raw_ahead_ns, *wall_before, *wall, *raw_before, *raw)
            os.pwrite(file.fileno(), clocks, _CLOCKS_AT)
            self._write_sequence(file.fileno())
        self._wall, self._raw = self._wall.with_piece(wall), self._raw.with_piece(raw)
        self.skew = skew

    def now(self) -> Skew:
        """The skew as it has become, with the offsets of this moment: `set(replace(host.now(), …))` steps nothing."""
        now = SYSTEM_CLOCK.snapshot()
        return replace(
            self.skew,
            wall_offset_ns=self._wall.shown(now.realtime_ns) - now.realtime_ns,
            raw_offset_ns=self._raw.shown(now.raw_after_ns) - now.raw_after_ns,
        )

    @property
    def truth(self) -> Truth:
        """What this host's clocks showed and will show, against the clocks of this process; immutable."""
        return Truth(*(SkewedClock(clock.pieces[1:]) for clock in (self._wall, self._raw)))

    def environment(self) -> dict[str, str]:
        """
        What a program's environment must have to see the host's clocks, to be put over the one it would have had.

        On its own this gives the clocks; `popen` and `command` put the program on the host.
        """
        preloaded = os.environ.get("LD_PRELOAD")
        return {
            "LD_PRELOAD": f"{self._library}:{preloaded}" if preloaded else str(self._library),
            _SKEW_FILE: str(self._skew_file),
            # Empty counts as unset: an isolated host is named by what it is.
            "COEVAL_CLOCK_ID": "" if self.isolated else self._folder.name,
        }

    def command(self, args: Sequence[str | os.PathLike[str]]) -> list[str]:
        """The command that runs `args` on the host, for what starts programs itself. Give it `environment()` too."""
        given = [os.fspath(arg) for arg in args]
        if not self.isolated:
            return given
        into = ["nsenter", "--target", str(self._keeper_pid), "--time", "--uts", "--mount", "--ipc", "--wd=."]
        return [*into, *(["--net"] if self._network is not None else []), "--", *given]

    def popen(
        self, args: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[Any]:
        """
        Start a program on the host, as `subprocess.Popen` does; its `pid` is the program's.

        Args:
            args: the program and its arguments, as a list. It must be linked dynamically and not setuid.
            env: its environment, to which `environment()` is added; None: this process's.
            options: as for `subprocess.Popen`, but `shell` and `executable`.

        Raises:
            TypeError: a string for `args`, or one of those two options.
        """
        if isinstance(args, str) or options.keys() & {"shell", "executable"}:
            raise TypeError(f"a program on a skewed host is a list of its arguments, without shell=; got {args!r}")
        around = os.environ if env is None else env
        process = subprocess.Popen(self.command(args), env={**around, **self.environment()}, **options)
        self._programs.append(process)
        return process

    def end(self) -> None:
        """Kill and reap what runs on the host, and take the host away. A second time does nothing."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        if self._keeper.stdin.closed:
            return
        # The keeper cannot tell a program that is being started just now: it has no environment and no mapped file yet.
        for program in self._programs:
            program.kill()
        # A byte, because children that this process forked may hold the pipe too. The keeper may be gone already.
        with suppress(BrokenPipeError):
            self._keeper.stdin.write("\n")
            self._keeper.stdin.flush()
        with suppress(BrokenPipeError):
            self._keeper.stdin.close()
        try:
            self._keeper.wait(PATIENCE_S)
            for program in self._programs:
                program.wait(PATIENCE_S)
        finally:
            self._keeper.stdout.close()
            shutil.rmtree(self._folder, ignore_errors=True)  # the keeper did it, unless it never came up
            if self._wires is not None and self.address is not None:
                self._wires.leave(self.name)

    def __repr__(self) -> str:
        return f"<SkewedHost {self.name!r} isolated={self.isolated} {self.skew}>"

    def _write_sequence(self, descriptor: int) -> None:
        self._sequence += 1
        os.pwrite(descriptor, _SEQUENCE.pack(self._sequence), _SEQUENCE_AT)

    def _start_keeper(self) -> subprocess.Popen[str]:
        keeper = [sys.executable, "-I", str(_KEEPER), str(self._skew_file)]
        if self.isolated:
            boot_id = self._folder / "boot_id"
            boot_id.write_text(f"{self._boot_id}\n")
            inside = (
                'mount --bind "$1" /proc/sys/kernel/random/boot_id && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && '
                'hostname "$2" && shift 2 && exec "$@"'
            )
            enter = ["nsenter", f"--net=/run/netns/{self._network}"] if isinstance(self._network, str) else []
            own_network = [] if self._wires is None else ["--net"]
            unshare = ["unshare", "--time", "--uts", "--mount", "--ipc", *own_network, "--fork"]
            base = ["--monotonic", str(self._up_s), "--boottime", str(self._up_s)]
            shell = ["sh", "-c", inside, "sh", str(boot_id), self.name]
            command = [*enter, *unshare, *base, *shell, *keeper, "isolated"]
        else:
            command = [*keeper, "mapped"]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # an interrupt at the terminal must not end the one that cleans up
        )

    def _wait_until_up(self) -> None:
        assert self._keeper.stdout is not None
        said = self._keeper.stdout.readline()
        if not said.startswith("up "):
            raise CannotSkew(f"host {self.name!r} did not come up: {said}{self._keeper.stdout.read()}".rstrip())
        self._keeper_pid = int(said.split()[1])

    def _name_clock(self) -> ClockId:
        if not self.isolated:
            return ClockId(f"{self._folder.name}/monotonic_raw")
        namespace = str(Path(f"/proc/{self._keeper_pid}/ns/time").readlink()).strip("time:[]")
        return ClockId(f"{self._boot_id}/{namespace}/monotonic_raw")


@contextmanager
def skewed_host(
    name: str, skew: Skew | None = None, *, isolated: bool | None = None, network: Network | str | None = None
) -> Iterator[SkewedHost]:
    """
    Have a host whose clocks are wrong for the length of a `with` block. Arguments and errors are `SkewedHost`'s.

        with skewed_host("node7", Skew(wall_offset_ns=3_500_000_000)) as host:
            worker = host.popen([sys.executable, "-m", "my_program"])
    """
    with SkewedHost(name, skew, isolated=isolated, network=network) as host:
        yield host


@cache
def why_not_isolated() -> str | None:
    """Why hosts cannot be isolated here, as a clause for people; None: they can."""
    if os.geteuid() != 0:
        return f"it needs root, and this process runs as user {os.geteuid()}"
    if without := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"it needs {' and '.join(without)}, which are not installed (Debian: util-linux)"
    tried = subprocess.run(
        ["unshare", "--time", "--uts", "--mount", "--ipc", "--fork", "--boottime", "1", "true"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return f"this kernel or container does not allow it ({tried.stderr.strip()})" if tried.returncode else None


def _own_raw_ahead_ns() -> int:
    """What this process's own time namespace adds to the monotonic clocks; hosts' offsets count without it."""
    for line in Path("/proc/self/timens_offsets").read_text().splitlines():
        clock, seconds, nanoseconds = line.split()
        if clock == "monotonic":
            return int(seconds) * SECOND_NS + int(nanoseconds)
    return 0
