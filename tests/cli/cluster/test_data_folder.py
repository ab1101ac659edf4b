"""The folder of a local cluster: one holder, a private record, and no litter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccn import errors
from ccn.cli.cluster import data_folder
from ccn.continuity import local

AT = data_folder.ClusterAt(
    (data_folder.NodeAt("node-1", 7, "http://127.0.0.1:1", "127.0.0.1:2"),),
    "postgresql://a:b@c/d",
    ("127.0.0.1:3",),
)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user's data would be."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))


def test_the_record_is_private_and_goes_with_its_holder(tmp_path: Path) -> None:
    with data_folder.locked_folder(tmp_path / "a b") as where:
        where.write_record(AT)
        assert where.record.stat().st_mode & 0o777 == 0o600
        assert where.record.read_text().count("\n") == 1
        assert where.nodes.parent == where.data
    assert not where.record.exists()


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with data_folder.locked_folder(tmp_path) as where:
        with pytest.raises(errors.AlreadyRunning, match=f"is starting on .*: pid {os.getpid()}"):
            data_folder.locked_folder(tmp_path).__enter__()
        where.write_record(AT)
        with pytest.raises(
            errors.AlreadyRunning, match=f"runs on .*: pid {os.getpid()}, http://127.0.0.1:1"
        ):
            data_folder.locked_folder(tmp_path).__enter__()
        assert where.record.exists()


def test_a_record_whose_holder_was_killed_is_recognised_as_stale(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{}")
    with data_folder.locked_folder(tmp_path) as where:
        assert not where.record.exists()


def test_a_temporary_folder_goes_at_the_end_or_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = (
        "import os, signal; from ccn.cli.cluster import data_folder\n"
        "with data_folder.temporary_folder(): os.kill(os.getpid(), 9)"
    )
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", killed], check=False, env=environ)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with data_folder.temporary_folder() as where:
        assert list(tmp_path.iterdir()) == [where.data]
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_is_found_wherever_its_folder_is_and_only_while_it_runs(tmp_path: Path) -> None:
    assert local.read_record() is None
    with data_folder.temporary_folder() as where:
        assert local.read_record() is None
        where.write_record(AT)
        assert local.read_record() == local.read_record(where.data)
        assert (local.read_record() or {})["data"] == str(where.data)
        with data_folder.locked_folder(tmp_path / "other") as other:
            other.write_record(AT)
            with pytest.raises(errors.NoCluster, match=f"2 clusters run here.*{other.data}"):
                local.read_record()
            with data_folder.locked_folder(None) as own:
                own.write_record(AT)
                assert (local.read_record() or {})["data"] == str(own.data)
    assert local.read_record() is None
    assert [*local.notes_folder().iterdir()] == []


def test_a_temporary_cluster_is_nobody_elses_folder(tmp_path: Path) -> None:
    with data_folder.temporary_folder() as where:
        where.write_record(AT)
        with pytest.raises(errors.AlreadyRunning):
            data_folder.locked_folder(where.data).__enter__()
        assert where.record.exists()


def test_a_cluster_that_was_killed_is_no_cluster(tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pathlib import Path; from ccn.cli.cluster import data_folder\n"
        "with data_folder.locked_folder(Path(sys.argv[1])) as where:\n"
        "    where.write_record(data_folder.ClusterAt((), '', ())); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "data")], check=False, env=os.environ)
    assert (tmp_path / "data" / "cluster.json").exists()
    assert len([*local.notes_folder().iterdir()]) == 1
    assert local.read_record(tmp_path / "data") is None
    assert local.read_record() is None
    with data_folder.temporary_folder():
        assert len([*local.notes_folder().iterdir()]) == 1


@pytest.mark.parametrize("part", ["file", "file/below"])
def test_a_folder_that_cannot_be_one_is_refused_in_words(tmp_path: Path, part: str) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(errors.DataDirectoryUnusable, match=str(tmp_path)),
        data_folder.locked_folder(tmp_path / part),
    ):
        pass
