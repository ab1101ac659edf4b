"""What tests of the doors to conversations share: a node with a door that listens, and accounts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from ccn import settings
from ccn.core.ids import UserId
from ccn.gateway import readiness, reading_places
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.deeds import house
from ccn.gateway.http import app, auth, server
from ccn.gateway.http.conversations.context import ConversationContext, StreamShutdown
from ccn.gateway.limiting import Limiter
from ccn.gateway.open_streams import OpenStreams
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.users import Tier
from tests.support.gateway import access_tokens
from tests.support.node.node_world import Node

PLENTY = settings.LimitsSettings(requests=1_000_000, sign_ins=1_000_000)
RECHECK_S = 0.2
HASH = passwords.hash_password("not used by any of these tests")


@dataclass(frozen=True)
class Door:
    """The HTTP door of one node."""

    node: Node
    url: str
    stop: asyncio.Event
    application: Any
    streams: OpenStreams

    @property
    def ws(self) -> str:
        return self.url.replace("http", "ws")

    def client(self, key: str = "") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60)


@asynccontextmanager
async def door(
    node: Node,
    limits: settings.LimitsSettings = PLENTY,
    within_s: float = 2.0,
    chosen: settings.HttpSettings | None = None,
    **database: Any,
) -> AsyncIterator[Door]:
    """The door of this node, until the block ends."""
    matching, stop = Passwords(), asyncio.Event()
    accounts = access_tokens.accounts(node.pool, matching)
    desk = auth.AuthContext(Limiter(limits), accounts, *house.open_house(node.pool))
    streams = OpenStreams(node.pool, settings.AccountsSettings(recheck_s=RECHECK_S), limits)
    leaving = StreamShutdown(stop, within_s)
    http = (chosen or settings.HttpSettings()).model_copy(update={"port": 0})
    asked = node.world.database.model_copy(update=database)
    every = settings.Settings(database=asked, limits=limits)
    async with reading_places.open_places(every, node.pool, node.id) as reading:
        talking = ConversationContext(
            house.HouseConversations(node.conversations),
            node.pool,
            node.living.prompts,
            house.HouseModel(node.model),
            leaving,
            reading,
            streams,
            settings.ClaudeSettings(),
        )
        application = app.create_app(
            node.id, readiness.Readiness({}), None, desk, http, conversation_context=talking
        )
        listening = server.listen_on_port(http)
        serving = asyncio.create_task(
            server.serve_app(
                application, listening, stop, 3.0, http, wait_until_quiet=leaving.wait_until_quiet
            )
        )
        watching = asyncio.create_task(streams.watch_credentials(stop))
        host, port = listening.getsockname()[:2]
        try:
            yield Door(node, f"http://{host}:{port}", stop, application, streams)
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(serving, watching), 60)
            listening.close()
            matching.close()


async def key(node: Node, tier: Tier = Tier.USER, name: str = "") -> str:
    """The API key of a new user."""
    owner = UserId(credentials.new_id())
    await users.add_user(node.pool, owner, name or f"user {owner.hex[-12:]}", tier, HASH)
    made = credentials.new_api_key()
    new = api_keys.NewApiKey(
        credentials.new_id(),
        owner,
        "test",
        credentials.key_prefix(made),
        credentials.hash_secret(made),
        tier,
    )
    await api_keys.keep_key(node.pool, new)
    return made


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: str
    name: str
    data: dict[str, Any]


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream as they come; pings and `retry` left out."""
    fields = dict[str, str]()
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
            fields = {}


def text(told: list[Event]) -> str:
    """What a reader shows: a restart voids what came before."""
    shown = ""
    for each in told:
        if each.name == "restart":
            shown = ""
        shown += each.data.get("text", "")
    return shown
