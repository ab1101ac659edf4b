"""What a voter does for a gateway: what the client whose credential came along may do, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio

from ccn import errors, settings
from ccn.gateway.accounts.access import Caller, OpenedConversation
from ccn.gateway.deeds import values
from ccn.peers.exchange import GatewayQuestion
from ccn.store.accounts.users import Tier
from ccn.store.operators import requests
from tests.support import databases
from tests.support.gateway import gateway_house, http_door
from tests.support.gateway.gateway_house import GATEWAY, Gateway
from tests.support.node.node_world import ADA, Node, found_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEW = settings.LimitsSettings(name_refusals=2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(database_server: str) -> AsyncIterator[Node]:
    async with databases.cloned(database_server, "answers") as database:
        world = await found_world(database)
        async with world.node("node-1") as node:
            yield node


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(node: Node) -> AsyncIterator[Gateway]:
    async with gateway_house.before(node, limits=FEW) as made:
        yield made


async def somebody(gateway: Gateway, node: Node, tier: Tier = Tier.USER) -> Caller:
    """Somebody new, as the gateway knows them: with the credential that they show."""
    return await gateway.deeds.accounts.identify_caller(await http_door.key(node, tier))


async def test_what_a_gateway_says_of_itself_lets_nobody_in(gateway: Gateway, node: Node) -> None:
    """Whoever took it over may claim to be anybody: without their credential that opens nothing."""
    ann, eve = await somebody(gateway, node), await somebody(gateway, node)
    here = (await gateway.deeds.conversations.start(ann, ADA, "", None)).conversation.id
    turn = (await gateway.deeds.conversations.say(ann, here, "Hello?")).turn
    claims_to_be_ann = replace(ann, shown=eve.shown)
    for deed in (
        gateway.deeds.conversations.say(claims_to_be_ann, here, "I am Ann."),
        gateway.deeds.conversations.cancel_turn(claims_to_be_ann, turn),
        gateway.deeds.conversations.end(claims_to_be_ann, here, "over"),
        gateway.deeds.conversations.terminate_instance(claims_to_be_ann, here, "over"),
        gateway.deeds.loop.build_prompt(claims_to_be_ann, here),
        anext(gateway.deeds.conversations.follow_batches(claims_to_be_ann, turn)),
    ):
        with pytest.raises(errors.NotFound):
            await deed
    for shown, refused in (("", errors.Unauthenticated), ("ccn_made_up", errors.CredentialInvalid)):
        with pytest.raises(refused):
            await gateway.deeds.conversations.say(replace(ann, shown=shown), here, "I am Ann.")
    admin = replace(ann, tier=Tier.ADMIN)
    with pytest.raises(errors.Forbidden):
        await gateway.deeds.requests.ask_and_wait(admin, uuid4(), requests.ROUND, patience_s=0.1)
    with pytest.raises(errors.Forbidden):
        await gateway.deeds.requests.take_back(admin, uuid4(), "", "")
    said = [content for _, content in await node.read_messages(here)]
    assert said[0] == "Hello?"
    assert "I am Ann." not in said


async def test_a_turn_of_another_conversation_is_none_of_this_one(gateway: Gateway, node: Node) -> None:
    ann = await somebody(gateway, node)
    one, other = [
        (await gateway.deeds.conversations.start(ann, ADA, title, None)).conversation.id
        for title in ("one", "other")
    ]
    turn = (await gateway.deeds.conversations.say(ann, one, "Hello?")).turn
    moved = replace(turn, conversation=other)
    with pytest.raises(errors.NotFound, match="no such turn"):
        await anext(gateway.deeds.conversations.follow_batches(ann, moved))
    with pytest.raises(errors.NotFound, match="no such turn"):
        await gateway.deeds.conversations.cancel_turn(ann, moved)


async def test_an_admin_reads_for_a_reason_which_a_voter_writes_down_first(
    gateway: Gateway, node: Node
) -> None:
    ann, admin = await somebody(gateway, node), await somebody(gateway, node, Tier.ADMIN)
    here = (await gateway.deeds.conversations.start(ann, ADA, "", None)).conversation.id
    with pytest.raises(errors.ReasonRequired):
        await gateway.deeds.access.open_to_read(admin, here)
    why = replace(admin, reason="asked by its owner")
    assert (await gateway.deeds.access.open_to_read(why, here)).id == here
    newest, *_ = await requests.list_newest(node.pool, 1)
    assert newest.request.command == requests.ACCESS
    assert newest.request.body["conversation"] == str(here)
    assert newest.request.body["owner"] == str(ann.user), "which the voter looked up"
    opened = OpenedConversation(here, None, "read", "I want to")
    with pytest.raises(errors.Forbidden):
        await gateway.deeds.requests.seal_access(ann, opened)


@pytest.mark.parametrize("command", [requests.ACCESS, requests.ACCOUNT, requests.LOSS])
async def test_no_admin_writes_down_what_was_not_done(gateway: Gateway, node: Node, command: str) -> None:
    admin = await somebody(gateway, node, Tier.ADMIN)
    with pytest.raises(errors.InputInvalid, match="nobody asks"):
        await gateway.deeds.requests.ask_and_wait(admin, uuid4(), command, patience_s=0.1)


async def test_a_gateway_guesses_no_longer_than_anybody(gateway: Gateway) -> None:
    for _ in range(2):
        with pytest.raises(errors.SignInRefused):
            await gateway.deeds.accounts.sign_in("nobody", "a password", "198.51.100.0/24")
    with pytest.raises(errors.TooManyRequests) as refused:
        await gateway.deeds.accounts.sign_in("nobody", "a password", "203.0.113.0/24")
    assert refused.value.retry_after_s > 60, "and says when to come again"


@pytest.mark.parametrize(
    ("method", "body"),
    [("vote", b"{}"), ("say", b"[]"), ("say", b"{}"), ("follow", b'{"conversation": 1}'), ("start", b"{")],
)
async def test_a_question_of_no_version_is_refused(
    gateway: Gateway, node: Node, method: str, body: bytes
) -> None:
    key = await http_door.key(node)
    (voter,) = gateway.voters
    assert voter.answers is not None
    question = GatewayQuestion(GATEWAY, method, key, "", body)
    (frame,) = [frame async for frame in voter.answers.answer(question)]
    assert orjson.loads(frame)["error"]["name"] == "InputInvalid"


async def test_news_need_no_credential_and_show_who_asked(gateway: Gateway) -> None:
    (voter,) = gateway.voters
    assert voter.answers is not None
    question = GatewayQuestion(GATEWAY, "news", "", "", b'{"door": "http://gateway"}')
    (frame,) = [frame async for frame in voter.answers.answer(question)]
    assert values.decode_frame(frame)["doors"] == ["http://here"]
    (seat,) = voter.answers.seen.list_seats()
    assert (seat.gateway, seat.address) == (GATEWAY, "http://gateway")
