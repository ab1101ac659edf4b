"""Commands that are imported when they are needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ccn import cli
from ccn.cli.lazy import LazyCommand
from tests.support.cli import commands


@pytest.mark.parametrize("command", cli.Commands.table, ids=lambda command: command.name)
def test_a_list_shows_the_first_sentences_of_a_commands_own_help(command: LazyCommand) -> None:
    loaded = command.load()
    assert loaded.name == command.name
    assert (loaded.help or "").partition("\n\n")[0].replace("\n", " ").strip() == command.help


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_no_module_of_commands(arguments: list[str], tmp_path: Path) -> None:
    assert not _imported(arguments, tmp_path, "ccn.cli.commands")


def test_a_command_imports_no_other(tmp_path: Path) -> None:
    assert _imported(["status", "--help"], tmp_path, "ccn.cli.commands.") == ["ccn.cli.commands.status"]
    assert not _imported(["status", "--help"], tmp_path, "ccn.store")
    assert not _imported(["up", "--help"], tmp_path, "ccn.cli.cluster.lifecycle")


def test_a_shell_completes_the_commands_of_a_group_and_their_options(tmp_path: Path) -> None:
    assert _completed("ccn record pr", 2, tmp_path) == ["prove"]
    assert _completed("ccn round list --li", 3, tmp_path) == ["--limit"]


def _completed(words: str, index: int, folder: Path) -> list[str]:
    asked = {"_CCN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    return commands.run(cwd=folder, env=commands.environment(**asked)).stdout.split()


def _imported(arguments: list[str], folder: Path, prefix: str) -> list[str]:
    """The modules of ours that a command line imports in a fresh interpreter."""
    code = (
        f"import sys; from ccn import cli; sys.argv = {['ccn', *arguments]}\n"
        "try: cli.main()\n"
        f"except SystemExit: print(*(name for name in sorted(sys.modules) if name.startswith({prefix!r})))"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    return ended.stdout.splitlines()[-1].split()
