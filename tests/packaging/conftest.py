"""The repository as a thing that is cloned, built and installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    """The clone these tests lie in."""
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> list[str]:
    """Every file under version control. A clone may belong to another user than the one who tests it."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=200).stdout
    return [name for name in told.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this clone, without asking any index."""
    folder = tmp_path_factory.mktemp("a wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command of an environment with the wheel and the libraries of this one, but not the clone.

    A path file adds this environment's libraries without following the path files among them, so that the
    clone, which is installed in place here, is out of reach.
    """
    folder = tmp_path_factory.mktemp("an environment")
    venv.create(folder, with_pip=False, symlinks=True)
    bin_ = folder / "bin"
    site = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(bin_ / "python"), "--disable-pip-version-check"]
    into = ["install", "--quiet", "--no-index", "--no-deps", "--force-reinstall", str(wheel)]
    subprocess.run([*pip, *into], check=True, capture_output=True, timeout=200)

    def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("CCN_", "PYTHON"))
        }
        command = [str(bin_ / program), *arguments]
        return subprocess.run(
            command,
            cwd=folder,
            env=clean | environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    return run
