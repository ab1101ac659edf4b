"""What operators ask for: asked once, claimed by one node at a time, answered once, with a leaf."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import asyncpg
import pytest

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment
from ccn.store.operators import requests
from ccn.store.operators.requests import AnswerRequest
from ccn.store.rounds import terms
from ccn.store.writing.writer import Writer
from tests.support.store.open_store import Clock, Store

Writing = Callable[..., AbstractAsyncContextManager[Writer]]
ONE, TWO = NodeId("node-1"), NodeId("node-2")


async def asked(store: Store, command: str = "plate", **more: object) -> UUID:
    request = uuid.uuid4()
    node = more.pop("node", None)
    await requests.add_request(
        store.pool, request, command, "ann", more, node=NodeId(str(node)) if node else None
    )
    return request


async def known(store: Store, writer: Writer) -> None:
    """Wait until a node that starts has been seen."""
    async with asyncio.timeout(10):
        while writer.node not in await requests.list_nodes(store.pool):
            await asyncio.sleep(0.01)


async def test_a_request_waits_until_it_is_answered_and_then_tells_what_came_of_it(store: Store) -> None:
    request = await asked(store, character="ada")
    assert await requests.load_outcome(store.pool, request) is None
    claimed = await requests.claim_request(store.pool, ONE, ["plate"], 5)
    assert claimed is not None
    assert (claimed.id, claimed.body, claimed.by, claimed.claims) == (
        request,
        {"character": "ada"},
        "ann",
        1,
    )
    await store.writer.submit(AnswerRequest(claimed, {"version": 2}))
    assert await requests.load_outcome(store.pool, request) == {"version": 2}
    assert await requests.list_waiting(store.pool, "plate") == []


async def test_of_many_that_look_at_once_one_gets_the_request(store: Store, start_writer: Writing) -> None:
    await asked(store)
    async with start_writer(store.database, Clock(), TWO) as other:
        await known(store, other)
        claims = [requests.claim_request(store.pool, node, ["plate"], 5) for node in (ONE, TWO) * 8]
        taken = [each for each in await asyncio.gather(*claims) if each is not None]
    assert len(taken) == 1


async def test_a_request_for_a_node_is_for_that_node_alone(store: Store, start_writer: Writing) -> None:
    async with start_writer(store.database, Clock(), TWO) as other:
        await known(store, other)
        request = await asked(store, "drain", node=TWO)
        assert await requests.claim_request(store.pool, ONE, ["drain"], 5) is None
        claimed = await requests.claim_request(store.pool, TWO, ["drain"], 5)
        assert claimed is not None
        assert claimed.id == request


async def test_a_node_takes_up_only_what_it_knows_how_to_do(store: Store) -> None:
    await asked(store, "round")
    assert await requests.claim_request(store.pool, ONE, ["plate", "redact"], 5) is None


async def test_what_a_dead_node_had_claimed_is_claimed_again_and_its_late_answer_is_refused(
    store: Store,
) -> None:
    request = await asked(store)
    dead = await requests.claim_request(store.pool, ONE, ["plate"], 0)
    again = await requests.claim_request(store.pool, ONE, ["plate"], 60)
    assert dead is not None
    assert again is not None
    assert (dead.id, again.id, again.claims) == (request, request, 2)
    assert not await requests.extend_claim(store.pool, ONE, dead, 60)
    assert await requests.extend_claim(store.pool, ONE, again, 60)
    with pytest.raises(errors.Conflict):
        await store.writer.submit(AnswerRequest(dead, {"late": True}))
    await store.writer.submit(AnswerRequest(again, {"late": False}))
    assert await requests.load_outcome(store.pool, request) == {"late": False}


async def test_nobody_answers_twice(store: Store) -> None:
    await asked(store)
    claimed = await requests.claim_request(store.pool, ONE, ["plate"], 5)
    assert claimed is not None
    await store.writer.submit(AnswerRequest(claimed, {}))
    with pytest.raises(errors.Conflict):
        await store.writer.submit(AnswerRequest(claimed, {"version": 3}))


async def test_only_the_leader_of_the_term_answers_what_is_for_the_leader(store: Store) -> None:
    old = await terms.take_over_term(store.pool, ONE, 2)
    request = await asked(store, "round")
    (waiting,) = await requests.list_waiting(store.pool, requests.ROUND)
    new = await terms.take_over_term(store.pool, ONE, 2)
    with pytest.raises(errors.StaleTerm):
        await store.writer.submit(AnswerRequest(waiting, {"committed": True}, old))
    assert await requests.load_outcome(store.pool, request) is None
    await store.writer.submit(AnswerRequest(waiting, {"committed": True}, new))
    assert await requests.load_outcome(store.pool, request) == {"committed": True}


async def test_a_leader_that_is_refused_does_not_take_other_writes_along(store: Store) -> None:
    conversation = await store.conversation()
    old = await terms.take_over_term(store.pool, ONE, 2)
    await asked(store, "round")
    (waiting,) = await requests.list_waiting(store.pool, requests.ROUND)
    await terms.take_over_term(store.pool, ONE, 2)
    answered, said = await asyncio.gather(
        store.writer.submit(AnswerRequest(waiting, {}, old)),
        store.say(conversation, "hello"),
        return_exceptions=True,
    )
    assert isinstance(answered, errors.StaleTerm)
    assert not isinstance(said, BaseException)


async def test_every_answer_has_a_leaf_that_says_who_asked_what_and_what_came_of_it(store: Store) -> None:
    request = await asked(store, "redact", reason="asked by its owner", last=3)
    claimed = await requests.claim_request(store.pool, ONE, ["redact"], 5)
    assert claimed is not None
    outcome = requests.error_to_outcome(errors.NotFound("there is no such conversation"))
    await store.writer.submit(AnswerRequest(claimed, outcome))
    body = await store.pool.value(
        "SELECT l.body FROM leaves l JOIN operator_requests r ON (leaf_node, leaf_number) ="
        " (node_id, number) WHERE r.id = $1 AND l.kind = 'operator'",
        request,
    )
    said = json.loads(body)
    assert (said["by"], said["command"], said["error"], said["for"]) == ("ann", "redact", "NotFound", None)
    assert said["body"] == commitment.hash_document({"reason": "asked by its owner", "last": 3}).hex()
    assert said["outcome"] == commitment.hash_document(outcome).hex()


async def test_a_request_for_a_node_that_never_ran_is_refused_at_once(store: Store) -> None:
    with pytest.raises(errors.NotFound, match="no node node-9 ever ran here, only node-1"):
        await asked(store, "drain", node="node-9")


@pytest.mark.parametrize("body", [{"share": 0.5}, {"when": None, "at": {"x": [1.0]}}])
async def test_what_has_no_one_spelling_cannot_be_asked(store: Store, body: Mapping[str, object]) -> None:
    with pytest.raises(errors.InputInvalid, match="whole numbers"):
        await requests.add_request(store.pool, uuid.uuid4(), "plate", "ann", body)


async def test_a_request_without_somebody_who_asks_is_refused(store: Store) -> None:
    with pytest.raises(errors.InputInvalid, match="who asks"):
        await requests.add_request(store.pool, uuid.uuid4(), "plate", " ")


async def test_what_is_taken_back_is_begun_by_nobody_and_answered_with_that(store: Store) -> None:
    request = await asked(store)
    await requests.take_back_request(store.pool, request, "bob", "a slip")
    await requests.take_back_request(store.pool, request, "eve", "again")
    assert await requests.claim_request(store.pool, ONE, ["plate"], 5, any_node=False) is None
    claimed = await requests.claim_request(store.pool, ONE, [], 5)
    assert claimed is not None
    assert (claimed.id, claimed.taken_back_by, claimed.taken_back_why) == (
        request,
        "bob",
        "a slip",
    )
    await store.writer.submit(AnswerRequest(claimed, requests.withdrawal_to_outcome(claimed)))
    told = await requests.load_outcome(store.pool, request)
    assert told is not None
    assert (told["by"], told["reason"]) == ("bob", "a slip")
    refused = requests.outcome_to_error(told)
    assert isinstance(refused, errors.TakenBack)
    assert str(refused) == "bob took it back: a slip"
    await requests.take_back_request(store.pool, request, "bob")


async def test_what_was_asked_of_a_node_that_is_gone_can_be_taken_back(
    store: Store, start_writer: Writing
) -> None:
    async with start_writer(store.database, Clock(), TWO) as gone:
        await known(store, gone)
    request = await asked(store, "drain", node=TWO)
    await requests.take_back_request(store.pool, request, "bob")
    claimed = await requests.claim_request(store.pool, ONE, ["drain"], 5)
    assert claimed is not None
    assert (claimed.id, claimed.taken_back_by) == (request, "bob")


async def test_what_only_a_leader_answers_is_taken_back_with_the_leader(store: Store) -> None:
    request = await asked(store, "round")
    await requests.take_back_request(store.pool, request, "bob")
    assert await requests.list_waiting(store.pool, *requests.LEADING) == []
    assert await requests.claim_request(store.pool, ONE, ["round", "plate"], 5) is None
    (withdrawn,) = await requests.list_taken_back(store.pool, *requests.LEADING)
    assert withdrawn.id == request
    term = await terms.take_over_term(store.pool, ONE, 2)
    await store.writer.submit(AnswerRequest(withdrawn, requests.withdrawal_to_outcome(withdrawn), term))
    assert await requests.list_taken_back(store.pool, *requests.LEADING) == []


async def test_it_is_too_late_to_take_back_what_a_node_is_at_or_has_answered(store: Store) -> None:
    request = await asked(store)
    claimed = await requests.claim_request(store.pool, ONE, ["plate"], 60)
    assert claimed is not None
    with pytest.raises(errors.Conflict, match="node-1 is at it"):
        await requests.take_back_request(store.pool, request, "bob")
    await store.writer.submit(AnswerRequest(claimed, {"version": 2}))
    with pytest.raises(errors.Conflict, match="answered already"):
        await requests.take_back_request(store.pool, request, "bob")
    with pytest.raises(errors.NotFound, match="there is no request"):
        await requests.take_back_request(store.pool, uuid.uuid4(), "bob")


async def test_what_a_dead_node_was_at_can_be_taken_back_and_its_late_answer_is_refused(
    store: Store,
) -> None:
    request = await asked(store)
    dead = await requests.claim_request(store.pool, ONE, ["plate"], 0)
    assert dead is not None
    await requests.take_back_request(store.pool, request, "bob")
    sealing = await requests.claim_request(store.pool, ONE, ["plate"], 60)
    assert sealing is not None
    with pytest.raises(errors.Conflict):
        await store.writer.submit(AnswerRequest(dead, {"version": 2}))
    await store.writer.submit(AnswerRequest(sealing, requests.withdrawal_to_outcome(sealing)))


async def test_requests_are_listed_with_how_they_stand(store: Store) -> None:
    done, at_it, waits = [await asked(store) for _ in range(3)]
    for _ in range(2):
        claimed = await requests.claim_request(store.pool, ONE, ["plate"], 60)
        assert claimed is not None
        if claimed.id == done:
            await store.writer.submit(AnswerRequest(claimed, {"version": 1}))
    found = {each.request.id: each for each in await requests.list_newest(store.pool, 10)}
    assert [*found] == [waits, at_it, done]
    assert (found[done].at_it, found[done].outcome) == (None, {"version": 1})
    assert (found[at_it].at_it, found[at_it].outcome) == (ONE, None)
    assert (found[waits].at_it, found[waits].answered_at) == (None, None)
    assert [each.request.id for each in await requests.list_newest(store.pool, 1, ended=False)] == [waits]


async def test_whoever_takes_something_back_says_who(store: Store) -> None:
    request = await asked(store)
    for by in (" ", "x" * 201):
        with pytest.raises(errors.InputInvalid, match="who asks"):
            await requests.take_back_request(store.pool, request, by)
    with pytest.raises(errors.InputInvalid, match="at most"):
        await requests.take_back_request(store.pool, request, "bob", "x" * 2_001)


async def test_an_error_comes_back_as_the_error_it_was() -> None:
    for raised in (errors.NotFound("gone"), errors.Conflict("later"), errors.InputInvalid("no")):
        again = requests.outcome_to_error(requests.error_to_outcome(raised))
        assert type(again) is type(raised)
        assert str(again) == str(raised)
    assert requests.outcome_to_error({"version": 1}) is None
    strange = requests.outcome_to_error({"error": "os", "message": "from a later version"})
    assert type(strange) is errors.CCNError


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM operator_requests",
        "UPDATE operator_requests SET body = '{\"x\": 1}'",
        "UPDATE operator_requests SET asked_by = 'bob'",
        "UPDATE operator_requests SET claims = 7",
        "UPDATE operator_requests SET taken_back_at = now(), taken_back_by = 'bob', taken_back_why = ''",
    ],
)
async def test_the_database_keeps_requests_as_they_were_asked(store: Store, edit: str) -> None:
    await asked(store)
    await requests.claim_request(store.pool, ONE, ["plate"], 5)
    with pytest.raises(errors.StoreBroken) as refused:
        await store.pool.rows(edit)
    assert isinstance(refused.value.__cause__, asyncpg.PostgresError)
