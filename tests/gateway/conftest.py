"""A door with accounts behind it: one application and one database for the tests of a file."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import httpx
import pytest_asyncio
from fastapi import FastAPI

from ccn import settings
from ccn.core.ids import CharacterId, ConversationId, NodeId, UserId
from ccn.gateway import readiness
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.http import app, auth
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.gateway.search_places import Searches
from ccn.node import assembly
from ccn.node.conversations import Conversations
from ccn.node.instances.forwarding import Forwarding
from ccn.node.turns.prompts import Prompts
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier, User
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations
from ccn.store.writing.writer import Writer
from tests.support import databases
from tests.support.gateway import access_tokens, http_door
from tests.support.node.node_world import Model, found_world

PASSWORD = "correct horse battery"
PLENTY = settings.LimitsSettings(requests=1_000_000, sign_ins=1_000_000)
RECHECK_S = 2.0


@cache
def kept_password() -> str:
    return passwords.hash_password(PASSWORD)


@dataclass
class Clock:
    """Both clocks of a node, moved by hand."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    ticks: float = 0.0

    def wall(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.ticks

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds


@dataclass
class Door:
    """What the tests of a file share."""

    pool: Pool
    writer: Writer
    passwords: Passwords
    application: FastAPI
    client: httpx.AsyncClient
    clock: Clock

    @property
    def accounts(self) -> Accounts:
        """Those of the application."""
        desk: auth.AuthContext = self.application.state.auth
        return desk.require_accounts()

    def another_node(self, clock: Clock | None = None) -> Accounts:
        """Accounts that know nothing of what these have learnt."""
        ticking, chosen = clock or self.clock, settings.AccountsSettings(recheck_s=RECHECK_S)
        return access_tokens.accounts(
            self.pool, self.passwords, chosen, access_tokens.TWO, ticking.wall, ticking.monotonic
        )

    async def user(self, tier: Tier = Tier.USER) -> User:
        name = f"user {secrets.token_hex(6)}"
        return await users.add_user(self.pool, UserId(credentials.new_id()), name, tier, kept_password())

    async def key(self, owner: User, tier: Tier | None = None, **changes: object) -> str:
        key = credentials.new_api_key()
        new = api_keys.NewApiKey(
            credentials.new_id(),
            owner.id,
            "test",
            credentials.key_prefix(key),
            credentials.hash_secret(key),
            tier or owner.tier,
            **changes,  # type: ignore[arg-type]
        )
        await api_keys.keep_key(self.pool, new)
        return key

    async def signed_in(self, owner: User) -> dict[str, str]:
        """The header that shows an access token of this user's."""
        return bearer((await self.accounts.sign_in(owner.name, PASSWORD)).access_token)

    async def conversation(self, owner: User) -> ConversationId:
        named = ConversationId(credentials.new_id())
        await self.writer.submit(conversations.BeginConversation(named, CharacterId("ada"), owner.id))
        return named


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def _instances(pool: Pool, writer: Writer, model: Model) -> tuple[Conversations, Pool, Prompts]:
    """What a node does for conversations, without the tasks of one."""
    lives = assembly.assemble_instances(
        pool,
        writer,
        model,
        forwarding=Forwarding(writer.node, None),
        here=lambda: None,
        chosen=settings.InstancesSettings(),
        claude=settings.ClaudeSettings(),
        new_id=credentials.new_id,
    )
    return lives.conversations, pool, lives.prompts


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(database_server: str) -> AsyncIterator[http_door.Door]:
    """A node that talks, behind a door that listens."""
    async with databases.cloned(database_server, "door") as database:
        world = await found_world(database)
        async with world.node("node-1") as node, http_door.door(node) as opened:
            yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(database_server: str) -> AsyncIterator[Door]:
    """An application over a database of its own."""
    clock, matching = Clock(), Passwords()
    async with (
        databases.cloned(database_server, "door") as database,
        pool.open(database, "test") as connections,
        asyncio.TaskGroup() as tasks,
    ):
        writer = Writer(database, NodeId("node-1"), lambda: datetime.now(UTC))
        tasks.create_task(writer.run())
        await characters.import_plate(connections, writer, CharacterId("ada"), "Ada", "# Ada", "test")
        chosen = settings.AccountsSettings(recheck_s=RECHECK_S)
        accounts = access_tokens.accounts(
            connections, matching, chosen, wall=clock.wall, clock=clock.monotonic
        )
        desk = auth.AuthContext(Limiter(PLENTY), accounts, connections)
        instances = _instances(connections, writer, model := Model())
        streams = OpenStreams(connections, chosen, PLENTY)
        searching = Searches(connections, settings.DatabaseSettings(), settings.LimitsSettings())
        talk = ConversationContext(
            *instances,
            model,
            StreamShutdown(asyncio.Event(), 1.0),
            searching,
            streams,
            settings.ClaudeSettings(),
        )
        application = app.create_app(
            "node-1", readiness.Readiness({}), None, desk, conversation_context=talk
        )
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            yield Door(connections, writer, matching, application, client, clock)
        writer.stop()
    matching.close()
