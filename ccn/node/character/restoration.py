"""Bringing an instance back to character: confirmed first, never silently, never too many at once.

    alarm ──> noted ──> probes ──┬──> cleared: it only talked of something else
                                 └──> re-anchored ──> probes ──> re-initialised, at most thrice

After each step the probes are put again, so that no further step is taken than was needed. Words that were
said stay as they are: a step changes what the next prompt shows, or who speaks, and can be taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from ccn import errors, metrics
from ccn.core.character import ladder
from ccn.core.character.confirmation import Verdict
from ccn.core.character.ladder import Step
from ccn.core.ids import InstanceId
from ccn.core.prompts import anchor
from ccn.core.prompts.anchor import Measured
from ccn.node.character.drift_watch import Alarm
from ccn.node.character.probes import Probing
from ccn.node.instances.hosting import Hosting
from ccn.node.instances.spawning import Spawning
from ccn.store.character import restorations, vectors
from ccn.store.character.restorations import CLEARED, NOTE, RELEASED, Restoration
from ccn.store.connection.pool import Pool
from ccn.store.conversations import anchors, conversations, instances
from ccn.store.conversations.anchors import Keep
from ccn.store.conversations.instances import Change, Instance, Status
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

WINDOW = timedelta(hours=1)
"""How long an instance that something was done to counts against the room for others."""
WAITING_LIMIT = 256
TRIES = 5
"""How often a reminder is set beside what the turns of its instance hold fast at the same time."""
_LOOK_S = 2.0
"""How often restorations are looked for that somebody began and did not end."""


@dataclass(frozen=True, slots=True)
class Restoring:
    """What this node does about its own instances, one after the other."""

    pool: Pool
    writer: Writer
    hosting: Hosting
    spawning: Spawning
    probing: Probing
    forget: Callable[[InstanceId], None]
    now: Callable[[], datetime]
    waiting: asyncio.Queue[Alarm] = field(default_factory=lambda: asyncio.Queue(WAITING_LIMIT))

    def raised(self, alarm: Alarm) -> None:
        """Take an alarm; while too many wait, the next message of that instance raises it again."""
        try:
            self.waiting.put_nowait(alarm)
        except asyncio.QueueFull:
            log.warning("too many alarms at once", instance=str(alarm.instance.id))

    async def run(self, stop: asyncio.Event) -> None:
        """Look into one alarm after the other, until told to stop."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                taking = asyncio.create_task(self.waiting.get())
                await asyncio.wait({stopping, taking}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    await self._looked_into(taking.result(), stopping)
                    self.waiting.task_done()
                else:
                    taking.cancel()
                    await self._resume()
        finally:
            stopping.cancel()

    async def restore(self, alarm: Alarm) -> Instance:
        """Note the alarm, confirm it, and climb the ladder as far as it takes."""
        here = await instances.get(self.pool, alarm.instance.id)
        await self._note(here, NOTE, alarm.reason, alarm.distance, alarm.threshold)
        verdict = await self.probing.examine(here)
        while verdict.drifted:
            done = await self._done(here.id)
            step = ladder.following(done)
            if step is Step.REINITIALISE and step not in done and not await self._is_reminded(here):
                step = Step.REANCHOR  # noted, and interrupted before it was done
            if not await self._noted(here, step, verdict, goes_on=_touched(done)):
                log.error("an instance is out of character and is left alone", instance=str(here.id))
                await self._note(
                    here,
                    NOTE,
                    "confirmed, but too many were restored lately: an operator has to look",
                    verdict.distance,
                    verdict.threshold,
                )
                return here
            here = await self._taken(here, step, _reason(step, verdict))
            if step is Step.QUARANTINE:
                return here
            verdict = await self.probing.examine(here)
        return await self._cleared(here, verdict)

    async def release(self, instance: InstanceId, by: str, reason: str) -> Instance:
        """Let an instance speak again that was quarantined: an operator looked, and it counts anew."""
        here = await instances.get(self.pool, instance)
        if here.host != self.writer.node:
            raise errors.Conflict(f"{here.host} hosts the instance: ask it")
        if here.status is Status.RUNNING and await self._released(instance):
            return here  # asked twice
        if here.status is not Status.QUARANTINED:
            raise errors.TransitionRefused(f"the instance is {here.status}, not quarantined")
        released = await self._changed(here, Status.RUNNING, f"released by {by}: {reason}")
        self.forget(instance)
        step = Restoration(instance, self.now(), RELEASED, reason, by)
        await restorations.keep(self.pool, step)
        metrics.restored(RELEASED)
        return released

    async def _released(self, instance: InstanceId) -> bool:
        done = await restorations.of_instance(self.pool, instance)
        return bool(done) and done[-1].step == RELEASED

    async def _looked_into(self, alarm: Alarm, stopping: asyncio.Task[bool]) -> None:
        """Whatever goes wrong is told, and the next message raises the alarm again."""
        work = asyncio.create_task(self.restore(alarm))
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            if not stopping.done():
                raise
        except errors.CCNError as failed:
            log.warning("not restored", instance=str(alarm.instance.id), reason=str(failed))

    async def _noted(self, here: Instance, step: Step, verdict: Verdict, *, goes_on: bool) -> bool:
        """Note a step before it is taken; whether it may be taken, as it may where another one was."""
        taken = Restoration(
            here.id, self.now(), step, _reason(step, verdict), self.writer.node,
            verdict.distance, verdict.threshold,
        )  # fmt: skip
        if goes_on:
            await restorations.keep(self.pool, taken)
        else:
            alive = [each for each in await instances.alive(self.pool) if each.character == here.character]
            most, since = ladder.room(len(alive), 0), taken.at - WINDOW
            if not await restorations.keep_within(self.pool, taken, here.character, since, most):
                return False
        metrics.restored(step)
        return True

    async def _taken(self, here: Instance, step: Step, reason: str) -> Instance:
        log.warning("an instance is brought back to character", instance=str(here.id), step=step)
        match step:
            case Step.QUARANTINE:
                return await self._changed(here, Status.QUARANTINED, reason)
            case Step.REINITIALISE:
                return await self._begun_again(here, reason)
            case _:
                here = await self._changed(here, Status.RESTORING, reason)
                await self._reminded(here)
                return here

    async def _reminded(self, here: Instance) -> None:
        """Its state and a reminder of the plate stand in every prompt from now on.

        The turns of the instance go on, and may hold fast another state at the same moment.
        """
        for left in reversed(range(TRIES)):
            state, related, conversation, held = await asyncio.gather(
                vectors.latest(self.pool, here.conversation),
                vectors.relational(self.pool, here.conversation),
                conversations.get(self.pool, here.conversation),
                anchors.latest(self.pool, here.conversation),
            )
            if held is None:
                return
            measured = Measured(state.vector if state else None, related.vector if related else None)
            fresh = anchor.refreshed(held, measured, conversation.head_seq + 1, ordered=True)
            try:
                await self.writer.submit(Keep(here.conversation, fresh, here.epoch))
            except errors.Conflict as other:
                if isinstance(other, errors.StaleHost) or not left:
                    raise
            else:
                return

    async def _is_reminded(self, here: Instance) -> bool:
        held = await anchors.latest(self.pool, here.conversation)
        return held is None or any(state.reminder for state in held.states)

    async def _begun_again(self, here: Instance, reason: str) -> Instance:
        """Another instance takes over the conversation with all its history, and is interviewed.

        Turns that wait or run are the new one's: they come under its epoch in the same transaction.
        """
        ended = await self.writer.submit(Change(here, Status.TERMINATED, reason))
        self.hosting.drop(ended.conversation, ended.epoch)
        self.forget(ended.id)
        return await self.spawning.spawn(await conversations.get(self.pool, ended.conversation))

    async def _cleared(self, here: Instance, verdict: Verdict) -> Instance:
        await self._note(
            here, CLEARED, "its probes are answered as usual", verdict.distance, verdict.threshold
        )
        self.forget(here.id)
        if here.status is Status.RESTORING:
            return await self._changed(here, Status.RUNNING, "in character again")
        return here

    async def _changed(self, here: Instance, status: Status, reason: str) -> Instance:
        changed = await self.writer.submit(Change(here, status, reason))
        if self.hosting.get(changed.conversation) is not None:
            self.hosting.take(changed)
        return changed

    async def _note(
        self,
        here: Instance,
        step: str,
        reason: str,
        distance: float | None,
        threshold: float | None,
    ) -> None:
        await restorations.keep(
            self.pool, Restoration(here.id, self.now(), step, reason, self.writer.node, distance, threshold)
        )
        metrics.restored(step)

    async def _done(self, instance: InstanceId) -> list[Step]:
        """What was done about the conversation's instances since one of them was last in character."""
        done = list[Step]()
        for each in await restorations.of_conversation(self.pool, instance):
            if each.step in {CLEARED, RELEASED}:
                done.clear()
            else:
                done.append(Step(each.step))
        return done

    async def _resume(self) -> None:
        """Instances that were being restored when this node, or their host before it, stopped."""
        try:
            for each in await instances.alive(self.pool, host=self.writer.node):
                hosted = self.hosting.get(each.conversation)
                if each.status is Status.RESTORING and hosted and hosted.instance.epoch == each.epoch:
                    self.raised(Alarm(each, reason="its restoration was interrupted"))
        except errors.CCNError as failed:
            log.warning("no look at interrupted restorations", reason=str(failed))


def _reason(step: Step, verdict: Verdict) -> str:
    return f"{step}: {verdict.distance:.1f} from its probes, {verdict.threshold:.1f} is usual"


def _touched(done: list[Step]) -> bool:
    """Whether something was already done about it."""
    return any(step is not Step.NOTE for step in done)
