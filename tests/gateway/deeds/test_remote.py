"""Deeds that voters do for a gateway, while some of them die: done once, and told to the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ccn import errors
from ccn.core.ids import NodeId
from ccn.gateway.accounts.access import Caller
from ccn.gateway.deeds import values
from ccn.gateway.deeds.voter_calls import VoterQuestion
from ccn.store.conversations import conversations
from ccn.store.conversations.turns import Turn
from tests.support import databases
from tests.support.gateway import gateway_house, http_door
from tests.support.gateway.gateway_house import Gateway
from tests.support.node import node_world
from tests.support.node.node_world import ADA, PATIENT, Node, found_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLY = "Well, I am here."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(database_server: str) -> AsyncIterator[tuple[Node, Node]]:
    async with databases.cloned(database_server, "remote") as database:
        world = await found_world(database)
        async with (
            world.node("node-1", chosen=PATIENT) as one,
            world.node("node-2", chosen=PATIENT) as other,
        ):
            yield one, other


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(two: tuple[Node, Node]) -> AsyncIterator[Gateway]:
    async with gateway_house.before(*two) as made:
        yield made


async def somebody(gateway: Gateway, two: tuple[Node, Node]) -> Caller:
    return await gateway.deeds.accounts.identify_caller(await http_door.key(two[0]))


async def test_the_host_is_asked_first_and_another_when_it_is_gone(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    started = await deeds.start(ann, ADA, "", None)
    here, host = started.conversation.id, started.instance.host
    for voter in gateway.voters:
        voter.heard.clear()
    begun = await deeds.say(ann, here, "One?")
    told = await gateway_house.hear(begun.batches)
    assert node_world.text(told).strip() == REPLY
    assert {voter.node: len(voter.heard) for voter in gateway.voters if voter.heard} == {host: 1}, "for all"
    await gateway.peers.set_addresses(
        {voter.node: peer.address for voter, peer in zip(gateway.voters, gateway.peers.peers, strict=True)}
        | {host: "127.0.0.1:1"}
    )
    begun = await deeds.say(ann, here, "Two?")
    told = await gateway_house.hear(begun.batches)
    assert node_world.text(told).strip() == REPLY


async def test_a_message_whose_answer_is_lost_is_said_once(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    """The voter that did it dies before it says so; the next one finds it done."""
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    started = await deeds.start(ann, ADA, "", None)
    here, host = started.conversation.id, started.instance.host
    (dying,) = [voter for voter in gateway.voters if voter.node == host]
    dying.breaks_after = 0
    begun = await deeds.say(ann, here, "Once?")
    assert {voter.node for voter in gateway.voters if voter.heard} == {
        voter.node for voter in gateway.voters
    }
    dying.breaks_after = None
    told = await gateway_house.hear(begun.batches)
    assert node_world.text(told).strip() == REPLY
    page = await conversations.load_history(two[0].pool, here)
    assert [message.content for message in page.messages][:1] == ["Once?"]
    assert len(page.messages) == 2


async def test_a_reply_goes_on_at_the_next_voter_after_the_last_piece(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    here = (await deeds.start(ann, ADA, "", None)).conversation.id
    for voter in gateway.voters:
        voter.breaks_after = 1  # each dies after every piece, and is back at once
    begun = await deeds.say(ann, here, "Well?")
    told = await gateway_house.hear(begun.batches)
    assert node_world.text(told).strip() == REPLY
    places = [event.position for event in told]
    assert places == sorted(set(places))


async def test_a_voter_of_an_older_version_is_asked_for_the_reply_as_well(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    """It accepts a message, knows of nothing more to tell with it, and does not say who hosts what."""
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    here = (await deeds.start(ann, ADA, "", None)).conversation.id
    for voter in gateway.voters:
        voter.unknown = frozenset({"follow"})
        voter.heard.clear()
    begun = await deeds.say(ann, here, "Well?")
    told = await gateway_house.hear(begun.batches)
    assert node_world.text(told).strip() == REPLY
    asked = [question.method for voter in gateway.voters for question in voter.heard]
    assert asked == ["say", "follow"]


async def test_a_gateway_of_an_older_version_hears_of_the_turn_alone(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    here = (await deeds.start(ann, ADA, "", None)).conversation.id
    body = {"conversation": here, "content": "Well?", "key": "k", "refuse": False, "language": None}
    asked = VoterQuestion("say", body, ann, NodeId("node-1"))
    (told,) = [value async for value in gateway.calls.stream_values(asked)]
    assert values.read_value(Turn, told).conversation == here


async def test_the_voter_that_was_asked_says_who_hosts_a_conversation(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    """It answers all the same; the next message goes to the host."""
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    started = await deeds.start(ann, ADA, "", None)
    here, host = started.conversation.id, started.instance.host
    (other,) = [voter.node for voter in gateway.voters if voter.node != host]
    gateway.hosts.remember(here, other)
    for words, asked in (("One?", other), ("Two?", host)):
        for voter in gateway.voters:
            voter.heard.clear()
        told = await gateway_house.hear((await deeds.say(ann, here, words)).batches)
        assert node_world.text(told).strip() == REPLY
        assert {voter.node for voter in gateway.voters if voter.heard} == {asked}


async def test_a_reply_that_nobody_reads_is_told_no_longer(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    ann, deeds = await somebody(gateway, two), gateway.deeds.conversations
    here = (await deeds.start(ann, ADA, "", None)).conversation.id
    begun = await deeds.say(ann, here, "Well?")
    await begun.batches.aclose()
    read = await deeds.say(ann, here, "And now?")
    await anext(read.batches)
    await read.batches.aclose()
    del begun, read
    async with asyncio.timeout(10):
        while any(voter.answering for voter in gateway.voters):
            await asyncio.sleep(0.01)


async def test_what_must_not_be_asked_twice_is_not(gateway: Gateway) -> None:
    for voter in gateway.voters:
        voter.breaks_after = 0
        voter.heard.clear()
    with pytest.raises(errors.OutcomeUnknown):
        await gateway.deeds.accounts.renew_grant("ccnr_made_up")
    assert sum(len(voter.heard) for voter in gateway.voters) == 1


async def test_without_voters_it_says_so_at_once(gateway: Gateway, two: tuple[Node, Node]) -> None:
    ann = await somebody(gateway, two)
    gateway.listed.clear()
    with pytest.raises(errors.NoVoter, match="none is seen"):
        await gateway.deeds.conversations.start(ann, ADA, "", None)
    gateway.listed.append(NodeId("node-9"))
    with pytest.raises(errors.NoVoter, match="nobody knows where node-9 is"):
        await gateway.deeds.conversations.start(ann, ADA, "", None)


async def test_what_a_voter_refuses_is_the_answer_and_no_other_is_asked(
    gateway: Gateway, two: tuple[Node, Node]
) -> None:
    ann, eve = await somebody(gateway, two), await somebody(gateway, two)
    here = (await gateway.deeds.conversations.start(ann, ADA, "", None)).conversation.id
    for voter in gateway.voters:
        voter.heard.clear()
    with pytest.raises(errors.NotFound):
        await gateway.deeds.conversations.say(eve, here, "Mine?")
    assert sum(len(voter.heard) for voter in gateway.voters) == 1
