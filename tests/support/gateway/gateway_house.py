"""What tests of deeds share: a gateway in front of nodes, in one process, with the peer API in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

import orjson

from ccn import errors, settings
from ccn.core.ids import NodeId
from ccn.core.stream import StreamEvent
from ccn.gateway.accounts.access import ConversationAccess
from ccn.gateway.accounts.known_callers import KnownCallers
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds import house, remote
from ccn.gateway.deeds.answers import GatewayAnswers
from ccn.gateway.deeds.interface import Deeds
from ccn.gateway.deeds.known_hosts import KnownHosts
from ccn.gateway.deeds.remote_accounts import GatewayAccounts
from ccn.gateway.deeds.remote_conversations import RemoteConversations
from ccn.gateway.deeds.remote_model import RemoteModel
from ccn.gateway.deeds.seen_gateways import SeenGateways
from ccn.gateway.deeds.voter_calls import VoterCalls
from ccn.gateway.grpc.peer import PeerServer
from ccn.gateway.limiting import Limiter
from ccn.node.external_loop import ExternalLoop
from ccn.node.rounds.voter_news import VoterNews
from ccn.peers import client as peers
from ccn.peers.client import PeerClient
from ccn.peers.exchange import GatewayQuestion
from tests.support.gateway import access_tokens
from tests.support.node import node_world
from tests.support.node.node_world import Node
from tests.support.peers import peer_node

GATEWAY = NodeId("gateway-1")


@dataclass(slots=True)
class Voter(peer_node.Node):
    """A node behind a real peer door, which can be told to break off its answers."""

    answers: GatewayAnswers | None = None
    heard: list[GatewayQuestion] = field(default_factory=list)
    breaks_after: int | None = None
    """How many frames of each answer it still sends."""
    unknown: frozenset[str] = frozenset()
    """What of a question's body it does not know, being of an older version."""
    answering: int = 0
    """How many answers are under way."""

    async def serve(self, question: GatewayQuestion) -> AsyncGenerator[bytes]:
        assert self.answers is not None
        self.heard.append(question)
        body = {
            name: said for name, said in orjson.loads(question.body).items() if name not in self.unknown
        }
        asked, sent = replace(question, body=orjson.dumps(body)), 0
        self.answering += 1
        try:
            async with aclosing(self.answers.answer(asked)) as frames:
                async for frame in frames:
                    if sent == self.breaks_after:
                        raise RuntimeError("this voter dies here")
                    sent += 1
                    yield frame
        finally:
            self.answering -= 1


@dataclass
class Gateway:
    """The deeds of a gateway, and the voters that it asks."""

    deeds: Deeds
    calls: VoterCalls
    peers: PeerClient
    voters: Sequence[Voter]
    listed: list[NodeId]
    hosts: KnownHosts


async def hear(batches: AsyncGenerator[Sequence[StreamEvent]]) -> list[StreamEvent]:
    """Every event of a reply, to its end."""
    async with aclosing(batches):
        return [event async for batch in batches for event in batch]


def answers_of(node: Node, passwords: Passwords, limits: settings.LimitsSettings) -> GatewayAnswers:
    """What this node says to gateways."""
    access, requests = house.open_house(node.pool)
    loop = ExternalLoop(node.pool, node.writer, node.living.prompts, node.living.scoring, node_world.new_id)

    async def load_news() -> VoterNews:
        return VoterNews(node.id, doors=("http://here",))

    deeds = Deeds(
        accounts=access_tokens.accounts(node.pool, passwords),
        access=access,
        conversations=house.HouseConversations(node.conversations),
        loop=house.HouseLoop(loop),
        requests=requests,
        model=house.HouseModel(node.model),
        load_status=None,
    )
    return GatewayAnswers(
        deeds, Limiter(limits).guesses, SeenGateways(), load_news, node.conversations.find_host
    )


@asynccontextmanager
async def before(*nodes: Node, limits: settings.LimitsSettings | None = None) -> AsyncIterator[Gateway]:
    """A gateway that sees these nodes."""
    async with AsyncExitStack() as stack:
        passwords = Passwords()
        stack.callback(passwords.close)
        chosen, voters, addresses = limits or settings.LimitsSettings(), list[Voter](), {}
        for node in nodes:
            voter = Voter(node=node.id, answers=answers_of(node, passwords, chosen))
            door = peer_node.serving(PeerServer(voter, None))
            addresses[node.id] = await stack.enter_async_context(door)
            voters.append(voter)
        known = await stack.enter_async_context(peers.open_client(GATEWAY, None))
        await known.set_addresses(addresses)
        listed = [node.id for node in nodes]
        calls = VoterCalls(GATEWAY, known, lambda: listed)
        pool = nodes[0].pool
        keys = access_tokens.accounts(pool, passwords)
        callers = KnownCallers(pool, settings.AccountsSettings(), _Keys(keys), access_tokens.now)
        requests, hosts = remote.RemoteRequests(calls), KnownHosts(pool)
        deeds = Deeds(
            accounts=GatewayAccounts(callers, calls),
            access=ConversationAccess(pool, requests),
            conversations=RemoteConversations(calls, hosts),
            loop=remote.RemoteLoop(calls),
            requests=requests,
            model=RemoteModel(calls),
            load_status=None,
        )
        yield Gateway(deeds, calls, known, voters, listed, hosts)
        await asyncio.sleep(0)


@dataclass
class _Keys:
    """The keys of the nodes in tests, which have no chain."""

    accounts: object

    async def find_public_key(self, name: str) -> bytes:
        raise errors.CredentialInvalid(f"no test shows the token of {name} here")
