"""What `pip install ccn` brings: all that the program reads, and a program that runs without a clone."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import ccn
from ccn import settings

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


def test_the_wheel_carries_the_example_plate(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        assert opened.read("ccn/plates/wren.md") == (root / "ccn" / "plates" / "wren.md").read_bytes()


def test_the_wheel_carries_the_page(wheel: Path, root: Path) -> None:
    folder = root / "ccn" / "gateway" / "http" / "static"
    with zipfile.ZipFile(wheel) as opened:
        carried = {name for name in opened.namelist() if name.startswith("ccn/gateway/http/static/")}
    assert carried == {f"ccn/gateway/http/static/{file.name}" for file in folder.iterdir()}
    assert "ccn/gateway/http/static/index.html" in carried


def test_the_wheel_carries_the_descriptions_of_the_grpc_services(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        carried = {name: opened.read(name) for name in opened.namelist() if name.endswith(".proto")}
    kept = root / "proto"
    assert carried == {str(file.relative_to(kept)): file.read_bytes() for file in kept.rglob("*.proto")}
    assert "ccn/pb/instances.proto" in carried


def test_the_wheel_says_what_it_is_for_and_under_which_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        said = message_from_bytes(opened.read(f"ccn-{ccn.__version__}.dist-info/METADATA"))
    classifiers = said.get_all("Classifier", [])
    assert {"Typing :: Typed", "Operating System :: POSIX :: Linux"} <= set(classifiers)
    assert said["License-Expression"] == "MIT"
    assert [each for each in classifiers if each.startswith("License ::")] == []


def test_the_wheel_carries_no_test_and_no_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        tops = {name.split("/")[0] for name in opened.namelist()}
    assert tops == {"ccn", f"ccn-{ccn.__version__}.dist-info"}


def test_an_installed_program_runs_from_the_wheel_alone(installed: Run, root: Path) -> None:
    told = installed("ccn", "--version")
    assert (told.returncode, told.stdout.strip()) == (0, f"ccn {ccn.__version__}")
    where = installed("python", "-c", "import ccn; print(ccn.__file__)").stdout
    assert str(root) not in where


USES_THE_LIBRARY = """
from ccn import continuity

async def begin() -> None:
    async with continuity.connect() as cluster:
        talk = await cluster.begin("wren")
        reveal_type(await talk.prompt())
        talk.no_such_thing
"""


def test_programs_that_use_the_installed_library_are_checked_against_its_types(installed: Run) -> None:
    checks = ("-m", "mypy", "--strict", "--cache-dir", os.devnull, "-c", USES_THE_LIBRARY)
    told = installed("python", *checks).stdout
    assert 'Revealed type is "ccn.continuity.values.Prompt"' in told
    assert '"Conversation" has no attribute "no_such_thing"' in told
    assert "Found 1 error in 1 file" in told


def test_an_installed_program_migrates_a_database_with_the_schema_it_brought(
    installed: Run, database: settings.DatabaseSettings, root: Path
) -> None:
    told = installed("ccn", "migrate", "--plan", CCN_DATABASE_URL=database.url.get_secret_value())
    assert told.returncode == 0, told.stderr
    names = [file.stem.partition("_")[2] for file in (root / "schema").glob("*.sql")]
    assert [name for name in names if name not in told.stdout] == []
    assert "would run" not in told.stdout
