"""A call finds a node that answers: after deaths and refusals, in time, and never with a foreign error."""

from __future__ import annotations

import asyncio

import grpc  # type: ignore[import-untyped]
import pytest

from ccn import continuity, errors
from ccn.continuity.channel import ClusterChannel
from ccn.core.calls.call import Delta, Reply
from ccn.pb import instances_pb2 as pb
from tests.continuity import scripted
from tests.continuity.scripted import CONVERSATION, ScriptedNode
from tests.support import ports

WITHIN_S = 30.0
"""Where the time does not matter, because the test is not about it."""
KEY = "ccn_x"
ACCEPTED = pb.Event(id="1", accepted=pb.Accepted(turn="t", seq=1))
WELL = pb.Event(id="2", delta="Well, ")
HERE = pb.Event(id="3", delta="I am here.")
DONE = pb.Event(id="4", done=pb.Done(stop="end_turn", model="m", output_tokens=5))


async def test_a_call_whose_node_dies_in_the_middle_is_asked_again_of_the_next_with_the_same_key() -> None:
    first, second = ScriptedNode(Begin=scripted.stay_silent), ScriptedNode()
    async with (
        scripted.run_nodes(first, second) as target,
        continuity.connect(target, KEY) as cluster,
        asyncio.timeout(WITHIN_S),
    ):
        beginning = asyncio.create_task(cluster.begin("ada"))
        await first.wait_until_asked()
        await first.die()
        assert (await beginning).id == CONVERSATION
    assert first.requests == second.requests
    assert first.requests[0].idempotency_key


async def test_the_node_that_answered_last_is_asked_first() -> None:
    dead = ScriptedNode(Begin=scripted.refuse_with(grpc.StatusCode.UNAVAILABLE, "no database"))
    alive = ScriptedNode()
    async with scripted.run_nodes(dead, alive) as target, continuity.connect(target, KEY) as cluster:
        await cluster.begin("ada")
        await cluster.begin("ada")
    assert (len(dead.requests), len(alive.requests)) == (1, 2)


async def test_what_every_node_would_refuse_is_asked_once() -> None:
    nodes = [
        ScriptedNode(Begin=scripted.refuse_with(grpc.StatusCode.INVALID_ARGUMENT, "no character"))
        for _ in range(2)
    ]
    async with scripted.run_nodes(*nodes) as target, continuity.connect(target, KEY) as cluster:
        with pytest.raises(errors.InputInvalid, match="no character"):
            await cluster.begin("ada")
    assert [len(node.requests) for node in nodes] == [1, 0]


async def test_an_error_of_the_last_try_is_raised_when_patience_ends() -> None:
    node = ScriptedNode(Begin=scripted.refuse_with(grpc.StatusCode.UNAVAILABLE, "no database"))
    async with (
        scripted.run_nodes(node) as target,
        continuity.connect(target, KEY, patience_s=0.1) as cluster,
    ):
        with pytest.raises(errors.OutcomeUnknown, match="no database"):
            await cluster.begin("ada")
    assert len(node.requests) > 1


async def test_a_cluster_that_is_not_there_is_said_in_time() -> None:
    with ports.reserve_port() as port:
        async with continuity.connect(f"127.0.0.1:{port}", KEY, patience_s=0.3) as cluster:
            with pytest.raises(errors.Unavailable, match=f"no connection to 127.0.0.1:{port}"):
                await cluster.begin("ada")


async def test_a_stream_whose_node_dies_goes_on_at_the_next_after_the_last_event() -> None:
    first = ScriptedNode()
    first.answers["Converse"] = scripted.stream_events(ACCEPTED, WELL, then=first.die_now)
    second = ScriptedNode(Follow=scripted.stream_events(HERE, DONE))
    async with (
        scripted.run_nodes(first, second) as target,
        continuity.connect(target, KEY) as cluster,
        asyncio.timeout(WITHIN_S),
    ):
        talk = await cluster.conversation(CONVERSATION)
        pieces = [piece async for piece in talk.say("Hello!")]
    assert pieces[:2] == [Delta("Well, "), Delta("I am here.")]
    assert isinstance(pieces[2], Reply)
    assert pieces[2].text == "Well, I am here."
    assert second.requests == [pb.FollowRequest(conversation=str(CONVERSATION), after="2")]


async def test_a_stream_that_breaks_before_its_first_event_says_the_message_again_with_its_key() -> None:
    first = ScriptedNode()
    first.answers["Converse"] = scripted.stream_events(then=first.die_now)
    second = ScriptedNode(Converse=scripted.stream_events(ACCEPTED, WELL, DONE))
    async with (
        scripted.run_nodes(first, second) as target,
        continuity.connect(target, KEY) as cluster,
        asyncio.timeout(WITHIN_S),
    ):
        talk = await cluster.conversation(CONVERSATION)
        assert await talk.reply("Hello!", idempotency_key="k") == "Well, "
    (said,) = second.requests
    assert (said.content, said.idempotency_key) == ("Hello!", "k")


async def test_whoever_leaves_a_stream_is_missed_by_the_node() -> None:
    left = asyncio.Event()

    async def wait_for_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    node = ScriptedNode(Converse=scripted.stream_events(ACCEPTED, WELL, then=wait_for_end))
    async with scripted.run_nodes(node) as target, continuity.connect(target, KEY) as cluster:
        talk = await cluster.conversation(CONVERSATION)
        pieces = talk.say("Hello!")
        assert await anext(pieces) == Delta("Well, ")
        await pieces.aclose()
        await asyncio.wait_for(left.wait(), WITHIN_S)


async def test_a_call_under_way_when_the_connection_closes_has_an_unknown_outcome() -> None:
    """A closed channel cancels its calls, and a program must not take that for its own cancellation."""
    node = ScriptedNode(Begin=scripted.stay_silent)
    async with scripted.run_nodes(node) as target:
        async with continuity.connect(target, KEY) as cluster:
            beginning = asyncio.create_task(cluster.begin("ada"))
            await node.wait_until_asked()
        with pytest.raises(errors.OutcomeUnknown, match="closed during a call"):
            await asyncio.wait_for(beginning, WITHIN_S)


async def test_a_stream_under_way_when_the_connection_closes_has_an_unknown_outcome() -> None:
    node = ScriptedNode(Converse=scripted.stream_events(ACCEPTED, WELL, then=asyncio.Event().wait))
    async with scripted.run_nodes(node) as target:
        async with continuity.connect(target, KEY) as cluster:
            pieces = (await cluster.conversation(CONVERSATION)).say("Hello!")
            assert await anext(pieces) == Delta("Well, ")
            reading = asyncio.create_task(anext(pieces))
            await asyncio.sleep(0)
        with pytest.raises(errors.OutcomeUnknown, match="closed during a call"):
            await asyncio.wait_for(reading, WITHIN_S)


async def test_a_connection_that_was_closed_says_so_at_once() -> None:
    node = ScriptedNode()
    async with scripted.run_nodes(node) as target:
        async with continuity.connect(target, KEY) as cluster:
            talk = await cluster.begin("ada")
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(errors.Unavailable, match="connection to the cluster is closed"):
                await cluster.begin("ada")
            with pytest.raises(errors.Unavailable, match="connection to the cluster is closed"):
                await talk.reply("Hello!")
    assert len(node.requests) == 1


async def test_closing_twice_is_closing_once() -> None:
    channel = ClusterChannel(("127.0.0.1:1", "127.0.0.1:2"), KEY, None, 1.0)
    await channel.close()
    await channel.close()
    with pytest.raises(errors.Unavailable, match="is closed"):
        await channel.ask_once(lambda node: node.instances.Get, pb.GetRequest())


async def test_whoever_is_cancelled_during_a_call_is_cancelled() -> None:
    node = ScriptedNode(Begin=scripted.stay_silent)
    async with scripted.run_nodes(node) as target, continuity.connect(target, KEY) as cluster:
        beginning = asyncio.create_task(cluster.begin("ada"))
        await node.wait_until_asked()
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(beginning, WITHIN_S)


async def test_whoever_is_cancelled_between_two_tries_is_cancelled() -> None:
    node = ScriptedNode(Begin=scripted.refuse_with(grpc.StatusCode.UNAVAILABLE, "no database"))
    async with scripted.run_nodes(node) as target, continuity.connect(target, KEY) as cluster:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await cluster.begin("ada")
        assert node.requests
