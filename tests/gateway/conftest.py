"""A door with accounts behind it: one application and one database for the tests of a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest_asyncio

from ccn import settings
from ccn.core.ids import CharacterId, NodeId
from ccn.gateway import readiness, reading_places
from ccn.gateway.accounts import credentials
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds import house
from ccn.gateway.deeds.house import HouseConversations
from ccn.gateway.http import app, auth
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.node import assembly
from ccn.node.instances.forwarding import Forwarding
from ccn.node.turns.prompts import Prompts
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.writing.writer import Writer
from tests.support import databases
from tests.support.gateway import access_tokens, http_door
from tests.support.gateway.accounts_door import PLENTY, RECHECK_S, Clock, Door
from tests.support.node.node_world import Model, found_world


def _instances(pool: Pool, writer: Writer, model: Model) -> tuple[HouseConversations, Pool, Prompts]:
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
    return HouseConversations(lives.conversations), pool, lives.prompts


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
        desk = auth.AuthContext(Limiter(PLENTY), accounts, *house.open_house(connections))
        instances = _instances(connections, writer, model := Model())
        streams = OpenStreams(connections, chosen, PLENTY)
        talk = ConversationContext(
            *instances,
            house.HouseModel(model),
            StreamShutdown(asyncio.Event(), 1.0),
            reading_places.read_primary(connections),
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
