"""schemathesis over the whole OpenAPI schema: no 500, no status or body that the reference does not tell.

The examples are derived from the schema alone, so a route that is added later is tried too. They are the
same in every run.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ccn.store.accounts.users import Tier
from ccn.store.operators import requests
from ccn.store.operators.requests import AnswerRequest
from ccn.store.rounds import terms
from tests.support import databases
from tests.support.gateway import http_door
from tests.support.node.node_world import Node, found_world

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, Response

EXAMPLES = 1
"""Of each operation, unless CCN_SCHEMA_EXAMPLES asks for more, as CI does."""

QUIET = settings(
    max_examples=int(os.environ.get("CCN_SCHEMA_EXAMPLES", EXAMPLES)),
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)

CONFORM = [
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]


def no_defect(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Whatever is asked, the answer is not that the server is broken."""
    del ctx
    assert response.status_code != 500, f"{case.method} {case.path}: {response.text}"


@dataclass(frozen=True)
class Tried:
    """A node in a thread of its own, and what is there to be named."""

    url: str
    key: str
    session: str
    turn: str


@pytest.fixture(scope="module")
def tried(database_server: str) -> Iterator[Tried]:
    told: queue.Queue[Tried | BaseException] = queue.Queue()
    stop = threading.Event()

    async def live() -> None:
        async with databases.cloned(database_server, "door") as database:
            world = await found_world(database)
            async with world.node("node-1") as node, http_door.door(node) as door:
                key = await http_door.key(node, Tier.ADMIN)
                async with door.client(key) as client:
                    session, turn = await _spoken(client)
                leading = asyncio.create_task(_lead(node))
                told.put(Tried(door.url, key, session, turn))
                await asyncio.to_thread(stop.wait)
                leading.cancel()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as died:
            told.put(died)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        found = told.get(timeout=60)
        if isinstance(found, BaseException):
            raise found
        yield found
    finally:
        stop.set()
        thread.join(30)


async def _lead(node: Node) -> None:
    """Answer whatever operators ask for, as a leader without a quorum would."""
    term = await terms.take_over_term(node.pool, node.id, 1.0)
    outcome = {"committed": False, "height": 1, "term": term, "reason": "no quorum", "refused": {}}
    while True:
        for row in await node.pool.rows("SELECT command FROM operator_requests WHERE answered_at IS NULL"):
            for each in await requests.list_waiting(node.pool, row["command"]):
                await node.writer.submit(AnswerRequest(each, outcome, term))
        await asyncio.sleep(0.02)


async def _spoken(client: httpx.AsyncClient) -> tuple[str, str]:
    begun = await client.post("/api/v1/conversation/start", json={"character": "ada"})
    session = begun.json()["session_id"]
    async with client.stream(
        "POST", f"/api/v1/conversation/{session}/messages", json={"content": "Hello?"}
    ) as answer:
        events = [each async for each in http_door.events(answer)]
    return session, events[0].data["turn_id"]


@pytest.mark.timeout(900)
def test_every_answer_is_one_that_the_reference_tells_of(tried: Tried) -> None:
    import schemathesis  # not for those who only collect this test: it takes as long as all their others
    from schemathesis.checks import CHECKS, load_all_checks
    from schemathesis.core.result import Ok

    load_all_checks()
    checks: list[Any] = [*CHECKS.get_by_names(CONFORM), no_defect]
    schema = schemathesis.openapi.from_url(f"{tried.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    operations.sort(key=lambda each: each.method == "delete")  # what they end, others still name
    assert len(operations) > 25
    for operation in operations:

        @QUIET
        @given(case=operation.as_strategy(), real=st.booleans())
        def holds(case: Case[Any], real: bool) -> None:
            _settle(case, tried, real=real)
            headers = {"Authorization": f"Bearer {tried.key}"}
            case.call_and_validate(headers=headers, checks=checks, timeout=20)

        holds()


def _settle(case: Case[Any], tried: Tried, *, real: bool) -> None:
    """Name what is there in some of the cases."""
    if real:
        for name, value in (("session_id", tried.session), ("turn_id", tried.turn)):
            if name in case.path_parameters:
                case.path_parameters[name] = value
