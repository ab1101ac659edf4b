"""A program connects to the nodes it names, or to the cluster that runs on its machine."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest

from ccn import continuity, errors, settings
from ccn.certificates import issuing
from ccn.core.ids import NodeId
from tests.continuity import scripted
from tests.continuity.conftest import Program
from tests.continuity.scripted import CONVERSATION, ScriptedNode
from tests.support.gateway import grpc_door
from tests.support.node import node_world


async def test_a_key_that_does_not_count_is_told_at_once(program: Program) -> None:
    async with continuity.connect(program.door.target, "ccn_x") as strange:
        with pytest.raises(errors.CredentialInvalid):
            await strange.begin("ada")


async def test_somebody_elses_conversation_is_not_found(program: Program) -> None:
    talk = await program.cluster.begin("ada")
    key = await grpc_door.api_key(program.door.node.pool)
    async with continuity.connect(program.door.target, key) as other:
        with pytest.raises(errors.NotFound):
            await other.conversation(talk.id)


async def test_what_is_no_id_of_a_conversation_is_refused(program: Program) -> None:
    with pytest.raises(errors.InputInvalid):
        await program.cluster.conversation("the one of yesterday")


async def test_a_character_that_does_not_exist_is_not_found(program: Program) -> None:
    with pytest.raises(errors.NotFound):
        await program.cluster.begin("nobody")
    with pytest.raises(errors.NotFound):
        await program.cluster.spawn("nobody")


@pytest.mark.parametrize(("target", "key"), [("127.0.0.1:1", ""), (" , ", "ccn_x")])
async def test_a_target_and_a_key_are_needed(target: str, key: str) -> None:
    with pytest.raises(errors.InputInvalid, match="a target and an API key"):
        async with continuity.connect(target, key):
            raise AssertionError("nobody is connected")


async def test_blanks_between_targets_do_no_harm() -> None:
    node = ScriptedNode()
    async with (
        scripted.run_nodes(node) as target,
        continuity.connect(f" {target} ,", "ccn_x") as cluster,
    ):
        assert (await cluster.begin("ada")).id == CONVERSATION


async def test_the_cluster_that_runs_here_needs_neither_target_nor_key(tmp_path: Path) -> None:
    node = ScriptedNode()
    async with scripted.run_nodes(node) as target:
        record = {"nodes": [{"grpc": target}], "admin": {"user": "admin", "api_key": "ccn_k"}}
        (tmp_path / "cluster.json").write_text(json.dumps(record))
        async with continuity.connect(data=tmp_path) as cluster:
            await cluster.begin("ada")


async def test_where_no_cluster_runs_it_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(errors.NoCluster, match=f"no cluster runs on {tmp_path}"):
        async with continuity.connect(data=tmp_path):
            raise AssertionError("nobody is connected")


async def test_an_authority_of_ones_own_is_trusted_and_another_is_not(
    database: settings.DatabaseSettings, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    authority, other = issuing.issue_authority(now), issuing.issue_authority(now)
    issued = issuing.issue_certificate(authority, NodeId("node-1"), (), now)
    files = {"ca": authority.certificate, "other": other.certificate}
    files |= {"certificate": issued.certificate, "key": issued.key}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    chosen = settings.GrpcSettings(
        port=0, tls_certificate=tmp_path / "certificate", tls_key=tmp_path / "key"
    )
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    world = await node_world.found_world(database)
    async with (
        world.node("node-1") as node,
        grpc_door.serve_node(node, door=chosen, credentials_of_server=credentials) as door,
    ):
        key = await grpc_door.api_key(node.pool)
        async with continuity.connect(door.target, key, ca=tmp_path / "ca") as cluster:
            assert (await cluster.begin("ada")).id
        async with continuity.connect(door.target, key, ca=tmp_path / "other", patience_s=0.2) as cluster:
            with pytest.raises(errors.Unavailable, match="no connection"):
                await cluster.begin("ada")


async def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InputInvalid, match=r"nowhere\.pem cannot be read: No such file"):
        async with continuity.connect("127.0.0.1:1", "ccn_x", ca=tmp_path / "nowhere.pem"):
            raise AssertionError("nobody is connected")
