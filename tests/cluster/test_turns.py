"""Three node processes, etcd and the stand-in: a reply that outlives its host, and the next day."""

from __future__ import annotations

import asyncio

import pytest

from ccn import settings
from ccn.claude.stand_in.faults import FaultRule
from ccn.core.prompts import prompt
from ccn.core.stream import EventKind, StreamEvent
from ccn.core.turn import TurnStatus
from ccn.store.conversations import instances
from ccn.store.conversations.turns import Turn
from tests.support.cluster import three_nodes
from tests.support.cluster.three_nodes import NAMES
from tests.support.node import node_world
from tests.support.node.node_world import Node
from tests.support.speakers import ANN

BEGUN = FaultRule(match="Zephyr", times=1, after=12, end="stall")
"""The first reply does not come to its end before its host is killed, however late that is."""
QUICK = {
    "CCN_ETCD_LEASE_TTL_S": "4",
    "CCN_INSTANCES_HEARTBEAT_S": "0.3",
    "CCN_INSTANCES_ADOPT_AFTER_S": "9",
}
"""Nobody but the one that is killed may be taken for dead, however busy the machine is."""


async def _read(desk: Node, turn: Turn, told: list[StreamEvent]) -> None:
    async for each in desk.conversations.follow_turn(turn.id):
        told.append(each)  # noqa: PERF401 - who waits looks at the list meanwhile


@pytest.mark.timeout(400)
async def test_a_reply_outlives_its_host_and_the_next_day_goes_on(
    database: settings.DatabaseSettings,
) -> None:
    async with three_nodes.running(database, QUICK) as cluster:
        desk = cluster.desk
        begun = await desk.conversations.start(node_world.ADA, title="Harbours")
        talk, host = begun.conversation.id, begun.instance.host
        assert host in NAMES, "the desk takes nothing"
        cluster.faults.add_rule(BEGUN)
        turn = await desk.conversations.say(talk, "My boat is called Zephyr. Tell me about harbours.", ANN)
        told: list[StreamEvent] = []
        reading = asyncio.create_task(_read(desk, turn, told))
        await three_nodes.until(lambda: len(told) >= 3)
        cluster.nodes.kill(host)
        await asyncio.wait_for(reading, 90)
        kinds = [each.kind for each in told]
        assert (kinds.count(EventKind.RESTART), kinds.count(EventKind.DONE), kinds[-1]) == (
            1,
            1,
            EventKind.DONE,
        )
        said = await desk.read_messages(talk)
        assert said == [
            ("user", "My boat is called Zephyr. Tell me about harbours."),
            ("assistant", node_world.text(told)),
        ]
        adopted = await instances.find_in_conversation(desk.pool, talk)
        assert adopted is not None
        assert (adopted.host != host, adopted.epoch) == (True, 2)

        await cluster.again()
        turn = await desk.conversations.say(talk, "Good morning. Do you remember my boat?", ANN)
        assert "Zephyr" in await desk.reply(turn.id)
        assert (await desk.conversations.load_turn(turn.id)).status is TurnStatus.COMMITTED
        again = await instances.find_in_conversation(desk.pool, talk)
        assert again is not None
        shown = prompt.call_to_text(await desk.living.prompts.build_call(again, turn.user_seq))
        for part in (
            "Keeps her word.",
            "<ccn:state>",
            "My boat is called Zephyr.",
            node_world.text(told),
            "Good morning.",
        ):
            assert part in shown
