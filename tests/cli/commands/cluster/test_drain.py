"""Whom `ccn drain` drains is said once, by name or by the settings of the node itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import commands


@pytest.mark.parametrize(
    ("arguments", "role", "why"),
    [
        ((), "voter", "name the node to drain, or say --self"),
        (("node-1", "--self"), "voter", "--self goes with neither a name nor --undo"),
        (("--self", "--undo"), "voter", "--self goes with neither a name nor --undo"),
        (("--self",), "gateway", "a gateway has nothing to hand over"),
    ],
)
def test_a_drain_of_nobody_or_of_two_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], role: str, why: str
) -> None:
    environ = {
        "HOME": str(tmp_path),
        "CCN_NODE_ROLE": role,
        "CCN_DATABASE_URL": "postgresql://u@127.0.0.1:1/x",
    }
    ended = commands.run("drain", *arguments, env=environ, cwd=tmp_path)
    assert ended.returncode == 1
    assert why in ended.stderr
