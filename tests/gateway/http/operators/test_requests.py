"""Operators over HTTP: what they ask for is asked of the cluster, and rounds can be looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from ccn.core.ids import NodeId
from ccn.store.accounts.users import Tier
from ccn.store.operators import requests

if TYPE_CHECKING:
    from tests.support.gateway.accounts_door import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_request_is_asked_under_the_name_of_the_account_and_waited_for(door: Door) -> None:
    admin = await _admin(door)
    key = str(uuid4())
    body = {"command": "round", "by": "ada"}
    asking = asyncio.create_task(
        door.client.post("/api/v1/admin/requests", json=body, headers={**admin, "Idempotency-Key": key})
    )
    async with asyncio.timeout(60):
        while not (waiting := await requests.list_waiting(door.pool, requests.ROUND)):
            await asyncio.sleep(0.02)
    assert str(waiting[0].id) == key
    assert waiting[0].by.endswith("(ada)")
    asking.cancel()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"command": "DROP TABLE"},
        {"command": "account"},
        {"command": "nonsense"},
        {"command": "round", "node": "../x"},
        {"command": "round", "more": 1},
    ],
)
async def test_what_no_request_can_be_is_refused(door: Door, body: dict[str, object]) -> None:
    answer = await door.client.post("/api/v1/admin/requests", json=body, headers=await _admin(door))
    assert answer.status_code == 422


async def test_requests_are_listed_and_taken_back(door: Door) -> None:
    admin, request = await _admin(door), uuid4()
    await requests.add_request(door.pool, request, "plate", "ann", {"character": "ada", "content": "# Ada"})
    path = "/api/v1/admin/requests"
    found = (await door.client.get(path, params={"ended": "false"}, headers=admin)).json()["requests"]
    shown = next(each for each in found if each["request"] == str(request))
    assert (shown["state"], shown["by"], shown["body"]) == ("waiting", "ann", {"character": "ada"})
    taken = await door.client.delete(f"{path}/{request}", params={"by": "bob"}, headers=admin)
    assert (taken.status_code, taken.json()["state"]) == (200, "taken back")
    standing = await requests.request_state(door.pool, request)
    assert standing.request.taken_back_by.endswith("(bob)")
    missing = await door.client.delete(f"{path}/{uuid4()}", headers=admin)
    assert missing.status_code == 404


async def test_what_a_node_is_at_is_not_taken_back(door: Door) -> None:
    admin, request = await _admin(door), uuid4()
    await requests.add_request(door.pool, request, "plate", "ann")
    while (claimed := await requests.claim_request(door.pool, NodeId("node-1"), ["plate"], 60)) is not None:
        if claimed.id == request:
            break
    assert claimed is not None
    late = await door.client.delete(f"/api/v1/admin/requests/{request}", headers=admin)
    assert late.status_code == 409
    assert "too late" in late.json()["detail"]


async def test_rounds_are_listed_and_one_that_is_not_there_is_not_found(door: Door) -> None:
    admin = await _admin(door)
    assert (await door.client.get("/api/v1/admin/rounds", headers=admin)).json() == {"rounds": []}
    assert (await door.client.get("/api/v1/admin/rounds/7", headers=admin)).status_code == 404
    assert (await door.client.get("/api/v1/admin/nodes/nobody/load", headers=admin)).status_code == 404
    unfounded = await door.client.get("/api/v1/admin/validators", headers=admin)
    assert (unfounded.status_code, "not founded yet" in unfounded.json()["detail"]) == (404, True)


@pytest.mark.parametrize("path", ["requests", "validators", "rounds", "rounds/1", "nodes/node-1/load"])
async def test_operating_is_for_admins(door: Door, path: str) -> None:
    assert (await door.client.get(f"/api/v1/admin/{path}")).status_code == 401
    assert (
        await door.client.get(f"/api/v1/admin/{path}", headers=await door.signed_in(await door.user()))
    ).status_code == 403


async def _admin(door: Door) -> dict[str, str]:
    return await door.signed_in(await door.user(Tier.ADMIN))
