"""Both doors of a node that pays for what it asks, and requests that begin something there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

from pydantic import SecretStr

from ccn import settings
from ccn.claude import client
from ccn.claude.stand_in import server
from ccn.claude.stand_in.faults import FaultRule
from ccn.node.spending.paid_model import PaidModel
from ccn.pb import instances_pb2 as pb
from ccn.store.connection import pool
from tests.support.gateway import http_door
from tests.support.node import node_world
from tests.support.node.node_world import Model

ADA = {"character": "ada"}
ASK = {"model": "ada", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello?"}]}
NEW = {"x-ccn-conversation": "new"}
SPAWN, BEGIN = pb.SpawnRequest(character="ada"), pb.BeginRequest(character="ada")
START = "/api/v1/conversation/start"


@asynccontextmanager
async def paying(
    database: settings.DatabaseSettings,
    limits: settings.LimitsSettings,
    chosen: settings.InstancesSettings = node_world.PATIENT,
    rule: FaultRule | None = None,
) -> AsyncIterator[http_door.Door]:
    """A door behind which calls are paid for; the stand-in answers them."""
    world = await node_world.found_world(database)
    async with server.run_stand_in() as here:
        here.faults.add_rule(rule or FaultRule())
        claude = settings.ClaudeSettings(base_url=here.url, api_key=SecretStr("any"))
        async with client.open_client(claude) as asks, pool.open(database, "purse") as purse:
            model = PaidModel(asks, purse, claude, lambda: datetime.now(UTC), limits)
            async with world.node("node-1", cast("Model", model), chosen, limits=limits) as node:
                async with http_door.door(node, limits) as door:
                    yield door
                await model.await_settlements()
