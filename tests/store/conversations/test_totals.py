"""The totals of a cluster count every conversation and average over those that are alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure
from ccn.store.conversations import instances, totals
from ccn.store.conversations.instances import InstanceStatus

if TYPE_CHECKING:
    from tests.support.store.open_store import Store


async def test_totals_are_means_over_what_is_alive(store: Store) -> None:
    quiet = await store.conversation()
    await store.say(quiet, "hello")
    for phi, drift in ((0.2, 0.1), (0.4, 0.3)):
        conversation = await store.conversation()
        instance = await store.host(conversation)
        measure = ConversationMeasure(conversation, store.clock.now, 1, phi=phi)
        await measures.keep_measures(store.pool, [measure])
        quarantined = instances.ChangeInstance(instance, InstanceStatus.QUARANTINED, "drifts", drift)
        await store.writer.submit(quarantined)
    found = await totals.load_totals(store.pool)
    assert (found.conversations, found.active_instances, found.quarantined_instances) == (3, 2, 2)
    assert (found.measured, round(found.phi or 0, 6), found.ccc) == (2, 0.3, None)
    assert (round(found.drift or 0, 6), round(found.max_drift or 0, 6)) == (0.2, 0.3)


async def test_of_nothing_nothing_is_measured(store: Store) -> None:
    found = await totals.load_totals(store.pool)
    assert (found.conversations, found.active_instances, found.messages_last_hour) == (0, 0, 0)
    assert (found.measured, found.phi, found.drift, found.max_drift) == (0, None, None, None)
