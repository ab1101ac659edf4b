"""The folder of a local cluster: one holder, a private record, and no litter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ccn import errors
from ccn.cli import place

AT = place.ClusterAt(
    (place.NodeAt("node-1", 7, "http://127.0.0.1:1", "127.0.0.1:2"),),
    "postgresql://a:b@c/d",
    ("127.0.0.1:3",),
)


def test_the_record_is_private_and_goes_with_its_holder(tmp_path: Path) -> None:
    with place.kept(tmp_path / "a b") as where:
        where.write(AT)
        assert where.record.stat().st_mode & 0o777 == 0o600
        assert where.record.read_text().count("\n") == 1
        assert where.nodes.parent == where.data
    assert not where.record.exists()


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    with place.kept(tmp_path) as where:
        with pytest.raises(errors.AlreadyRunning, match=f"is starting on .*: pid {os.getpid()}"):
            place.kept(tmp_path).__enter__()
        where.write(AT)
        with pytest.raises(
            errors.AlreadyRunning, match=f"runs on .*: pid {os.getpid()}, http://127.0.0.1:1"
        ):
            place.kept(tmp_path).__enter__()
        assert where.record.exists()


def test_a_record_whose_holder_was_killed_is_recognised_as_stale(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{}")
    with place.kept(tmp_path) as where:
        assert not where.record.exists()


def test_a_temporary_folder_goes_at_the_end_or_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = "import os, signal; from ccn.cli import place\nwith place.temporary(): os.kill(os.getpid(), 9)"
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", killed], check=False, env=environ)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with place.temporary() as where:
        assert list(tmp_path.iterdir()) == [where.data]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["file", "file/below"])
def test_a_folder_that_cannot_be_one_is_refused_in_words(tmp_path: Path, part: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.DataDirectoryUnusable, match=str(tmp_path)), place.kept(tmp_path / part):
        pass
