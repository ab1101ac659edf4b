"""Replies are scored, drift is alarmed and confirmed, and whoever drifted is brought back; nobody else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import numpy as np
import pytest

from ccn import errors, settings
from ccn.core.axes import AXES, RELATIONAL, UNIT, Vector
from ccn.core.calls.call import Call, Delta, Piece, Reply, TokenUsage
from ccn.core.character import relation
from ccn.core.ids import ConversationId, NodeId
from ccn.core.prompts import interview
from ccn.core.prompts.anchor import Anchor
from ccn.node.character.drift_watch import CONVERSATIONS, DriftAlarm
from ccn.node.operators import execution
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.prompts import Prompts
from ccn.store.character import baselines, restorations, vectors
from ccn.store.character.baselines import Baseline, BaselineKind
from ccn.store.character.restorations import RestorationStep
from ccn.store.conversations import anchors, instances
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.instances import Instance, InstanceStatus
from ccn.store.writing.batch import Write
from ccn.store.writing.writer import Writer
from tests.support.node import node_world
from tests.support.node.node_world import ADA, Model, Node
from tests.support.speakers import ANN
from tests.support.store import histories

MODEL = settings.ClaudeSettings().model
ROOMY = settings.InstancesSettings(heartbeat_s=0.5, adopt_after_s=5, chunk_ms=5, queue_limit=100)
MESSAGES = int(os.environ.get("CCN_HEALTHY_MESSAGES", "160"))
INTERVIEW = [each.asks for each in interview.QUESTIONS]
Off = Callable[[Call], bool]


@dataclass(frozen=True)
class Reading:
    """A scorer for texts that are sixteen numbers of thousandths."""

    version: str = "reading/v1"

    def score(self, text: str) -> Vector:
        said = [int(each) * 1000 for each in text.split() if each.isdigit()]
        return Vector(tuple(said) if len(said) == len(AXES) else (None,) * len(AXES))


@dataclass
class Speaking(Model):
    """A model that speaks in numbers; where it is `off` it speaks as somebody else."""

    off: dict[ConversationId, Off] = field(default_factory=dict)
    loud: bool = False
    draw: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        asked = call.messages[-1].text
        if any(each in asked for each in ("Who are you?", *INTERVIEW)):
            yield Reply(node_world.PASSES, "end_turn", TokenUsage(10, 5), call.model)
            return
        self.calls.append(call)
        await asyncio.sleep(0)
        off = who.conversation in self.off and self.off[who.conversation](call)
        text = " ".join(["950"] * 16) if self.loud else spoken(self.draw, off=off)
        yield Delta(text)
        yield Reply(text, "end_turn", TokenUsage(10, 5), call.model)


def spoken(draw: np.random.Generator, *, off: bool = False) -> str:
    scores = np.clip((0.35 if off else 0.65) + 0.04 * draw.normal(size=16), 0, 1)
    return " ".join(str(round(1000 * each)) for each in scores)


@pytest.fixture
async def here(database: settings.DatabaseSettings) -> AsyncIterator[Node]:
    world = await node_world.found_world(database)
    async with world.node("node-1", Speaking(), ROOMY, scorer=Reading()) as node:
        yield node


async def test_a_reply_leads_to_a_state_a_tenth_of_the_way(here: Node) -> None:
    talk = await here.begin_conversation()
    first, second = [await replied(here, talk) for _ in range(2)]
    found = await vectors.load_window(here.pool, talk, last=10)
    assert [each.seq for each in found] == [2, 4]
    assert found[0].vector == first
    for before, now, after in zip(
        first.millionths, second.millionths, found[1].vector.millionths, strict=True
    ):
        assert before is not None
        assert now is not None
        assert after == pytest.approx(before + (now - before) / 10, abs=1)
    raw = await vectors.load_scored(here.pool, talk, "reading/v1", last=10)
    assert [each.vector for each in raw] == [first, second]


async def test_the_relation_is_measured_with_every_reply(here: Node) -> None:
    talk = await here.begin_conversation()
    await replied(here, talk)
    related = await vectors.load_relational(here.pool, talk)
    assert related is not None
    measured = dict(zip(RELATIONAL, related.vector.millionths, strict=True))
    assert measured["trust"] == measured["cooperation"] == round(UNIT * relation.Reputation(1).expected)


async def test_a_reply_too_short_to_tell_leaves_no_state(here: Node) -> None:
    talk = await here.begin_conversation()
    assert isinstance(here.model, Speaking)
    await here.reply((await here.conversations.say(talk, "Who are you?", ANN)).id)
    assert (await here.read_messages(talk))[-1] == ("assistant", node_world.PASSES)
    await here.living.scoring.wait_until_idle()
    assert await vectors.load_latest(here.pool, talk) is None


async def test_a_baseline_is_learnt_from_several_conversations_and_kept(here: Node) -> None:
    talks = [await here.begin_conversation() for _ in range(CONVERSATIONS)]
    await asyncio.gather(*(said(here, talk, 66) for talk in talks))
    await here.living.scoring.wait_until_idle()
    found = await baselines.load_newest(
        here.pool, ADA, BaselineKind.MESSAGES, scorer="reading/v1", model=MODEL
    )
    assert found is not None
    assert 240 <= len(found.scores) <= 260
    assert [await steps(here, talk) for talk in talks] == [[]] * CONVERSATIONS


async def test_who_drifts_is_alarmed_confirmed_and_reminded_and_its_neighbours_are_left_alone(
    here: Node,
) -> None:
    suspect, *others = await fleet(here, 5)
    drift(here, suspect, until=reminded)
    for _ in range(12):
        await replied(here, suspect)
        for other in others[:2]:
            await replied(here, other)
    await quiet(here)
    assert await steps(here, suspect) == ["note", "re-anchor", "cleared"]
    assert [await steps(here, other) for other in others] == [[]] * 4
    found = await alive(here, suspect)
    assert found.status is InstanceStatus.RUNNING
    lives = [each.status for each in await histories.list_lives(here.pool, found.id)]
    assert lives[-2:] == [InstanceStatus.RESTORING, InstanceStatus.RUNNING]


async def test_an_alarm_that_its_probes_do_not_confirm_is_cleared_and_nothing_is_done(here: Node) -> None:
    talker, *_ = await fleet(here, 5)
    drift(here, talker, until=lambda call: "routine question" in call.messages[-1].text)  # a topic, no more
    for _ in range(6):
        await replied(here, talker)
    await quiet(here)
    taken = await steps(here, talker)
    assert taken[:2] == ["note", "cleared"]
    assert set(taken) == {"note", "cleared"}
    assert (await alive(here, talker)).version == 2, "spawned and interviewed, nothing else"


async def test_a_reminder_that_does_not_help_is_followed_by_a_fresh_start_with_the_whole_history(
    here: Node,
) -> None:
    suspect, *_ = await fleet(here, 5)
    before = await alive(here, suspect)
    drift(here, suspect, until=lambda _: begun_again(here, suspect, before))
    for _ in range(6):
        await replied(here, suspect)
    await quiet(here)
    after = await alive(here, suspect)
    assert await steps(here, suspect) == ["note", "re-anchor", "re-initialise", "cleared"]
    assert (after.id != before.id, after.epoch, after.status) == (
        True,
        before.epoch + 1,
        InstanceStatus.RUNNING,
    )
    assert (await instances.load_instance(here.pool, before.id)).status is InstanceStatus.TERMINATED
    reply = await replied(here, suspect)
    assert reply.millionths
    assert len(here.model.calls[-1].messages) == 13, "six exchanges before this message"


async def test_nothing_helps_so_it_is_quarantined_and_says_nothing_more(here: Node) -> None:
    suspect, *_ = await fleet(here, 5)
    drift(here, suspect, until=lambda _: False)
    for _ in range(9):
        if (await alive(here, suspect)).status is not InstanceStatus.QUARANTINED:
            await replied(here, suspect)
    with pytest.raises(errors.Quarantined):
        await replied(here, suspect)
    assert await steps(here, suspect) == ["note", "re-anchor", *["re-initialise"] * 3, "quarantine"]
    assert (await alive(here, suspect)).status is InstanceStatus.QUARANTINED


async def test_an_operator_releases_who_was_quarantined_and_it_counts_anew(here: Node) -> None:
    suspect, *_ = await fleet(here, 5)
    found = await alive(here, suspect)
    here.living.hosting.host_instance(
        await here.writer.submit(
            instances.ChangeInstance(found, InstanceStatus.QUARANTINED, "nothing helped")
        )
    )
    release = execution.release_handler(here.living.restoration)
    asked = {"instance": str(found.id), "reason": "the plate was mended"}
    told = await release(asked, "ann")
    assert told == {"instance": str(found.id), "status": "running", "node": "node-1"}
    assert await release(asked, "ann") == told, "asked twice is done once"
    assert [(each.step, each.by) for each in await restored(here, suspect)] == [("released", "ann")]
    assert (await replied(here, suspect)).millionths
    with pytest.raises(errors.TransitionRefused, match="running, not quarantined"):
        await release(
            {"instance": str((await alive(here, (await here.begin_conversation()))).id), "reason": "no"},
            "ann",
        )


async def test_when_many_drift_at_once_no_more_than_a_third_less_one_are_touched(here: Node) -> None:
    drifting = await fleet(here, 5)
    for talk in drifting:
        drift(here, talk, until=reminded)
    for _ in range(8):
        for talk in drifting:
            await replied(here, talk)
    await quiet(here)
    taken = [await steps(here, talk) for talk in drifting]
    assert sum("re-anchor" in each for each in taken) == 1, "floor((5 - 1) / 3)"
    assert all("note" in each for each in taken), "none of them silently"


async def test_a_restoration_that_its_node_did_not_finish_goes_on_after_the_next_start(
    database: settings.DatabaseSettings,
) -> None:
    world, model = await node_world.found_world(database), Speaking()
    async with world.node("node-1", model, chosen=ROOMY, scorer=Reading()) as node:
        suspect, *_ = await fleet(node, 5)
        found = await alive(node, suspect)
        await node.writer.submit(instances.ChangeInstance(found, InstanceStatus.RESTORING, "begun"))
    async with world.node("node-1", model, chosen=ROOMY, scorer=Reading()) as node:
        async with asyncio.timeout(60):
            while (await alive(node, suspect)).status is not InstanceStatus.RUNNING:
                await asyncio.sleep(0.05)
        assert await steps(node, suspect) == ["note", "cleared"]


@dataclass
class Meddling:
    """A writer before whose first anchor somebody else holds fast another one."""

    real: Writer
    other: Callable[[KeepAnchor], KeepAnchor]
    met: int = 0

    @property
    def node(self) -> NodeId:
        return self.real.node

    async def submit(self, write: Write[object]) -> object:
        if isinstance(write, KeepAnchor):
            self.met += 1
            if self.met == 1:
                await self.real.submit(self.other(write))
        return await self.real.submit(write)


async def test_a_reminder_is_set_although_a_turn_sets_another_state_at_that_moment(here: Node) -> None:
    suspect, *_ = await fleet(here, 5)
    drift(here, suspect, until=reminded)
    await said(here, suspect, 1)
    await here.freeze()  # or it would look after its unfinished restoration as well
    meddling = Meddling(here.writer, lambda kept: replace(kept, anchor=plain(kept.anchor)))
    restoring = replace(here.living.restoration, writer=cast("Writer", meddling))
    found = await restoring.restore_instance(DriftAlarm(await alive(here, suspect), reason="for the test"))
    assert (found.status, meddling.met) == (InstanceStatus.RUNNING, 2)
    assert await steps(here, suspect) == ["note", "re-anchor", "cleared"]


def plain(anchor: Anchor) -> Anchor:
    return replace(anchor, states=tuple(replace(each, reminder=False) for each in anchor.states))


async def test_a_turn_goes_on_although_its_instance_is_reminded_at_that_moment(here: Node) -> None:
    talk = await here.begin_conversation()  # nothing is usual yet, so nothing is alarmed
    assert isinstance(here.model, Speaking)
    here.model.loud = True
    await replied(here, talk)
    before = await anchors.load_anchor(here.pool, talk)
    assert before is not None
    meddling = Meddling(here.writer, lambda kept: replace(kept, anchor=reminding(kept.anchor)))
    prompts = Prompts(here.pool, cast("Writer", meddling), settings.ClaudeSettings())
    call = await prompts.build_call(await alive(here, talk), 1)
    assert reminded(call)
    after = await anchors.load_anchor(here.pool, talk)
    assert after is not None
    assert (after.version, meddling.met) == (before.version + 1, 1)


def reminding(anchor: Anchor) -> Anchor:
    return replace(anchor, states=(*anchor.states[:-1], replace(anchor.states[-1], reminder=True)))


async def test_a_reminder_that_was_noted_and_not_set_is_set_before_anything_else_is_done(
    database: settings.DatabaseSettings,
) -> None:
    world, model = await node_world.found_world(database), Speaking()
    async with world.node("node-1", model, chosen=ROOMY, scorer=Reading()) as node:
        suspect, *_ = await fleet(node, 5)
        await said(node, suspect, 1)
        drift(node, suspect, until=reminded)
        found = await alive(node, suspect)
        for step in ("note", "re-anchor"):
            done = RestorationStep(found.id, datetime.now(UTC), step, "for the test", "node-1")
            await restorations.keep_step(node.pool, done)
        await node.writer.submit(instances.ChangeInstance(found, InstanceStatus.RESTORING, "re-anchor"))
    async with world.node("node-1", model, chosen=ROOMY, scorer=Reading()) as node:
        async with asyncio.timeout(20):
            while (await alive(node, suspect)).status is not InstanceStatus.RUNNING:
                await asyncio.sleep(0.05)
        assert await steps(node, suspect) == ["note", "re-anchor", "note", "re-anchor", "cleared"]


async def test_many_healthy_messages_restore_nobody(here: Node) -> None:
    talks = await fleet(here, 8)
    await asyncio.gather(*(said(here, talk, MESSAGES // 8) for talk in talks))
    await quiet(here)
    touched = [
        step for talk in talks for step in await steps(here, talk) if step not in {"note", "cleared"}
    ]
    assert touched == []


async def fleet(here: Node, count: int) -> list[ConversationId]:
    """Conversations of a character whose usual scores and answers are known."""
    draw = np.random.default_rng(3)
    reading = Reading()
    for kind, rows in ((BaselineKind.MESSAGES, 400), (BaselineKind.PROBES, 40)):
        heard = baselines.vectors_to_samples([reading.score(spoken(draw)) for _ in range(rows)])
        at = datetime.now(UTC)
        await baselines.keep_baseline(
            here.pool, Baseline(ADA, kind, reading.version, MODEL, at, 1, 5, heard)
        )
    return [await here.begin_conversation() for _ in range(count)]


def drift(here: Node, talk: ConversationId, *, until: Off) -> None:
    assert isinstance(here.model, Speaking)
    here.model.off[talk] = lambda call: not until(call)


def reminded(call: Call) -> bool:
    everything = [block.text for block in call.system] + [each.text for each in call.messages]
    return any("reminder" in each.casefold() for each in everything)


def begun_again(here: Node, talk: ConversationId, before: Instance) -> bool:
    hosted = here.living.hosting.find_hosted(talk)
    return hosted is None or hosted.instance.id != before.id


async def said(here: Node, talk: ConversationId, messages: int) -> None:
    for _ in range(messages):
        turn = await here.conversations.say(talk, "Tell me more about it.", ANN)
        await here.reply(turn.id)


async def replied(here: Node, talk: ConversationId) -> Vector:
    """What the reply to one more message scores, once it is scored."""
    turn = await here.conversations.say(talk, "Tell me more about it.", ANN)
    reply = await here.reply(turn.id)
    await here.living.scoring.wait_until_idle()
    await quiet(here)
    return Reading().score(reply)


async def quiet(here: Node) -> None:
    """Return when every alarm was looked into."""
    await here.living.scoring.wait_until_idle()
    await here.living.restoration.alarms.join()


async def steps(here: Node, talk: ConversationId) -> list[str]:
    return [each.step for each in await restored(here, talk)]


async def restored(here: Node, talk: ConversationId) -> list[restorations.RestorationStep]:
    return await restorations.list_of_conversation(here.pool, (await alive(here, talk)).id)


async def alive(here: Node, talk: ConversationId) -> Instance:
    found = await instances.find_in_conversation(here.pool, talk)
    assert found is not None
    return found
