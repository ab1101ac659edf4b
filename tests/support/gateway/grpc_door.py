"""A node with a gRPC door, and callers of it: what tests of that door share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

import grpc  # type: ignore[import-untyped]

from ccn import settings
from ccn.core.ids import UserId
from ccn.gateway import readiness
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds import house
from ccn.gateway.grpc import cluster, server, services
from ccn.gateway.grpc.client_calls import ClientCalls
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.node.external_loop import ExternalLoop
from ccn.pb import cluster_pb2_grpc, instances_pb2_grpc
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier, User
from ccn.store.connection.pool import Pool
from ccn.store.replicas import reads
from tests.support.gateway import access_tokens
from tests.support.node import node_world
from tests.support.node.node_world import Node

PLENTY = settings.LimitsSettings(requests=1_000_000)
RECHECK_S = 0.2


@cache
def _kept_password() -> str:
    return passwords.hash_password("correct horse battery")


async def user(pool: Pool, tier: Tier = Tier.USER) -> User:
    named = UserId(credentials.new_id())
    return await users.add_user(pool, named, f"user {secrets.token_hex(6)}", tier, _kept_password())


async def api_key(pool: Pool, tier: Tier = Tier.USER, owner: User | None = None) -> str:
    """A key of a user, who is made for it."""
    key, owner = credentials.new_api_key(), owner or await user(pool, tier)
    made = (
        credentials.new_id(),
        owner.id,
        "test",
        credentials.key_prefix(key),
        credentials.hash_secret(key),
        tier,
    )
    await api_keys.keep_key(pool, api_keys.NewApiKey(*made))
    return key


@dataclass
class Door:
    """The door of one node, and a channel to it."""

    node: Node
    channel: grpc.aio.Channel
    target: str
    ready: readiness.Readiness
    stop: asyncio.Event
    instances: instances_pb2_grpc.InstancesStub = field(init=False)
    continuity: instances_pb2_grpc.ContinuityStub = field(init=False)
    cluster: cluster_pb2_grpc.ClusterStub = field(init=False)

    def __post_init__(self) -> None:
        self.instances = instances_pb2_grpc.InstancesStub(self.channel)
        self.continuity = instances_pb2_grpc.ContinuityStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)

    async def caller(self, tier: Tier = Tier.USER) -> tuple[tuple[str, str], ...]:
        """The metadata of somebody new."""
        return (("x-api-key", await api_key(self.node.pool, tier)),)


@asynccontextmanager
async def serve_node(
    node: Node,
    limits: settings.LimitsSettings = PLENTY,
    tell: cluster.LoadStatus | None = None,
    door: settings.GrpcSettings | None = None,
    credentials_of_server: grpc.ChannelCredentials | None = None,
    streams: OpenStreams | None = None,
) -> AsyncIterator[Door]:
    """Serve a node until the block ends; with `streams` they are counted with those of another door."""
    stop, matching, ready = asyncio.Event(), Passwords(), readiness.Readiness({})
    accounts = access_tokens.accounts(node.pool, matching)
    streams = streams or OpenStreams(node.pool, settings.AccountsSettings(recheck_s=RECHECK_S), limits)
    lending = ExternalLoop(
        node.pool, node.writer, node.living.prompts, node.living.scoring, node_world.new_id
    )
    access, requests = house.open_house(node.pool)
    serving = server.GrpcServer(
        ready,
        services.assemble_services(
            ClientCalls(Limiter(limits), accounts, streams),
            access=access,
            deeds=house.HouseConversations(node.conversations),
            loop_deeds=house.HouseLoop(lending),
            request_deeds=requests,
            load_status=tell,
            reads=reads.read_primary(node.pool),
            stop=stop,
        ),
    )
    port = serving.listen(door or settings.GrpcSettings(port=0))
    task = asyncio.create_task(serving.serve(stop, 1.0))
    watching = asyncio.create_task(streams.watch_credentials(stop))
    target = f"127.0.0.1:{port}"
    try:
        async with _channel(target, credentials_of_server) as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            yield Door(node, channel, target, ready, stop)
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(task, watching), 60)
        matching.close()


def _channel(target: str, shown: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if shown is None:
        return grpc.aio.insecure_channel(target)
    return grpc.aio.secure_channel(target, shown)
