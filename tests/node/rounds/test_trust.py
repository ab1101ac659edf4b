"""Nobody is a node because etcd says so: real nodes on a real etcd into which somebody else writes too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import pytest
from aetcd import rpc  # type: ignore[import-untyped]
from structlog.testing import capture_logs

import ccn
from ccn import errors, metrics, settings
from ccn.certificates import inspection, issuing
from ccn.certificates.identity import TlsIdentity as Identified
from ccn.core.chain import protocol
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity import revocation
from ccn.core.identity.registration import Registration
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment
from ccn.embedded import etcd as embedded
from ccn.etcd import client, members
from ccn.etcd.access import EtcdAccess
from ccn.etcd.client import EtcdClient
from ccn.etcd.entry import EtcdEntry
from ccn.etcd.link import EtcdLink
from ccn.gateway.grpc.peer import PeerServer
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.peer_answers import PeerAnswers
from ccn.node.rounds.presence import NodeDoors
from ccn.node.rounds.voting import NodeIdentity
from ccn.node.views import cluster_probes, cluster_status
from ccn.peers import client as peers
from ccn.peers.exchange import ForwardedRequest, NodeIntroduction
from ccn.store.accounts import node_register
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.writing.writer import Writer
from tests.support.core.keys import ed25519, pair_of
from tests.support.core.registrations import registration
from tests.support.node.round_world import Paper
from tests.support.peers.peer_node import INSTANCE, identity_of

ONE, TWO = NodeId("node-1"), NodeId("node-2")
LISTENER = "http://127.0.0.1:6666"


@dataclass
class Party:
    """Nodes of one cluster as members, and what others find in its etcd and write there."""

    database: settings.DatabaseSettings
    endpoints: tuple[str, ...]
    etcd: EtcdClient
    pool: Pool

    @asynccontextmanager
    async def node(
        self,
        name: NodeId,
        http: str = "",
        by: str = "",
        shown: Identified | None = None,
        spoken: ProtocolRange = protocol.SPOKEN,
    ) -> AsyncIterator[Membership]:
        """One node with its door for the others; `by` gives it another key than it should have."""
        pair, stop = pair_of(by or name), asyncio.Event()
        async with peers.open_client(name, shown) as known, pool.open(self.database, name) as own:
            member = Membership(
                NodeIdentity(name, pair.public, pair.sign, ed25519),
                Paper,
                Writer(self.database, name, lambda: datetime.now(UTC)),
                own,
                known,
                EtcdLink(EtcdAccess(self.endpoints)),
                5.0,
                settings.ClusterSettings(size=1, interval_s=0.5, protocol=2),
                lambda: time.time_ns() // 1_000,
                register_read_s=0.1,
                spoken=spoken,
            )
            door = PeerServer(PeerAnswers(member, lambda _: _nothing(), lambda _: _nothing()), shown)
            port = door.listen(settings.PeersSettings(port=0))
            doors = NodeDoors(http or f"http://127.0.0.1:{port}", f"127.0.0.1:{port}", 1_800_000)
            async with asyncio.TaskGroup() as group:
                for part in (
                    door.serve(stop, 0.2),
                    member.presence.trust.watch_register(stop),
                    member.take_part(doors, stop),
                ):
                    group.create_task(part)
                yield member
                stop.set()

    async def entry(self, name: str) -> EtcdEntry:
        found = await self.etcd.get_entry(members.PREFIX + name)
        assert found is not None
        return found

    async def write(self, name: str, value: bytes, lease: int = 0) -> None:
        """As somebody does who may write to etcd."""
        found = await self.etcd.get_entry(members.PREFIX + name)
        modified = found.modified if found else 0
        await self.etcd.put_entry(members.PREFIX + name, value, lease=lease, if_modified=modified)


async def _nothing() -> AsyncGenerator[bytes]:
    yield b""


@pytest.fixture
async def party(database: settings.DatabaseSettings) -> AsyncIterator[Party]:
    async with (
        embedded.run_etcd() as server,
        client.open_client(server.endpoints, deadline_s=10.0) as etcd,
        pool.open(database, "test") as connections,
    ):
        yield Party(database, server.endpoints, etcd, connections)


def seen(member: Membership) -> Mapping[NodeId, Registration]:
    return member.presence.members.seen


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


async def stranger(party: Party, name: str) -> bytes:
    """A registration that somebody made up and signed, for this very cluster."""
    cluster = (await node_register.load_register(party.pool)).cluster
    said = registration(name, 0, by="stranger", http=LISTENER, cluster=cluster)
    return members.registration_to_bytes(said)


def unsigned(name: str) -> bytes:
    """As every node registered before there were signatures."""
    told = {"node": name, "http": LISTENER, "grpc": "127.0.0.1:6667", "key": "aa" * 32}
    return orjson.dumps(told)


async def test_what_somebody_made_up_in_etcd_is_no_node_and_no_door(party: Party) -> None:
    async with party.node(ONE) as one:
        await until(lambda: one.voting)
        for name in ("a-node", "z-node"):
            await party.write(name, unsigned(name))
            await party.write(f"signed-{name}", await stranger(party, f"signed-{name}"))
        async with party.node(TWO) as two:  # etcd shows it after all of those
            await until(lambda: TWO in seen(one) and ONE in seen(two) and one.peers.peers)
            for node in (one, two):
                assert seen(node).keys() == {ONE, TWO}
                assert set(node.presence.list_doors()) == {each.http for each in seen(one).values()}
                assert {seat.node for seat in (await cluster_status.load_status(node)).nodes} == {ONE, TWO}
            assert [each.node for each in one.peers.peers] == [TWO]


async def test_nobody_founds_a_chain_because_etcd_shows_them(party: Party) -> None:
    for name in ("a-node", "node-0"):
        await party.write(name, unsigned(name))
        await party.write(f"{name}-signed", await stranger(party, f"{name}-signed"))
    async with party.node(ONE) as one:
        await until(lambda: one.voting)
        assert one.voting
        assert [each.node for each in one.voting.tip.rules.validators] == [ONE]
        await cluster_probes.check_quorum(one)


async def test_a_name_that_somebody_takes_in_etcd_comes_back_to_its_node(party: Party) -> None:
    async with party.node(ONE) as one, party.node(TWO) as two:
        await until(lambda: TWO in seen(one))
        before = seen(one)[TWO]
        await party.write(TWO, await stranger(party, TWO))
        await until(lambda: TWO in seen(one) and seen(one)[TWO].lease != before.lease)
        assert seen(one)[TWO].http == before.http == seen(two)[TWO].http
        assert LISTENER not in one.presence.list_doors()


async def test_the_address_of_an_earlier_life_is_not_shown_again(party: Party) -> None:
    """Also under a lease of the same number, which etcd gives to whoever asks for it."""
    async with party.node(ONE) as one:
        async with party.node(TWO, http=LISTENER):
            await until(lambda: TWO in seen(one))
            old = await party.entry(TWO)
        async with party.node(TWO, http="http://127.0.0.1:7777"):
            await until(lambda: TWO in seen(one) and seen(one)[TWO].http != LISTENER)
        await until(lambda: TWO not in seen(one))
        server = await party.etcd.find_server()
        await server.lease.LeaseGrant(rpc.LeaseGrantRequest(TTL=60, ID=old.lease))
        await party.write(TWO, old.value, old.lease)
        async with party.node(NodeId("node-3")):
            await until(lambda: "node-3" in seen(one))
            assert TWO not in seen(one)
            assert LISTENER not in one.presence.list_doors()


async def test_who_was_removed_is_shown_without_a_door_and_counts_for_nothing(party: Party) -> None:
    async with party.node(ONE) as one, party.node(TWO) as two:
        await until(lambda: TWO in seen(one) and one.voting)
        door = seen(one)[TWO].http
        assert door in one.presence.list_doors()
        await node_register.remove_node(party.pool, TWO)
        await until(lambda: TWO not in seen(one) and TWO not in seen(two))
        assert one.presence.list_seen() == {ONE}
        assert door not in one.presence.list_doors()
        assert two.presence.list_seen() is None
        assert one.peers.peers == ()
        seats = {seat.node: seat for seat in (await cluster_status.load_status(one)).nodes}
        assert (seats[TWO].here, seats[TWO].address) == (True, "")
        assert one.presence.members.registered_keys == {ONE: pair_of(ONE).public, TWO: pair_of(TWO).public}


async def test_who_does_not_speak_the_protocol_in_force_is_shown_and_takes_no_part(party: Party) -> None:
    async with party.node(ONE) as one:
        await until(lambda: one.voting)
        assert one.voting
        assert one.voting.tip.rules.parameters.protocol == 2, "all founders speak and want it"
        async with party.node(TWO, spoken=ProtocolRange(1, 1)) as old, party.node(NodeId("node-3")) as new:
            await until(lambda: old.unsupported and TWO in one.presence.members.outside)
            await until(lambda: "node-3" in seen(one) and new.voting)
            assert not new.unsupported
            with pytest.raises(
                errors.Unavailable, match="protocol 2, and this program 1: run the newer CCN"
            ):
                await cluster_probes.check_protocol(old)
            assert b"ccn_protocol_supported 0.0" in metrics.series.render_page("")[0]
            await cluster_probes.check_protocol(new)
            assert b"ccn_protocol_supported 1.0" in metrics.series.render_page("")[0]
            assert not await old.accepts_new_work()
            status = await cluster_status.load_status(one)
            seats = {seat.node: seat for seat in status.nodes}
            assert (status.protocol, seats[ONE].version) == (2, ccn.__version__)
            shown = [(str(seats[node].spoken), seats[node].outside) for node in (ONE, TWO)]
            assert shown == [("1-2", False), ("1", True)]
            assert (await cluster_status.load_status(old)).stopped == old.unsupported


async def test_a_program_that_cannot_read_the_rules_at_all_is_shown_and_takes_no_part(party: Party) -> None:
    async with party.node(ONE) as one:
        await until(lambda: one.voting)
    async with party.pool.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        body = await connection.fetchval("SELECT parameters FROM block_rules WHERE height = 0")
        future = {**json.loads(body), "protocol": protocol.SPOKEN.highest + 1, "threshold": 7}
        await connection.execute(
            "UPDATE block_rules SET parameters = $1 WHERE height = 0", commitment.encode_canonical(future)
        )
    async with party.node(TWO) as two:
        await until(lambda: two.unreadable and TWO in seen(two))
        assert await two.load_voters() is None
        assert "protocol 3, and this program 1-2: run the newer CCN for it" in two.unsupported
        assert (await cluster_status.load_status(two)).stopped == two.unsupported


async def test_a_twin_with_another_key_stays_out_while_the_node_is_here(party: Party) -> None:
    async with party.node(ONE) as one, party.node(TWO) as two:
        await until(lambda: TWO in seen(one))
        with capture_logs() as logs:
            async with party.node(TWO, by="twin"):
                await until(lambda: any("with another key" in str(line.get("reason")) for line in logs))
        assert seen(one)[TWO].key == pair_of(TWO).public == seen(two)[TWO].key


async def test_of_two_processes_with_one_key_the_newer_one_stays(party: Party) -> None:
    """A folder with keys was copied: each of them would else push the other out, for ever."""
    async with party.node(ONE) as one, party.node(TWO):
        await until(lambda: TWO in seen(one))
        older = seen(one)[TWO]
        with capture_logs() as logs:
            async with party.node(TWO):
                await until(lambda: any("with the same key" in str(line.get("reason")) for line in logs))
                await until(lambda: TWO in seen(one))
                assert seen(one)[TWO].life != older.life


async def test_who_never_enrolled_or_was_removed_or_lost_its_certificate_is_let_in_nowhere(
    party: Party,
) -> None:
    """A certificate of the authority is not enough, whatever name it is for."""
    now = datetime.now(UTC)
    authority = issuing.issue_authority(now)
    one, two, stranger = (identity_of(authority, node) for node in (ONE, TWO, NodeId("node-77")))
    async with party.node(ONE, shown=one) as first:
        await until(lambda: first.voting)
        door = seen(first)[ONE].grpc

        async def refused(node: NodeId, shown: Identified, words: str) -> None:
            async with peers.open_client(node, shown) as known:
                await known.set_addresses({ONE: door})
                asked = ForwardedRequest(node, INSTANCE, "follow", b"{}")
                for asking in (
                    known.find_peer(ONE).hello(30.0),
                    known.find_peer(ONE).fetch_blocks(1, 30.0),
                    anext(known.find_peer(ONE).stay()),
                    anext(known.find_peer(ONE).forward(asked, 30.0)),
                ):
                    with pytest.raises(errors.PeerRefused, match=words):
                        await asking

        await refused(
            NodeId("node-77"), stranger, "node-77 takes no part in this cluster: it never enrolled"
        )
        async with party.node(TWO, shown=two) as second:
            await until(lambda: TWO in seen(first) and second.peers.peers)
            assert isinstance((await second.peers.hello(30.0))[ONE], NodeIntroduction)
            serial = inspection.summarise_certificate(two.certificate).serial
            with capture_logs() as logs:
                await node_register.revoke_certificates(party.pool, None, serial, now, "lost", "ann")
                await until(lambda: first.presence.trust.known_register.revoked)
                told = "this node's certificate was revoked"
                await until(lambda: told in [line["event"] for line in logs])
            pairs = revocation.serial_to_pairs(serial)
            await refused(TWO, two, f"the certificate {pairs} of node-2 was revoked")
        renewed = identity_of(authority, TWO)
        async with peers.open_client(TWO, renewed) as known:
            await known.set_addresses({ONE: door})
            assert isinstance((await known.hello(30.0))[ONE], NodeIntroduction)
            await node_register.remove_node(party.pool, TWO)
            await until(lambda: first.presence.trust.key_of(TWO) is None)
        await refused(TWO, renewed, "node-2 takes no part .*: it was removed")
