"""What the system refuses about a folder is told in words, and a file is the old one or the new one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from ccn import errors
from ccn.embedded import folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_as_one_in_whichever_way_it_shows(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(errors.DiskFull, match=f"the disk of {tmp_path} is full"),
        folder.translate_refusals(tmp_path),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EIO, errno.ELOOP])
def test_any_other_refusal_names_the_file_that_it_is_about(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(errors.DataDirectoryUnusable, match=f"{os.strerror(number)}: /some/file"),
        folder.translate_refusals(tmp_path),
    ):
        raise OSError(number, os.strerror(number), "/some/file")


def test_a_refusal_without_a_file_names_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(errors.DataDirectoryUnusable, match=f"denied: {tmp_path}"),
        folder.translate_refusals(tmp_path),
    ):
        raise OSError(errno.EACCES, "denied")


def test_what_the_system_did_not_refuse_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), folder.translate_refusals(tmp_path):
        raise ZeroDivisionError


def test_room_is_asked_for_where_the_folder_is(tmp_path: Path) -> None:
    folder.ensure_room(tmp_path, 0)
    with pytest.raises(errors.DiskFull, match=r"MiB left .* at least 1099511627776 MiB are needed"):
        folder.ensure_room(tmp_path, 1 << 60)
    with pytest.raises(errors.DataDirectoryUnusable, match="No such file"):
        folder.ensure_room(tmp_path / "nowhere", 0)


def test_a_replaced_file_is_new_as_a_whole_with_the_rights_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    folder.replace_file(path, "nëw\n", 0o400)
    folder.replace_file(path, "newer", 0o600)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("newer", 0o600)


def test_a_text_that_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        folder.replace_file(path, "half \ud800", 0o600)
    assert path.read_text() == "old"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        folder.replace_file(tmp_path / "folder", "new", 0o600)
    assert {each.name for each in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize(
    ("size", "rotated"), [(0, False), (folder.LOG_LIMIT, False), (folder.LOG_LIMIT + 1, True)]
)
def test_a_log_is_put_aside_once_it_is_longer_than_it_may_be(
    tmp_path: Path, size: int, rotated: bool
) -> None:
    log, before = tmp_path / "server.log", tmp_path / "server.log.1"
    before.write_text("older")
    with log.open("wb") as file:
        file.truncate(size)
    folder.rotate_log(log)
    assert log.exists() is not rotated
    assert before.stat().st_size == (size if rotated else len("older"))


def test_a_log_that_is_not_there_is_not_put_aside(tmp_path: Path) -> None:
    folder.rotate_log(tmp_path / "server.log")
    assert list(tmp_path.iterdir()) == []
