"""A node that does what operators ask: once, even when nodes die over it, or says why it cannot."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ccn import errors, settings
from ccn.core.chain import block
from ccn.core.ids import CharacterId, NodeId, UserId
from ccn.core.ledger import commitment
from ccn.node.operators import execution, submission
from ccn.node.operators.execution import PLATE
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import Body
from ccn.store.rounds import blocks, terms
from ccn.store.writing.writer import Writer
from tests.support.core.honest_cluster import rules_of

CLAIM_S = 0.3
LONG_CLAIM_S = 4.0
"""Extended after a third of it; a busy machine may be late by the rest."""


async def always() -> bool:
    return True


class Node:
    """One node that only operates."""

    def __init__(self, pool: Pool, writer: Writer) -> None:
        self.pool, self.writer = pool, writer

    async def ask(self, command: str, body: Body | None = None, node: NodeId | None = None) -> UUID:
        request = uuid.uuid4()
        await requests.add_request(self.pool, request, command, "ann", body, node=node)
        return request

    async def answer(self, request: UUID) -> Body:
        async with asyncio.timeout(60):
            while (outcome := await requests.load_outcome(self.pool, request)) is None:
                await asyncio.sleep(0.01)
        return outcome


@pytest.fixture
async def node(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    async with pool.open(database, "test") as connections, asyncio.TaskGroup() as tasks:
        writer = Writer(database, NodeId("node-1"), lambda: datetime.now(UTC))
        tasks.create_task(writer.run())
        yield Node(connections, writer)
        writer.stop()


async def test_an_operator_imports_a_plate_and_the_same_plate_again_changes_nothing(node: Node) -> None:
    stop = asyncio.Event()
    known = execution.node_handlers(node.pool, node.writer)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(execution.run_requests(node.pool, node.writer, known, always, stop))
        body = {"character": "ada", "name": "Ada", "content": "# Ada"}
        told = await node.answer(await node.ask(PLATE, body))
        again = await node.answer(await node.ask(PLATE, body))
        changed = await node.answer(await node.ask(PLATE, body | {"content": "# Ada, older"}))
        stop.set()
    assert (told["version"], again, changed["version"]) == (1, told, 2)
    plate = await characters.load_plate(node.pool, CharacterId("ada"), 1)
    assert (plate.content, plate.imported_by) == ("# Ada", "ann")


async def test_the_last_node_that_could_lead_is_not_drained(node: Node) -> None:
    known = execution.node_handlers(node.pool, node.writer)
    async with asyncio.timeout(60):
        while node.writer.node not in await requests.list_nodes(node.pool):
            await asyncio.sleep(0.01)
    here = NodeId("node-1")
    term = await terms.take_over_term(node.pool, here, 2)
    await blocks.write_genesis(node.pool, term, block.genesis_tip("ccn.example/test", rules_of([here])))
    request = await node.ask(execution.DRAIN, node=here)
    assert await execution.run_oldest(node.pool, node.writer, known, for_any_node=False)
    assert (await node.answer(request))["error"] == "Conflict"
    assert await drains.list_draining(node.pool) == frozenset()


async def test_what_cannot_be_done_is_answered_with_its_reason(node: Node) -> None:
    known = execution.node_handlers(node.pool, node.writer)
    request = await node.ask(PLATE, {"character": "ada", "name": "Ada"})
    assert await execution.run_oldest(node.pool, node.writer, known)
    assert await node.answer(request) == {"error": "InputInvalid", "message": "the request has no content"}
    assert not await execution.run_oldest(node.pool, node.writer, known)


async def test_a_slow_request_stays_with_the_node_that_is_at_it(node: Node) -> None:
    claims = list[datetime]()

    async def slow(_: Body, by: str) -> Body:
        claims.append(await _claimed_until(node))
        while await _claimed_until(node) == claims[0]:
            await asyncio.sleep(LONG_CLAIM_S / 50)
        return {"by": by}

    request = await node.ask("slow")
    working = asyncio.create_task(
        execution.run_oldest(node.pool, node.writer, {"slow": slow}, LONG_CLAIM_S)
    )
    while not claims and not working.done():
        await asyncio.sleep(0.01)
    while not working.done():
        assert not await execution.run_oldest(node.pool, node.writer, {"slow": slow}, LONG_CLAIM_S)
        await asyncio.sleep(LONG_CLAIM_S / 50)
    assert await working
    assert len(claims) == 1
    assert await node.answer(request) == {"by": "ann"}


async def _claimed_until(node: Node) -> datetime:
    until: datetime = await node.pool.value("SELECT claimed_until FROM operator_requests")
    return until


async def test_another_node_begins_again_when_the_first_one_died(node: Node) -> None:
    async def dies(*_: object) -> Body:
        await asyncio.Event().wait()
        return {}

    async def works(*_: object) -> Body:
        return {"done": True}

    request = await node.ask("work")
    dying = asyncio.create_task(execution.run_oldest(node.pool, node.writer, {"work": dies}, CLAIM_S))
    while not (await requests.list_waiting(node.pool, "work"))[0].claims:
        await asyncio.sleep(0.01)
    dying.cancel()
    async with asyncio.timeout(60):
        while not await execution.run_oldest(node.pool, node.writer, {"work": works}, CLAIM_S):
            await asyncio.sleep(0.01)
    assert await node.answer(request) == {"done": True}


async def test_a_request_that_every_node_dies_over_is_given_up(node: Node) -> None:
    request = await node.ask("work")
    for _ in range(requests.TRIES):
        assert await requests.claim_request(node.pool, NodeId("node-1"), ["work"], 0)

    async def never(*_: object) -> Body:
        raise AssertionError("this was given up")

    assert await execution.run_oldest(node.pool, node.writer, {"work": never})
    assert (await node.answer(request))["error"] == "NodeFailed"


async def test_a_defect_is_an_answer_and_not_the_end_of_the_node(node: Node) -> None:
    async def defective(*_: object) -> Body:
        raise ZeroDivisionError

    request = await node.ask("work")
    with capture_logs() as logs:
        assert await execution.run_oldest(node.pool, node.writer, {"work": defective})
    assert await node.answer(request) == {
        "error": "NodeFailed",
        "message": "a defect, see the log: ZeroDivisionError",
    }
    assert [each["log_level"] for each in logs if each["event"] == "a request met a defect"] == ["critical"]


async def test_a_node_that_is_stopping_leaves_the_request_to_the_next(node: Node) -> None:
    async def stopping(*_: object) -> Body:
        raise errors.ShuttingDown("this node is stopping")

    request = await node.ask("work")
    with pytest.raises(errors.ShuttingDown):
        await execution.run_oldest(node.pool, node.writer, {"work": stopping})
    assert await requests.load_outcome(node.pool, request) is None


async def test_a_change_of_accounts_is_sealed_by_the_next_node_that_looks(node: Node) -> None:
    user = UserId(uuid.uuid4())
    await users.add_user(node.pool, user, "ada", Tier.USER, "secret hash", "ann")
    assert await execution.run_oldest(
        node.pool, node.writer, execution.node_handlers(node.pool, node.writer)
    )
    leaf = json.loads(await node.pool.value("SELECT body FROM leaves WHERE kind = 'operator'"))
    asked = {"action": "add user", "user": str(user), "name": "ada", "tier": "user"}
    assert (leaf["command"], leaf["by"], leaf["error"]) == ("account", "ann", None)
    assert leaf["body"] == commitment.hash_document(asked).hex()


async def test_what_was_taken_back_is_not_done_and_that_is_sealed(node: Node) -> None:
    known = execution.node_handlers(node.pool, node.writer)
    request = await node.ask(PLATE, {"character": "ada", "name": "Ada", "content": "# Ada"})
    await requests.take_back_request(node.pool, request, "bob", "a slip")
    taking = asyncio.create_task(submission.take_back(node.pool, request, "bob", "a slip"))
    async with asyncio.timeout(10):
        while not await execution.run_oldest(node.pool, node.writer, known, CLAIM_S):
            await asyncio.sleep(0.01)
    told = await taking
    assert (told["state"], told["error"], bool(told["answered_at"])) == ("taken back", None, True)
    assert (await node.answer(request))["message"] == "bob took it back: a slip"
    with pytest.raises(errors.NotFound):
        await characters.load_plate(node.pool, CharacterId("ada"))
    (listed,) = await submission.list_newest(node.pool, 5)
    assert listed == told
    assert "content" not in listed["body"]  # type: ignore[operator]  # it is a mapping
    assert await submission.list_newest(node.pool, 5, ended=False) == []


async def test_a_request_that_nobody_answers_is_told_of_with_its_id(node: Node) -> None:
    request = uuid.uuid4()
    with pytest.raises(errors.Unanswered, match=f"a node will answer.*`ccn request cancel {request}`"):
        await submission.ask_and_wait(node.pool, request, "drain", "ann", patience_s=0.05)
    (waiting,) = await submission.list_newest(node.pool, 5, ended=False)
    assert (waiting["request"], waiting["state"]) == (str(request), "waiting")


async def test_whoever_still_waits_is_told_that_it_was_taken_back(node: Node) -> None:
    request = uuid.uuid4()
    waiting = asyncio.create_task(submission.ask_and_wait(node.pool, request, "drain", "ann"))
    async with asyncio.timeout(10):
        while not await submission.list_newest(node.pool, 1):
            await asyncio.sleep(0.01)
    stands = await submission.take_back(node.pool, request, "bob", patience_s=0.05)
    assert (stands["state"], stands["answered_at"]) == ("taken back", None)
    assert await execution.run_oldest(node.pool, node.writer, {})
    with pytest.raises(errors.TakenBack, match="bob took it back"):
        await waiting
