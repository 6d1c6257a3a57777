"""
The library that gives a program clocks of its own: skewclock.c, compiled at first use into the user's cache.

It is not shipped ready-made: a wheel for every system would be needed for something only tests use.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from coeval.errors import CoevalError

SOURCE = Path(__file__).with_name("skewclock.c")

# A compiler that takes longer is stuck; it takes a fifth of a second.
COMPILE_S_MAX = 60


class CannotSkew(CoevalError):
    """This machine cannot give a program clocks of its own, or not a host of its own."""


def skew_library() -> Path:
    """
    Find the library, and build it if this source was never built here.

    Raises:
        CannotSkew: not 64-bit Linux, no C compiler, or the compiler refuses the source.
    """
    if sys.platform != "linux" or sys.maxsize < 2**32:
        raise CannotSkew(f"skewed hosts need 64-bit Linux; this is {platform.platform()}")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    built = cache_folder() / f"skewclock-{digest[:16]}-{platform.machine()}.so"
    if not built.exists():
        _compile(built)
    return built


def cache_folder() -> Path:
    """`coeval` in `XDG_CACHE_HOME`, or in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coeval"


def _compile(built: Path) -> None:
    built.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    compiler = shlex.split(os.environ.get("CC") or "cc")
    # Built beside its place and moved there whole: two processes may build at once.
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        new = Path(folder, built.name)
        command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(new), str(SOURCE), "-ldl"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_S_MAX)
        except FileNotFoundError:
            raise CannotSkew(
                f"skewed hosts need a C compiler, and there is no {compiler[0]!r}; install one (Debian: gcc and "
                f"libc6-dev) or name yours in CC"
            ) from None
        except subprocess.CalledProcessError as error:
            raise CannotSkew(
                f"{compiler[0]} cannot compile coeval's skewclock.c, which needs glibc: {error.stderr.strip()[-2000:]}"
            ) from error
        new.replace(built)
