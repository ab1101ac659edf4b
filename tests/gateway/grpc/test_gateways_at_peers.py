"""Who may call what at the peer door: a gateway asks in the name of clients, and nothing that nodes ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from ccn import errors
from ccn.certificates import identity, inspection, issuing
from ccn.certificates.identity import TlsIdentity
from ccn.certificates.issuing import IssuedCertificate
from ccn.core.ids import NodeId
from ccn.gateway.grpc.peer import PeerServer
from ccn.peers import client
from ccn.peers.client import PeerClient, Silent
from ccn.peers.exchange import ForwardedRequest, GatewayQuestion
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ASK, INSTANCE, ONE, TWO, Node, identity_of

WITHIN_S = 20.0
DOORS = NodeId("gateway-1")
QUESTION = GatewayQuestion(DOORS, "say", "ccn_key", "", b"{}")


@pytest.fixture(scope="module")
def authority() -> IssuedCertificate:
    return issuing.issue_authority(datetime.now(UTC))


def gateway_of(authority: IssuedCertificate, name: NodeId = DOORS) -> TlsIdentity:
    issued = issuing.issue_gateway_certificate(authority, name, datetime.now(UTC), 1)
    return TlsIdentity(authority.certificate, issued.certificate, issued.key)


@asynccontextmanager
async def reaching(address: str, own: NodeId, shown: TlsIdentity | None) -> AsyncIterator[PeerClient]:
    async with client.open_client(own, shown) as peers:
        await peers.set_addresses({TWO: address})
        yield peers


async def ask(peers: PeerClient, question: GatewayQuestion = QUESTION) -> list[bytes]:
    return [frame async for frame in peers.find_peer(TWO).serve(question, WITHIN_S)]


async def test_a_gateway_asks_and_is_answered(authority: IssuedCertificate) -> None:
    node = Node(frames=(b"one", b"two"))
    async with (
        peer_node.served(node, identity_of(authority, TWO)) as address,
        reaching(address, DOORS, gateway_of(authority)) as peers,
    ):
        assert await ask(peers) == [b"one", b"two"]
    assert node.asked == [QUESTION]
    (shown,) = node.certificates
    assert shown is not None
    assert len(shown.serial) > 8


@pytest.mark.parametrize("says", [DOORS, ONE])
async def test_the_certificate_of_a_gateway_takes_no_part_in_rounds(
    authority: IssuedCertificate, says: NodeId
) -> None:
    """Whether it says that it is itself, or a node; also a gateway that has the name of a node."""
    node = Node()
    async with (
        peer_node.served(node, identity_of(authority, TWO)) as address,
        reaching(address, says, gateway_of(authority, says)) as peers,
    ):
        refused = f"node-2: the certificate shown is not that of {says}"
        assert await peers.hello(WITHIN_S) == {TWO: Silent(refused, unavailable=False)}
        proposed = await peers.propose(peer_node.proposal_of(), WITHIN_S)
        reported = await peers.report(ASK, WITHIN_S)
        decided = await peers.decide(peer_node.DECISION, WITHIN_S)
        for answers in (proposed, reported, decided):
            assert isinstance(answers[TWO], Silent)
            assert "the certificate shown is not that of node-1" in str(answers[TWO])
        two = peers.find_peer(TWO)
        with pytest.raises(errors.PeerRefused, match="not that of"):
            await two.fetch_blocks(1, WITHIN_S)
        with pytest.raises(errors.PeerRefused, match="not that of"):
            await anext(two.forward(ForwardedRequest(says, INSTANCE, "spawn", b"{}"), WITHIN_S))
        with pytest.raises(errors.PeerRefused, match="not that of"):
            await anext(two.stay())
    assert node.asked == []


@pytest.mark.parametrize("says", [DOORS, ONE])
async def test_the_certificate_of_a_node_is_no_gateway_s(
    authority: IssuedCertificate, says: NodeId
) -> None:
    node = Node()
    async with (
        peer_node.served(node, identity_of(authority, TWO)) as address,
        reaching(address, ONE, identity_of(authority, ONE)) as peers,
    ):
        with pytest.raises(errors.PeerRefused, match=f"not that of gateway {says}"):
            await ask(peers, GatewayQuestion(says, "say", "", "", b"{}"))
    assert node.asked == []


async def test_a_gateway_speaks_for_no_other_gateway(authority: IssuedCertificate) -> None:
    async with (
        peer_node.served(Node(), identity_of(authority, TWO)) as address,
        reaching(address, DOORS, gateway_of(authority, NodeId("gateway-2"))) as peers,
    ):
        with pytest.raises(errors.PeerRefused, match="not that of gateway gateway-1"):
            await ask(peers)


async def test_a_gateway_of_another_authority_or_of_none_gets_no_connection(
    authority: IssuedCertificate,
) -> None:
    node, stranger = Node(), issuing.issue_authority(datetime.now(UTC))
    issued = issuing.issue_gateway_certificate(stranger, DOORS, datetime.now(UTC), 1)
    unknown = TlsIdentity(authority.certificate, issued.certificate, issued.key)
    async with peer_node.served(node, identity_of(authority, TWO)) as address:
        for shown in (unknown, None):
            async with reaching(address, DOORS, shown) as peers:
                with pytest.raises((errors.PeerUnavailable, errors.OutcomeUnknown)):
                    await ask(peers)
    assert node.asked == []


async def test_nobody_takes_a_gateway_for_a_node(authority: IssuedCertificate) -> None:
    """What it shows names no node, and is not for servers: whoever looks for a node finds none there."""
    posing = gateway_of(authority, TWO)
    async with (
        peer_node.served(Node(), posing) as address,
        reaching(address, ONE, identity_of(authority, ONE)) as peers,
    ):
        answer = (await peers.hello(WITHIN_S))[TWO]
        assert isinstance(answer, Silent)
        assert answer.unavailable


async def test_a_gateway_whose_certificate_is_revoked_is_cut_off(authority: IssuedCertificate) -> None:
    node = Node(frames=(b"one",), pause_s=60.0)
    async with (
        peer_node.served(node, identity_of(authority, TWO), look_s=0.05) as address,
        reaching(address, DOORS, gateway_of(authority)) as peers,
    ):
        following = peers.find_peer(TWO).serve(QUESTION, WITHIN_S)
        assert await anext(following) == b"one"
        node.out.add(DOORS)
        with pytest.raises(errors.PeerRefused, match="gateway-1 takes no part"):
            await anext(following)
        with pytest.raises(errors.PeerRefused, match="gateway-1 takes no part"):
            await ask(peers)


async def test_gateways_leave_room_for_rounds() -> None:
    """All calls that gateways may have are under way, and nodes are answered all the same."""
    node = Node(frames=(b"one",), pause_s=60.0)
    door = PeerServer(node, None, gateway_calls=3)
    async with peer_node.serving(door) as address, reaching(address, DOORS, None) as peers:
        opened = [peers.find_peer(TWO).serve(QUESTION, WITHIN_S) for _ in range(3)]
        assert await asyncio.gather(*map(anext, opened)) == [b"one"] * len(opened)
        with pytest.raises(errors.Overloaded, match="3 calls of gateways are under way"):
            await ask(peers)
        assert not isinstance((await peers.hello(WITHIN_S))[TWO], Silent)
        await asyncio.gather(*(each.aclose() for each in opened))


def test_a_certificate_tells_a_gateway_from_a_node(authority: IssuedCertificate) -> None:
    summary = inspection.summarise_certificate(gateway_of(authority).certificate)
    assert summary.names == ("gateway-1.gateway.ccn.internal",)
    with pytest.raises(errors.SettingsInvalid, match=r"is not for node-1\.ccn\.internal"):
        inspection.check_name(gateway_of(authority), identity.server_name(ONE), "CCN_TLS")
    with pytest.raises(errors.SettingsInvalid, match=r"is not for node-1\.gateway\.ccn\.internal"):
        inspection.check_name(identity_of(authority, ONE), identity.gateway_name(ONE), "CCN_TLS")
