"""The releases that `scripts/prove-upgrade` runs in one cluster: the one before, and one to come.

The proof itself takes minutes, so `.ci/run` calls it, not a test.
"""

from __future__ import annotations

from pathlib import Path

from scripts.upgrades import __main__ as proof
from scripts.upgrades import releases


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
