"""Bringing an instance back to character: confirmed first, never silently, never too many at once.

    alarm ──> noted ──> probes ──┬──> cleared: it only talked of something else
                                 └──> re-anchored ──> probes ──> re-initialised, at most thrice

After each step the probes are put again, so that no further step is taken than was needed. Words that were
said stay as they are: a step changes what the next prompt shows, or who speaks, and can be taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from ccn import errors, metrics
from ccn.core.character import ladder
from ccn.core.character.confirmation import ProbeVerdict
from ccn.core.character.ladder import LadderStep
from ccn.core.ids import InstanceId
from ccn.core.prompts import anchor
from ccn.core.prompts.anchor import MeasuredStates
from ccn.node.character.drift_watch import DriftAlarm
from ccn.node.character.probes import Probes
from ccn.node.instances.hosting import Hosting
from ccn.node.instances.spawning import Spawning
from ccn.store.character import restorations, vectors
from ccn.store.character.restorations import CLEARED, NOTE, RELEASED, RestorationStep
from ccn.store.connection.pool import Pool
from ccn.store.conversations import anchors, conversations, instances
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.instances import ChangeInstance, Instance, InstanceStatus
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

WINDOW = timedelta(hours=1)
"""How long an instance that something was done to counts against the room for others."""
WAITING_LIMIT = 256
TRIES = 5
"""How often a reminder is set beside what the turns of its instance hold fast at the same time."""
_LOOK_S = 2.0
"""How often restorations are looked for that somebody began and did not end."""


class AlarmQueue(asyncio.Queue[DriftAlarm]):
    """The alarms that wait to be looked into."""

    def raise_alarm(self, alarm: DriftAlarm) -> None:
        """Take an alarm; while too many wait, the next message of that instance raises it again."""
        try:
            self.put_nowait(alarm)
        except asyncio.QueueFull:
            log.warning("too many alarms at once", instance=str(alarm.instance.id))


@dataclass(frozen=True, slots=True)
class Restorer:
    """What this node does about its own instances, one after the other."""

    pool: Pool
    writer: Writer
    hosting: Hosting
    spawning: Spawning
    probing: Probes
    forget_instance: Callable[[InstanceId], None]
    now: Callable[[], datetime]
    alarms: AlarmQueue

    async def run(self, stop: asyncio.Event) -> None:
        """Look into one alarm after the other, until told to stop."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                taking = asyncio.create_task(self.alarms.get())
                await asyncio.wait({stopping, taking}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    await self._look_into(taking.result(), stopping)
                    self.alarms.task_done()
                else:
                    taking.cancel()
                    await self._resume_interrupted()
        finally:
            stopping.cancel()

    async def restore_instance(self, alarm: DriftAlarm) -> Instance:
        """Note the alarm, confirm it, and climb the ladder as far as it takes."""
        here = await instances.load_instance(self.pool, alarm.instance.id)
        await self._keep_note(here, NOTE, alarm.reason, alarm.distance, alarm.threshold)
        verdict = await self.probing.examine_instance(here)
        while verdict.drifted:
            done = await self._load_steps(here.id)
            step = ladder.next_step(done)
            if step is LadderStep.REINITIALISE and step not in done and not await self._is_reminded(here):
                step = LadderStep.REANCHOR  # noted, and interrupted before it was done
            if not await self._note_step(here, step, verdict, goes_on=_was_acted_on(done)):
                log.error("an instance is out of character and is left alone", instance=str(here.id))
                await self._keep_note(
                    here,
                    NOTE,
                    "confirmed, but too many were restored lately: an operator has to look",
                    verdict.distance,
                    verdict.threshold,
                )
                return here
            here = await self._take_step(here, step, _describe_step(step, verdict))
            if step is LadderStep.QUARANTINE:
                return here
            verdict = await self.probing.examine_instance(here)
        return await self._clear_instance(here, verdict)

    async def release_instance(self, instance: InstanceId, by: str, reason: str) -> Instance:
        """Let an instance speak again that was quarantined: an operator looked, and it counts anew."""
        here = await instances.load_instance(self.pool, instance)
        if here.host != self.writer.node:
            raise errors.Conflict(f"{here.host} hosts the instance: ask it")
        if here.status is InstanceStatus.RUNNING and await self._was_released(instance):
            return here  # asked twice
        if here.status is not InstanceStatus.QUARANTINED:
            raise errors.TransitionRefused(f"the instance is {here.status}, not quarantined")
        released = await self._change_status(here, InstanceStatus.RUNNING, f"released by {by}: {reason}")
        self.forget_instance(instance)
        step = RestorationStep(instance, self.now(), RELEASED, reason, by)
        await restorations.keep_step(self.pool, step)
        metrics.count_restoration(RELEASED)
        return released

    async def _was_released(self, instance: InstanceId) -> bool:
        done = await restorations.list_of_instance(self.pool, instance)
        return bool(done) and done[-1].step == RELEASED

    async def _look_into(self, alarm: DriftAlarm, stopping: asyncio.Task[bool]) -> None:
        """Whatever goes wrong is told, and the next message raises the alarm again."""
        work = asyncio.create_task(self.restore_instance(alarm))
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

    async def _note_step(
        self, here: Instance, step: LadderStep, verdict: ProbeVerdict, *, goes_on: bool
    ) -> bool:
        """Note a step before it is taken; whether it may be taken, as it may where another one was."""
        taken = RestorationStep(
            here.id, self.now(), step, _describe_step(step, verdict), self.writer.node,
            verdict.distance, verdict.threshold,
        )  # fmt: skip
        if goes_on:
            await restorations.keep_step(self.pool, taken)
        else:
            alive = [
                each for each in await instances.list_alive(self.pool) if each.character == here.character
            ]
            most, since = ladder.count_touchable(len(alive), 0), taken.at - WINDOW
            if not await restorations.keep_step_within(self.pool, taken, here.character, since, most):
                return False
        metrics.count_restoration(step)
        return True

    async def _take_step(self, here: Instance, step: LadderStep, reason: str) -> Instance:
        log.warning("an instance is brought back to character", instance=str(here.id), step=step)
        match step:
            case LadderStep.QUARANTINE:
                return await self._change_status(here, InstanceStatus.QUARANTINED, reason)
            case LadderStep.REINITIALISE:
                return await self._begin_again(here, reason)
            case _:
                here = await self._change_status(here, InstanceStatus.RESTORING, reason)
                await self._set_reminder(here)
                return here

    async def _set_reminder(self, here: Instance) -> None:
        """Its state and a reminder of the plate stand in every prompt from now on.

        The turns of the instance go on, and may hold fast another state at the same moment.
        """
        for left in reversed(range(TRIES)):
            state, related, conversation, held = await asyncio.gather(
                vectors.load_latest(self.pool, here.conversation),
                vectors.load_relational(self.pool, here.conversation),
                conversations.load_conversation(self.pool, here.conversation),
                anchors.load_anchor(self.pool, here.conversation),
            )
            if held is None:
                return
            measured = MeasuredStates(state.vector if state else None, related.vector if related else None)
            fresh = anchor.refresh_anchor(held, measured, conversation.head_seq + 1, ordered=True)
            try:
                await self.writer.submit(KeepAnchor(here.conversation, fresh, here.epoch))
            except errors.Conflict as other:
                if isinstance(other, errors.StaleHost) or not left:
                    raise
            else:
                return

    async def _is_reminded(self, here: Instance) -> bool:
        held = await anchors.load_anchor(self.pool, here.conversation)
        return held is None or any(state.reminder for state in held.states)

    async def _begin_again(self, here: Instance, reason: str) -> Instance:
        """Another instance takes over the conversation with all its history, and is interviewed.

        Turns that wait or run are the new one's: they come under its epoch in the same transaction.
        """
        ended = await self.writer.submit(ChangeInstance(here, InstanceStatus.TERMINATED, reason))
        self.hosting.drop_instance(ended.conversation, ended.epoch)
        self.forget_instance(ended.id)
        return await self.spawning.spawn_instance(
            await conversations.load_conversation(self.pool, ended.conversation)
        )

    async def _clear_instance(self, here: Instance, verdict: ProbeVerdict) -> Instance:
        await self._keep_note(
            here,
            CLEARED,
            f"its probes are answered as usual{_describe_judgement(verdict)}",
            verdict.distance,
            verdict.threshold,
        )
        self.forget_instance(here.id)
        if here.status is InstanceStatus.RESTORING:
            return await self._change_status(here, InstanceStatus.RUNNING, "in character again")
        return here

    async def _change_status(self, here: Instance, status: InstanceStatus, reason: str) -> Instance:
        changed = await self.writer.submit(ChangeInstance(here, status, reason))
        if self.hosting.find_hosted(changed.conversation) is not None:
            self.hosting.host_instance(changed)
        return changed

    async def _keep_note(
        self,
        here: Instance,
        step: str,
        reason: str,
        distance: float | None,
        threshold: float | None,
    ) -> None:
        await restorations.keep_step(
            self.pool,
            RestorationStep(here.id, self.now(), step, reason, self.writer.node, distance, threshold),
        )
        metrics.count_restoration(step)

    async def _load_steps(self, instance: InstanceId) -> list[LadderStep]:
        """What was done about the conversation's instances since one of them was last in character."""
        done = list[LadderStep]()
        for each in await restorations.list_of_conversation(self.pool, instance):
            if each.step in {CLEARED, RELEASED}:
                done.clear()
            else:
                done.append(LadderStep(each.step))
        return done

    async def _resume_interrupted(self) -> None:
        """Instances that were being restored when this node, or their host before it, stopped."""
        try:
            for each in await instances.list_alive(self.pool, host=self.writer.node):
                hosted = self.hosting.find_hosted(each.conversation)
                if (
                    each.status is InstanceStatus.RESTORING
                    and hosted
                    and hosted.instance.epoch == each.epoch
                ):
                    self.alarms.raise_alarm(DriftAlarm(each, reason="its restoration was interrupted"))
        except errors.CCNError as failed:
            log.warning("no look at interrupted restorations", reason=str(failed))


def _describe_step(step: LadderStep, verdict: ProbeVerdict) -> str:
    style = f"{verdict.distance:.1f} from its probes, {verdict.threshold:.1f} is usual"
    return f"{step}: {style}{_describe_judgement(verdict)}"


def _describe_judgement(verdict: ProbeVerdict) -> str:
    judged = verdict.judged
    return (
        "" if judged is None else f"; by the judge {judged.distance:.1f}, {judged.threshold:.1f} is usual"
    )


def _was_acted_on(done: list[LadderStep]) -> bool:
    """Whether something was already done about it."""
    return any(step is not LadderStep.NOTE for step in done)
