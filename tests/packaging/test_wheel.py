"""What `pip install ccn` brings: all that the program reads, and a program that runs without a clone."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import ccn

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_wheel_carries_every_schema_file(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        inside = {name for name in opened.namelist() if name.startswith("ccn/schema/")}
    assert inside == {f"ccn/schema/{file.name}" for file in (root / "schema").glob("*.sql")}
    assert inside


def test_the_wheel_carries_the_changelog_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    assert "ccn/CHANGELOG.md" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_carries_no_test_and_no_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        tops = {name.split("/")[0] for name in opened.namelist()}
    assert tops == {"ccn", f"ccn-{ccn.__version__}.dist-info"}


def test_an_installed_program_runs_from_the_wheel_alone(installed: Run, root: Path) -> None:
    told = installed("ccn", "--version")
    assert (told.returncode, told.stdout.strip()) == (0, f"ccn {ccn.__version__}")
    where = installed("python", "-c", "import ccn; print(ccn.__file__)").stdout
    assert str(root) not in where


def test_an_installed_package_finds_its_schema(installed: Run, root: Path) -> None:
    program = "from ccn.store import migrate; print(*[m.name for m in migrate.files()])"
    told = installed("python", "-c", program)
    assert told.stderr == ""
    assert len(told.stdout.split()) == len(list((root / "schema").glob("*.sql")))
