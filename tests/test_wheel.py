"""The built wheel, not the editable install: everything is in it, and it works where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Isolated (-I), in an environment without the editable install: only the wheel can answer.
USE = """
import sys
import coeval
assert coeval.__file__.startswith(sys.prefix), coeval.__file__
assert coeval.__version__ == sys.argv[1], coeval.__version__
with coeval.Executor("local:1") as ex:
    print(ex.submit(abs, -3).result())
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip builds it, by the locked build tools."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-index")
    run(*pip, "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    [built] = folder.iterdir()
    return built


def test_the_wheel_holds_every_module_and_the_marker_of_types(wheel: Path) -> None:
    source = ROOT / "src"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*.py")} | {"coeval/py.typed"}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected - held == set()
    assert {name for name in held - expected if name.endswith((".py", ".pyc"))} == set()


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [licence] = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_alone_runs_calls(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path, symlinks=True)
    python = tmp_path / "bin" / "python"
    packages = run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index")
    run(*pip, "--no-deps", "--target", packages, wheel)
    assert run(python, "-I", "-c", USE, version("coeval")) == "3\n"
