"""Temporary folders that do not pile up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ccn import errors
from ccn.embedded import scratch


def test_a_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with scratch.scratch_folder("test", tmp_path) as made:
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "file").write_text("content")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dies = (
        "import os, sys, pathlib; from ccn.embedded import scratch\n"
        "with scratch.scratch_folder('test', pathlib.Path(sys.argv[1])) as made:\n"
        "    (made / 'file').write_text('left'); os.kill(os.getpid(), 9)"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", dies, tmp_path], check=False, cwd=Path(__file__).parents[2])
        assert len(list(tmp_path.iterdir())) == 1
    with scratch.scratch_folder("test", tmp_path) as made:
        assert list(tmp_path.iterdir()) == [made]


def test_a_folder_that_is_held_is_left_alone(tmp_path: Path) -> None:
    with scratch.scratch_folder("test", tmp_path) as one, scratch.scratch_folder("test", tmp_path) as two:
        scratch.sweep_folders("test", tmp_path)
        assert one.is_dir()
        assert two.is_dir()


def test_other_kinds_and_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ccn-other-1").mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "ccn-test-link").symlink_to(target)
    scratch.sweep_folders("test", tmp_path)
    assert target.is_dir()
    assert (tmp_path / "ccn-other-1").is_dir()


def test_many_that_come_and_go_at_once_do_not_take_each_others(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(40):
                with scratch.scratch_folder("test", tmp_path) as made:
                    (made / "file").write_text("content")
                    assert (made / "file").read_text() == "content"
        except (OSError, AssertionError, errors.CCNError) as wrong:
            failed.append(wrong)

    threads = [threading.Thread(target=come_and_go) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_hold_one_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(errors.DataDirectoryUnusable, match="TMPDIR"),
        scratch.scratch_folder("test", tmp_path / "missing"),
    ):
        pytest.fail(f"there is no such folder: {os.getpid()}")
