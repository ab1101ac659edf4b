"""A small cluster with doors for a browser: two nodes, a status that moves, and users who may sign in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache

from fastapi import FastAPI

from ccn import errors, settings
from ccn.core.ids import NodeId, UserId
from ccn.gateway import readiness, reading_places
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds import house
from ccn.gateway.http import app, auth, server
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.node.views.cluster_status import ClusterStatus, LastRound, NodeSeat
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from tests.support.gateway import access_tokens
from tests.support.node.node_world import PATIENT, Model, Node, World, found_world

PASSWORD = "correct horse battery"
PLENTY = settings.LimitsSettings(requests=1_000_000, sign_ins=1_000_000)
STAND_IN = settings.ClaudeSettings(stand_in=True)
CHARTERED = """+++
name = "Ada"
[baseline]
honesty = 0.9
curiosity = 0.8
warmth = 0.6
+++
# Ada
Keeps her word."""


@cache
def _kept_password() -> str:
    return passwords.hash_password(PASSWORD)


@dataclass
class Door:
    """Of one node. Until it stops it listens where it says."""

    node: Node
    url: str
    stop: asyncio.Event
    serving: asyncio.Task[None]
    application: FastAPI

    async def close(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.serving, 60)


@dataclass
class Cluster:
    """What a page sees."""

    world: World
    doors: list[Door] = field(default_factory=list)
    status: ClusterStatus | errors.CCNError | None = None
    """What is told, or why nothing can be."""

    def addresses(self) -> list[str]:
        return [each.url for each in self.doors]

    async def tell(self) -> ClusterStatus:
        if isinstance(self.status, errors.CCNError):
            raise self.status
        assert self.status is not None
        return self.status

    def round(self, *, committed: bool = True, reason: str = "") -> None:
        """One more round, and who is here for it."""
        before = self.status.height or 0 if isinstance(self.status, ClusterStatus) else 0
        height = before + 1 if committed else before
        seats = [
            NodeSeat(
                each.node.id, votes=True, here=not each.stop.is_set(), draining=False, address=each.url
            )
            for each in self.doors
        ]
        away = NodeSeat(NodeId("node-3"), votes=True, here=False, draining=False, address="")
        held = LastRound(height if committed else None, committed, reason, datetime.now(UTC))
        self.status = ClusterStatus(
            seats[0].node, (*seats, away), seats[0].node, 4, height, held, 2, 3, "plain", ""
        )

    def limit(self, chosen: settings.LimitsSettings) -> None:
        """From now on, at every door."""
        for each in self.doors:
            auth.install_context(
                each.application, replace(each.application.state.auth, limiter=Limiter(chosen))
            )

    async def user(self, name: str, tier: Tier = Tier.USER) -> None:
        pool = self.doors[0].node.pool
        await users.add_user(pool, UserId(credentials.new_id()), name, tier, _kept_password())

    async def add(self, stack: AsyncExitStack, node: Node, limits: settings.LimitsSettings) -> None:
        """One more door."""
        matching, stop = Passwords(), asyncio.Event()
        stack.callback(matching.close)
        accounts = access_tokens.accounts(node.pool, matching, node=node.id)
        desk = auth.AuthContext(Limiter(limits), accounts, *house.open_house(node.pool))
        streams = OpenStreams(node.pool, settings.AccountsSettings(), limits)
        leaving = StreamShutdown(stop, 0.2)
        talking = ConversationContext(
            house.HouseConversations(node.conversations),
            node.pool,
            node.living.prompts,
            house.HouseModel(node.model),
            leaving,
            reading_places.read_primary(node.pool),
            streams,
            STAND_IN,
        )
        http = settings.HttpSettings(port=0)
        ready = readiness.Readiness({})
        made = app.create_app(
            node.id,
            ready,
            self.tell,
            desk,
            http,
            conversation_context=talking,
            list_addresses=self.addresses,
        )
        listening = server.listen_on_port(http)
        stack.callback(listening.close)
        serving = asyncio.create_task(server.serve_app(made, listening, stop, 1.0, http))
        host, port = listening.getsockname()[:2]
        door = Door(node, f"http://{host}:{port}", stop, serving, made)
        stack.push_async_callback(door.close)
        self.doors.append(door)


@asynccontextmanager
async def cluster(
    database: settings.DatabaseSettings,
    model: Model,
    limits: settings.LimitsSettings = PLENTY,
    chosen: settings.InstancesSettings = PATIENT,
) -> AsyncIterator[Cluster]:
    """Two nodes that speak like this model."""
    world = await found_world(database, CHARTERED)
    async with (
        world.node("node-1", model, chosen) as one,
        world.node("node-2", model, chosen) as other,
        AsyncExitStack() as stack,
    ):
        made = Cluster(world)
        for node in (one, other):
            await made.add(stack, node, limits)
        made.round()
        yield made
