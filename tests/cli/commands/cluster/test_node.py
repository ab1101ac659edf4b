"""`ccn node` as somebody types it: what it says before a node runs, and of one that does not."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from ccn import settings
from ccn.core.ids import NodeId
from ccn.node.signing import memory
from tests.support.cli import commands

LOSS = ("node", "accept-loss", "--by", "ann", "--reason", "the disk is gone")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    memory.prepare_folder(tmp_path / "state")
    return tmp_path


def ccn_(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, cwd=folder, env=commands.environment(**environ))


def test_the_health_of_a_node_that_is_not_there_is_one_line_and_exit_code_1(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    for arguments in (("health",), ("health", "--ready")):
        ended = ccn_(folder, "node", *arguments, CCN_HTTP_PORT=port)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert len(ended.stderr.splitlines()) == 1
        assert port in ended.stderr


def test_a_loss_is_accepted_for_a_node_with_a_folder_of_its_own_only(folder: Path) -> None:
    ended = ccn_(folder, *LOSS)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "CCN_NODE_STATE_DIR is not set" in commands.complaint(ended)


def test_a_node_that_acknowledged_nothing_has_lost_nothing(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    ended = ccn_(folder, *LOSS, **_settings_of(folder, database))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "node-1 has no note of an acknowledged leaf" in commands.complaint(ended)


def test_a_node_that_runs_keeps_its_memory_to_itself(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    with memory.open_right(folder / "state"):
        ended = ccn_(folder, *LOSS, **_settings_of(folder, database))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert str(folder / "state") in commands.complaint(ended)


@pytest.mark.parametrize("missing", ["--by", "--reason"])
def test_who_and_why_are_asked_for(folder: Path, missing: str) -> None:
    given = [part for part in ("--by=ann", "--reason=gone") if not part.startswith(missing)]
    ended = ccn_(folder, "node", "accept-loss", *given)
    assert ended.returncode == 2
    assert missing in ended.stderr


def _settings_of(folder: Path, database: settings.DatabaseSettings) -> dict[str, str]:
    return {
        "CCN_NODE_ID": NodeId("node-1"),
        "CCN_NODE_STATE_DIR": str(folder / "state"),
        "CCN_DATABASE_URL": database.url.get_secret_value(),
    }
