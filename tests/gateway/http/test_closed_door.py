"""The door of a node whose database does not show what it must: it tells of itself, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from ccn import errors, settings
from ccn.gateway import readiness
from ccn.gateway.http import closed_door

REASON = "the database does not show block 7, which node-7 signed"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async def record() -> None:
        raise errors.RecordLost(REASON)

    ready = readiness.Readiness({"record": record})
    app = closed_door.create_closed_app("node-7", ready, settings.HttpSettings())
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as opened,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(ready.watch_probes())
        await ready.wait_for_change(ready.checks)
        yield opened
        ready.stop()


async def test_it_is_alive_and_says_why_it_is_not_ready(client: httpx.AsyncClient) -> None:
    health, ready = await client.get("/health"), await client.get("/ready")
    assert (health.status_code, health.json()["node"]) == (200, "node-7")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert ready.json()["checks"] == [{"name": "record", "passes": False, "needed": True, "reason": REASON}]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "path", ["/", "/token", "/status", "/api/v1/conversations", "/v1/messages", "/x/../y"]
)
async def test_whatever_else_is_asked_gets_the_reason(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["code"] == "record_lost"
    assert answer.json()["detail"] == REASON
