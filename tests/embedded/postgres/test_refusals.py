"""What an embedded PostgreSQL cannot use, and what it says then: each time what to do about it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.embedded import binaries, folder, unprivileged_user
from ccn.embedded.postgres import layout, service

Ask = Callable[[str, str], str]
Start = Callable[..., Any]


async def refused(data: Path, kind: type[errors.EmbeddedFailed], **options: Any) -> str:
    """The words of a start that fails in this way."""
    with pytest.raises(kind) as told:
        await _entered(data, **options)
    assert type(told.value) is kind
    return str(told.value)


async def _entered(data: Path, **options: Any) -> None:
    async with service.run_postgres(data, fsync=False, **options):
        pytest.fail("it must not start")


async def test_data_of_another_major_version_are_served_by_its_own_programs(place: Path, ask: Ask) -> None:
    older = binaries.find_postgres(None, 16)
    async with service.run_postgres(place / "data", bin=older.bin, fsync=False) as running:
        ask(running.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    async with service.run_postgres(place / "data", fsync=False) as running:
        assert running.version.startswith("16.")
        assert ask(running.url, "SELECT answer FROM kept") == "42"
    words = await refused(
        place / "data", errors.DataDirectoryUnusable, bin=binaries.find_postgres(None, 18).bin
    )
    assert "was written by PostgreSQL 16" in words
    assert "is PostgreSQL 18." in words
    assert "CCN_PG_BIN" in words
    assert "--data" in words
    async with service.run_postgres(place / "data", fsync=False) as running:
        assert ask(running.url, "SELECT answer FROM kept") == "42"


async def test_data_of_a_version_nobody_has_name_both(data: Path) -> None:
    (data / "pgdata" / "PG_VERSION").write_text("14\n")
    words = await refused(data, errors.DataDirectoryUnusable)
    assert "was written by PostgreSQL 14" in words
    assert "pg_upgrade" in words


async def test_a_folder_that_something_else_fills_is_left_alone(place: Path) -> None:
    foreign = place / "data" / "pgdata"
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("years of work")
    if account := unprivileged_user.find_account():
        os.chown(foreign, account.uid, account.gid)
    words = await refused(place / "data", errors.DataDirectoryUnusable)
    assert "not a PostgreSQL data directory" in words
    assert "move it away" in words
    assert (foreign / "thesis.txt").read_text() == "years of work"


async def test_data_of_another_user_are_named_with_both_users(data: Path, ordinary_place: Path) -> None:
    other = 54_322 if os.geteuid() == 0 else None
    if other is not None:
        os.chown(data / "pgdata", other, other)
    else:
        # An ordinary user cannot give files away: root's own folders are the others.
        shutil.rmtree(data / "pgdata")
        (data / "pgdata").symlink_to("/")
    words = await refused(data, errors.DataDirectoryUnusable)
    assert f"belongs to {other or 'root'}" in words
    assert "chown" in words


async def test_damaged_data_are_reported_with_the_last_words_and_the_log(data: Path) -> None:
    with (data / "pgdata" / "global" / "pg_control").open("r+b") as control:
        control.seek(100)
        control.write(b"damage")
    words = await refused(data, errors.DataDirectoryUnusable)
    assert "restore a backup" in words
    assert str(data / "server.log") in words
    assert "FATAL" in words or "PANIC" in words


async def test_a_missing_part_of_the_data_is_reported(data: Path) -> None:
    (data / "pgdata" / "global" / "pg_control").unlink()
    words = await refused(data, errors.DataDirectoryUnusable)
    assert "pg_control" in words


async def test_a_setting_that_cannot_be_is_named(data: Path) -> None:
    with (data / "pgdata" / "postgresql.auto.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    words = await refused(data, errors.DataDirectoryUnusable)
    assert "no_such_setting" in words
    assert "postgresql.auto.conf" in words


async def test_a_file_in_place_of_the_folder_is_named(place: Path) -> None:
    (place / "file").write_text("")
    for data in (place / "file", place / "file" / "data"):
        words = await refused(data, errors.DataDirectoryUnusable)
        assert str(place / "file") in words
        assert "--data" in words


async def test_a_lock_that_is_a_link_is_not_followed(place: Path) -> None:
    (place / "lock").symlink_to(place / "victim")
    await refused(place, errors.DataDirectoryUnusable)
    assert not (place / "victim").exists()


def test_a_folder_without_the_right_to_write_is_named(
    ordinary_place: Path, ordinary: dict[str, object], starter: Start
) -> None:
    ordinary_place.chmod(0o555)
    told = starter(service="postgres", data=str(ordinary_place / "data"), **ordinary).told
    assert told["error"] == "DataDirectoryUnusable"
    assert "Permission denied" in told["message"]
    assert str(ordinary_place / "data") in told["message"]
    assert "--data" in told["message"]


def test_an_ordinary_user_runs_it_as_themselves(
    ordinary_place: Path, ordinary: dict[str, object], starter: Start, ask: Ask
) -> None:
    data = ordinary_place / "a folder" / "data"
    for _ in range(2):
        running = starter(service="postgres", data=str(data), **ordinary)
        assert "url" in running.told, running.told
        uid = ordinary.get("uid", os.geteuid())
        assert _accounts(running.servers) == {uid}
        assert ask(running.told["url"], "SELECT 1") == "1"
        assert data.stat().st_uid == uid
        assert data.stat().st_mode & 0o777 == 0o700
        running.stop()


@contextmanager
def cramped(place: Path, options: str) -> Iterator[Path | None]:
    """A small disk, where this user may mount one."""
    small = place / "small"
    small.mkdir()
    mounting: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"mode=711,{options}", "tmpfs", small]
    try:
        mounted = subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield small if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", small], check=True)


def test_a_disk_without_room_is_refused_before_anything_is_written(place: Path, starter: Start) -> None:
    with cramped(place, "size=20m") as small:
        if small is None:
            # The same question, of the disk at hand.
            with pytest.raises(errors.DiskFull, match="MiB left on its disk"):
                folder.ensure_room(place, shutil.disk_usage(place).total + 1)
            return
        told = starter(service="postgres", data=str(small / "data")).told
        assert told["error"] == "DiskFull"
        assert "20 MiB left" in told["message"] or "19 MiB left" in told["message"]
        assert not (small / "data" / "pgdata").exists()


def test_a_disk_that_fills_up_during_the_first_start_leaves_nothing_half_done(
    place: Path, starter: Start
) -> None:
    with cramped(place, "size=500m,nr_inodes=30") as small:
        # Without a small disk, a limit on the size of files: to a program it looks the same.
        limit = {} if small is not None else {"file_limit": 1024 * 1024}
        data = (small or place) / "data"
        told = starter(service="postgres", data=str(data), **limit).told
        assert told["error"] == "DiskFull"
        assert "Free some room" in told["message"]
        assert str(data / "initdb.log") in told["message"]
        assert not (data / "pgdata").exists()
        assert not list(data.glob("initdb-*"))


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(place: Path, starter: Start, ask: Ask) -> None:
    wish = {"service": "postgres", "data": str(place / "data")}
    told = starter(**wish, file_limit=1024 * 1024).told
    assert told["error"] == "DiskFull"
    assert not (place / "data" / "pgdata").exists()
    # With room, the same folder works.
    again = starter(**wish)
    assert ask(again.told["url"], "SELECT 1") == "1"
    again.stop()


def test_a_disk_too_full_to_recover_loses_nothing(data: Path, starter: Start, ask: Ask) -> None:
    wish = {"service": "postgres", "data": str(data)}
    first = starter(**wish)
    ask(first.told["url"], "CREATE TABLE kept AS SELECT 42 AS answer")
    family = first.freeze()
    first.kill()
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    # Recovery ends with a write far into a file.
    told = starter(**wish, file_limit=1024 * 1024).told
    assert told["error"] == "DiskFull"
    assert str(data / "server.log") in told["message"]
    again = starter(**wish)
    assert ask(again.told["url"], "SELECT answer FROM kept") == "42"
    again.stop()


@pytest.fixture
def private(place: Path) -> Path:
    """A folder that only its owner can enter, like root's home."""
    made = place / "home"
    made.mkdir(mode=0o700)
    return made


async def test_in_a_private_home_it_works_and_its_place_is_written_down(private: Path, ask: Ask) -> None:
    data = private / ".local" / "share" / "ccn"
    async with service.run_postgres(data, fsync=False) as running:
        ask(running.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert running.data == data
    if unprivileged_user.find_account() is None:
        assert (data / "pgdata").is_dir()
    else:
        home = Path((data / "moved").read_text().strip())
        assert home.parent == unprivileged_user.SHARED / "data"
        assert (home / "belongs-to").read_text().strip() == str(data)
        assert not (data / "pgdata").exists()
    assert private.stat().st_mode & 0o777 == 0o700
    async with service.run_postgres(data, fsync=False) as running:
        assert ask(running.url, "SELECT answer FROM kept") == "42"


async def test_in_a_private_home_an_ephemeral_run_leaves_nothing(private: Path) -> None:
    shared = unprivileged_user.SHARED / "data"
    before = set(shared.iterdir()) if shared.is_dir() else set()
    async with service.run_postgres(private / "data", ephemeral=True, fsync=False):
        pass
    assert list(private.iterdir()) == []
    assert (set(shared.iterdir()) if shared.is_dir() else set()) <= before


async def test_data_that_were_moved_and_are_gone_are_not_made_anew(place: Path) -> None:
    gone = unprivileged_user.SHARED / "data" / "no-such-folder"
    (place / "moved").write_text(f"{gone}\n")
    words = await refused(place, errors.DataDirectoryUnusable)
    assert f"the data lie in {gone}, which is gone" in words
    assert f"remove {place / 'moved'}" in words


async def test_programs_that_are_named_and_not_there_are_told(place: Path) -> None:
    words = await refused(place / "data", errors.BinaryMissing, bin=place / "nothing")
    assert "CCN_PG_BIN" in words


def test_the_lock_is_let_go_when_the_block_ends(place: Path) -> None:
    for _ in range(3):
        with (
            layout.open_layout(place / "data"),
            pytest.raises(errors.AlreadyRunning),
            layout.open_layout(place / "data"),
        ):
            pytest.fail("it is held")


def _accounts(processes: list[psutil.Process]) -> set[int]:
    """Whom they belong to; some processes of a server come and go."""
    found = set[int]()
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            found.add(each.uids().real)
    return found
