"""The release before this one and this one serve in one cluster, and a node goes there and back.

`scripts/prove-upgrade` shows more of it, for all nodes. CCN_TEST_UPGRADE=required makes it an error to
leave it out; a clone without the commit of the release before leaves it out and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.upgrades import __main__ as proof
from scripts.upgrades import releases

_ROOT = Path(__file__).parents[2]
_WISH = os.environ.get("CCN_TEST_UPGRADE", "")


@pytest.mark.timeout(900)
@pytest.mark.skipif(not _WISH, reason="takes a minute: CCN_TEST_UPGRADE is not set")
def test_a_node_goes_to_this_release_and_back_while_people_talk_and_nothing_is_lost() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "scripts.upgrades", "--short", "--talkers", "3"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    if shown.returncode == proof.NO_HISTORY and _WISH != "required":
        pytest.skip(shown.stderr.strip())
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert '"lost": 0, "doubled": 0, "replies_lost": 0' in shown.stdout
    assert shown.stdout.rstrip().endswith("it holds")


def test_a_commit_that_this_clone_does_not_have_is_no_release() -> None:
    assert releases.find_previous("0" * 40) == ""
    assert proof.main(["--from", "0" * 40]) == proof.NO_HISTORY


def test_a_release_to_come_has_one_schema_file_more_and_says_who_may_serve_beside_it(
    tmp_path: Path,
) -> None:
    files = releases.count_files()
    release = releases.copy_tree(
        tmp_path, "newer", {"adds": "-- oldest program: {before}\nSELECT {own};\n"}
    )
    assert releases.count_files(release.tree) == files + 1
    made = release.tree / "schema" / f"{files + 1:04}_adds.sql"
    assert made.read_text() == f"-- oldest program: {files}\nSELECT {files + 1};\n"
