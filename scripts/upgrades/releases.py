"""Programs of several releases on one machine: trees of source that the same environment runs.

The release before this one is the commit that `scripts/previous-release` names, out of the history of this
clone; a shallow clone has none. This release is a copy, so that work on the tree goes on meanwhile. A
release to come is another one, with more schema files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAMED = ROOT / "scripts" / "previous-release"
_PARTS = ("ccn", "schema")
_PATIENCE_S = 400


@dataclass(frozen=True, slots=True)
class Release:
    """One program: its name in what is printed, and where its source lies."""

    name: str
    tree: Path

    @property
    def command(self) -> tuple[str, ...]:
        """What runs it, before its arguments."""
        return (sys.executable, "-P", "-m", "ccn")

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The variables with which its source comes before the one that is installed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CCN_")}
        return kept | {"PYTHONPATH": str(self.tree)} | dict(more)

    def run(self, *arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of it to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            env=self.environment(more),
            input=given,
            text=True,
            capture_output=True,
            timeout=_PATIENCE_S,
            check=False,
            start_new_session=True,
        )


def find_previous(commit: str = "") -> str:
    """The commit of the release before this one; empty if this clone does not have it."""
    wanted = commit or _NAMED.read_text().strip()
    try:
        found = _ask_git("rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.decode().strip()


def unpack_commit(commit: str, folder: Path) -> Release:
    """The program of a commit of this clone."""
    folder.mkdir()
    packed = _ask_git("archive", commit, *_PARTS)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    # Once, so that three nodes that start together need not each do it.
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder / "ccn")], check=True)
    return Release(f"previous ({commit[:10]})", folder)


def copy_tree(folder: Path, name: str, schema: Mapping[str, str], source: Path = ROOT) -> Release:
    """The program of a tree as it is now, with more schema files, by the name that follows their number."""
    for part in _PARTS:
        shutil.copytree(source / part, folder / part)
    for file, sql in schema.items():
        number = count_files(folder) + 1
        text = sql.replace("{before}", str(number - 1)).replace("{own}", str(number))
        (folder / "schema" / f"{number:04}_{file}.sql").write_text(text)
    return Release(name, folder)


def count_files(folder: Path = ROOT) -> int:
    """How many schema files a tree has."""
    return len(list((folder / "schema").glob("*.sql")))


def _ask_git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout
