"""How the character is in a conversation: of its own what there is, and what all of its instances share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ccn.core.axes import AXES, Vector
from ccn.core.ids import ConversationId
from ccn.node.rounds import consensus_round as story
from ccn.node.rounds.consensus_round import SealedRound
from ccn.node.views import conversation_health
from ccn.node.views.conversation_health import ConversationHealth
from ccn.store.character import measures, vectors
from ccn.store.character.measures import ConversationMeasure
from ccn.store.character.vectors import RecordScore
from ccn.store.conversations import conversations, instances
from tests.support.node import node_world
from tests.support.node.node_world import Node
from tests.support.node.round_world import ADA, NODES, World


async def borrowed(here: Node) -> ConversationId:
    """A conversation without an instance."""
    return (await here.conversations.begin_without_instance(ADA)).id


async def state(here: Node, talk: ConversationId, score: int) -> None:
    alive = await instances.find_in_conversation(here.pool, talk)
    who = None if alive is None else alive.id
    await here.writer.submit(RecordScore(talk, 1, Vector((score,) * len(AXES)), "reading/v1", who))


async def of(here: Node, talk: ConversationId) -> ConversationHealth:
    return await conversation_health.load_health(
        here.pool, await conversations.load_conversation(here.pool, talk)
    )


async def test_without_any_measure_nothing_is_made_up(world: World) -> None:
    async with node_world.World(world.database).node(NODES[1]) as here:
        found = await of(here, await borrowed(here))
        assert (found.instance, found.measure, found.character, found.drift) == (None, None, None, None)


async def test_a_borrowed_character_drifts_from_what_the_last_round_agreed_on(world: World) -> None:
    async with node_world.World(world.database).node(NODES[1]) as here:
        hosted, talk = await here.begin_conversation(), await borrowed(here)
        await state(here, hosted, 600_000)
        await state(here, talk, 850_000)
        assert (await of(here, talk)).drift is None, "no round has been held"
        world.vectors[NODES[1]] = await vectors.load_rosters(world.pool, NODES[1], world.genesis)
        assert isinstance(await story.run_round(await world.lead(NODES[0])), SealedRound)
        assert (await of(here, talk)).drift == pytest.approx(0.25)
        found = await of(here, hosted)
        assert found.instance is not None
        assert found.drift == 0.0


async def test_what_is_estimated_for_all_of_a_character_counts_where_nothing_was_measured(
    world: World,
) -> None:
    async with node_world.World(world.database).node(NODES[1]) as here:
        hosted, talk = await here.begin_conversation(), await borrowed(here)
        at = datetime.now(UTC)
        await measures.keep_measures(
            here.pool, [ConversationMeasure(hosted, at, 1, phi=0.2, ccc=0.9, emergence=0.4)]
        )
        shared = (await of(here, talk)).measure
        assert shared is not None
        assert (shared.conversation, shared.ccc) == (hosted, 0.9)
        await measures.keep_measures(here.pool, [ConversationMeasure(talk, at, 1, ccc=0.8)])
        assert (await of(here, talk)).measure == ConversationMeasure(talk, at, 1, ccc=0.8)
