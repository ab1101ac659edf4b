"""A cluster of this machine is found by its record while it runs, and not after its death."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ccn import errors
from ccn.continuity import local
from ccn.continuity.local import FoundCluster


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which no cluster runs."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "ccn"


def write_record(folder: Path, target: str = "a:1") -> Path:
    """Write what `ccn up` leaves in the folder of a cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "data": str(folder),
        "nodes": [{"grpc": target}],
        "admin": {"user": "admin", "api_key": "ccn_k"},
    }
    (folder / local.RECORD).write_text(json.dumps(record))
    return folder


def write_note(folder: Path) -> None:
    """Note, as `ccn up` does, where a cluster is that keeps its folder elsewhere."""
    local.notes_folder().mkdir(parents=True, exist_ok=True)
    (local.notes_folder() / folder.name).write_text(str(folder))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """As while a `ccn up` runs there."""
    lock = os.open(folder / local.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def test_a_cluster_is_found_by_the_record_in_its_folder(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "data", "b:2")
    with locked(folder):
        assert local.find_cluster(folder) == FoundCluster(("b:2",), "ccn_k")


def test_a_record_without_a_lock_is_somebodys_own_work(tmp_path: Path) -> None:
    assert local.find_cluster(write_record(tmp_path)).targets == ("a:1",)


def test_a_cluster_that_died_is_not_found_although_its_record_is_there(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "data")
    with locked(folder):
        pass
    with pytest.raises(errors.NoCluster, match=f"no cluster runs on {folder}"):
        local.find_cluster(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "lacks 'nodes'"),
        ('{"nodes": [{}], "admin": {}}', "lacks 'grpc'"),
        ('{"nodes": [], "admin": null}', "lacks"),
        ("{", "cannot be read"),
        ("[]", "is not the record of a cluster"),
    ],
)
def test_a_damaged_record_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / local.RECORD).write_text(text)
    with pytest.raises(errors.NoCluster, match=words):
        local.find_cluster(tmp_path)


def test_a_folder_that_is_none_has_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "nowhere", tmp_path / "file"):
        assert local.read_record(folder) is None


def test_the_one_that_runs_here_is_that_of_the_usual_folder(home: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.NoCluster, match="no cluster runs here"):
        local.find_cluster()
    write_note(write_record(tmp_path / "elsewhere", "b:2"))
    assert local.find_cluster().targets == ("b:2",)
    write_record(home)
    assert local.find_cluster().targets == ("a:1",)


def test_of_several_clusters_none_is_guessed(tmp_path: Path) -> None:
    folders = [write_record(tmp_path / name) for name in ("one", "two")]
    for folder in folders:
        write_note(folder)
    with pytest.raises(errors.NoCluster, match="2 clusters run here") as refused:
        local.find_cluster()
    assert all(str(folder) in str(refused.value) for folder in folders)


def test_a_note_of_a_folder_that_is_gone_counts_for_nothing(tmp_path: Path) -> None:
    write_note(tmp_path / "gone")
    assert local.read_record() is None


def test_a_key_is_never_shown() -> None:
    assert "ccn_k" not in repr(FoundCluster(("a:1",), "ccn_k"))
