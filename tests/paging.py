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
from ccn.gateway import readiness
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.http import app, auth, server
from ccn.gateway.http.conversations.context import Leaving, Talk
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import Streams
from ccn.gateway.search_places import Searching
from ccn.node.views.cluster_status import Round, Seat, Status
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from tests import trusting
from tests.living import PATIENT, Model, Node, World, founded

PASSWORD = "correct horse battery"
PLENTY = settings.Limits(requests=1_000_000, sign_ins=1_000_000)
STAND_IN = settings.Claude(stand_in=True)
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
    return passwords.hashed(PASSWORD)


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
    status: Status | errors.CCNError | None = None
    """What is told, or why nothing can be."""

    def addresses(self) -> list[str]:
        return [each.url for each in self.doors]

    async def tell(self) -> Status:
        if isinstance(self.status, errors.CCNError):
            raise self.status
        assert self.status is not None
        return self.status

    def round(self, *, committed: bool = True, reason: str = "") -> None:
        """One more round, and who is here for it."""
        before = self.status.height or 0 if isinstance(self.status, Status) else 0
        height = before + 1 if committed else before
        seats = [
            Seat(each.node.id, votes=True, here=not each.stop.is_set(), draining=False, address=each.url)
            for each in self.doors
        ]
        away = Seat(NodeId("node-3"), votes=True, here=False, draining=False, address="")
        held = Round(height if committed else None, committed, reason, datetime.now(UTC))
        self.status = Status(
            seats[0].node, (*seats, away), seats[0].node, 4, height, held, 2, 3, "plain", ""
        )

    def limit(self, chosen: settings.Limits) -> None:
        """From now on, at every door."""
        for each in self.doors:
            auth.install(each.application, replace(each.application.state.desk, limiter=Limiter(chosen)))

    async def user(self, name: str, tier: Tier = Tier.USER) -> None:
        pool = self.doors[0].node.pool
        await users.add(pool, UserId(credentials.new_id()), name, tier, _kept_password())

    async def add(self, stack: AsyncExitStack, node: Node, limits: settings.Limits) -> None:
        """One more door."""
        matching, stop = Passwords(), asyncio.Event()
        stack.callback(matching.close)
        accounts = trusting.accounts(node.pool, matching, node=node.id)
        desk = auth.Desk(Limiter(limits), accounts, node.pool)
        searching = Searching(node.pool, settings.Database(), settings.Limits())
        streams = Streams(node.pool, settings.Accounts(), limits)
        leaving = Leaving(stop, 0.2)
        talking = Talk(
            node.doors, node.pool, node.living.prompting, node.model, leaving, searching, streams, STAND_IN
        )
        http = settings.Http(port=0)
        ready = readiness.Readiness({})
        made = app.create(node.id, ready, self.tell, desk, http, talking=talking, doors=self.addresses)
        listening = server.listen(http)
        stack.callback(listening.close)
        serving = asyncio.create_task(server.serve(made, listening, stop, 1.0, http))
        host, port = listening.getsockname()[:2]
        door = Door(node, f"http://{host}:{port}", stop, serving, made)
        stack.push_async_callback(door.close)
        self.doors.append(door)


@asynccontextmanager
async def cluster(
    database: settings.Database,
    model: Model,
    limits: settings.Limits = PLENTY,
    chosen: settings.Instances = PATIENT,
) -> AsyncIterator[Cluster]:
    """Two nodes that speak like this model."""
    world = await founded(database, CHARTERED)
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
