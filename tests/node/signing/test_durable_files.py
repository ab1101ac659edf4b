"""Files that are made or replaced as a whole, whatever is in the way of it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ccn.node.signing import durable_files


def test_a_replaced_file_has_the_rights_that_were_asked_for_and_not_those_it_had(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    durable_files.replace_file(path, b"new", 0o600)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_rights_do_not_depend_on_what_the_process_masks(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        durable_files.create_file(tmp_path / "file", b"", 0o640)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_file_is_flushed_before_it_has_its_name_and_its_folder_after(tmp_path: Path) -> None:
    path, seen = tmp_path / "file", list[tuple[str, bool]]()

    def sync(opened: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(opened).st_mode) else "file"
        seen.append((kind, path.exists()))
        os.fsync(opened)

    durable_files.create_file(path, b"data", 0o600, sync)
    path.unlink()
    durable_files.replace_file(path, b"data", 0o600, sync)
    assert seen == [("file", False), ("folder", True)] * 2


def test_whoever_comes_second_gets_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    outcomes, path = list[bytes](), tmp_path / "file"

    def create(number: int) -> None:
        try:
            durable_files.create_file(path, b"%d" % number * 1000, 0o600)
            outcomes.append(b"%d" % number * 1000)
        except FileExistsError:
            outcomes.append(b"")

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(filter(None, outcomes)) == [path.read_bytes()]
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    (tmp_path / "far").write_bytes(b"far")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far")
    with pytest.raises(FileExistsError):
        durable_files.create_file(link, b"new", 0o600)
    durable_files.replace_file(link, b"new", 0o600)
    assert not link.is_symlink()
    assert ((tmp_path / "far").read_bytes(), link.read_bytes()) == (b"far", b"new")


def test_a_folder_of_that_name_stays_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "name" / "inside").mkdir(parents=True)
    for write in (durable_files.create_file, durable_files.replace_file):
        with pytest.raises(OSError, match=r"directory|exists"):
            write(tmp_path / "name", b"data", 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["name"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for write in (durable_files.create_file, durable_files.replace_file):
        with pytest.raises(FileNotFoundError):
            write(tmp_path / "no" / "file", b"data", 0o600)
    assert list(tmp_path.iterdir()) == []
