"""`scripts/bootstrap` on machines that are not as they should be, with a stand-in for Python and pip."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Answers what bootstrap asks of an interpreter, makes environments that hold a copy of itself, plays pip,
# and writes down what it did; the file pip-fails holds the words with which pip fails, and while there is a
# file pip-is-held, pip does not end.
PYTHON = """#!/bin/sh
here='{here}'
case "$*" in
  *version_info*) cat "$here/version" ;;
  *ensurepip*) [ ! -e "$here/without-venv" ] ;;
  '-m venv'*) echo venv >>"$here/did"; mkdir -p "$3/bin" && cp "$here/python3" "$3/bin/python" ;;
  '-m pip'*)
    echo pip >>"$here/did"
    sleep 0.2
    while [ -e "$here/pip-is-held" ]; do sleep 0.05; done
    ! cat "$here/pip-fails" ;;
  -) exec '{python}' - ;;
esac
"""
TOOLS = "bash cat cksum cp dirname grep head id mkdir mv readlink rm sh sleep tail"


class Machine:
    """A clone in a folder with a space in its name, and one Python on the search path."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.clone, self.bin = folder / "a clone", folder / "bin"
        (self.clone / "scripts").mkdir(parents=True)
        shutil.copy(root / "scripts/bootstrap", self.clone / "scripts")
        (self.clone / "scripts/constraints.txt").write_text("one==1\n")
        (self.clone / "pyproject.toml").write_text("[project]\n")
        self.bin.mkdir()
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.has("python3", PYTHON.format(here=self.bin, python=sys.executable))
        self.has("version", "3.12.1 True")

    def has(self, file: str, content: str = "") -> None:
        """Put a file beside the programs."""
        (self.bin / file).write_text(content)
        (self.bin / file).chmod(0o755)

    def start(self) -> subprocess.Popen[str]:
        command = [self.clone / "scripts/bootstrap"]
        return subprocess.Popen(
            command, env={"PATH": str(self.bin)}, cwd="/", stderr=subprocess.PIPE, text=True
        )

    def bootstrap(self) -> tuple[int, str]:
        """Exit code and everything it said."""
        running = self.start()
        said = running.communicate(timeout=100)[1]
        return running.returncode, said

    def did(self) -> list[str]:
        """What was made since the last question."""
        log = self.bin / "did"
        done = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return done


@pytest.fixture
def machine(tmp_path: Path, root: Path) -> Machine:
    return Machine(tmp_path, root)


def test_the_first_run_makes_the_environment_and_the_second_does_nothing(machine: Machine) -> None:
    code, said = machine.bootstrap()
    assert (code, machine.did()) == (0, ["venv", "pip", "pip"]), said
    assert machine.bootstrap() == (0, "")
    assert machine.did() == []


def test_new_pins_are_installed_into_the_environment_that_is_there(machine: Machine) -> None:
    machine.bootstrap()
    machine.did()
    (machine.clone / "scripts/constraints.txt").write_text("one==2\n")
    assert machine.bootstrap()[0] == 0
    assert machine.did() == ["pip", "pip"]


def test_a_moved_clone_gets_a_new_environment(machine: Machine) -> None:
    machine.bootstrap()
    machine.did()
    machine.clone = machine.clone.rename(machine.clone.with_name("moved"))
    assert machine.bootstrap()[0] == 0
    assert machine.did() == ["venv", "pip", "pip"]


def test_an_environment_whose_making_was_cut_off_is_made_anew(machine: Machine) -> None:
    machine.has("pip-fails", "ERROR: no such package")
    code, said = machine.bootstrap()
    assert code == 1
    assert "ERROR: no such package" in said
    assert machine.did() == ["venv", "pip"]
    (machine.bin / "pip-fails").unlink()
    assert machine.bootstrap()[0] == 0
    assert machine.did() == ["venv", "pip", "pip"]


def test_of_two_at_once_one_works_and_the_other_waits(machine: Machine) -> None:
    machine.has("pip-is-held")
    first, second = machine.start(), machine.start()
    assert first.stderr is not None
    assert second.stderr is not None
    said = b""
    while b"waiting for it" not in said:
        heard, _, _ = select.select([first.stderr, second.stderr], [], [], 100)
        said += (more := os.read(heard[0].fileno(), 4096))
        assert more, said
    (machine.bin / "pip-is-held").unlink()
    told = first.communicate(timeout=100)[1] + second.communicate(timeout=100)[1]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert machine.did() == ["venv", "pip", "pip"]


def test_one_that_was_killed_does_not_keep_the_next_one_out(machine: Machine) -> None:
    running = machine.start()
    while not (machine.clone / ".venv").exists():
        time.sleep(0.01)
    running.kill()
    running.communicate(timeout=100)
    assert machine.bootstrap()[0] == 0


@pytest.mark.parametrize(
    ("file", "content", "advice"),
    [
        ("version", "3.10.4 False", "Python 3.11 or newer"),
        ("without-venv", "", "apt-get install python3-venv"),
        ("pip-fails", "WARNING: Retrying (Retry(total=4)) after connection broken", "Check the network"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    machine: Machine, file: str, content: str, advice: str
) -> None:
    machine.has(file, content)
    code, said = machine.bootstrap()
    assert code == 1
    assert advice in said
    assert all(line.startswith("bootstrap: ") for line in said.splitlines()), said
