"""Bringing an instance back to character: after a confirmation, in the record, and few at a time.

    alarm ──> noted ──> probes ──┬──> cleared: it only talked of something else
                                 └──> re-anchored ──> probes ──> re-initialised, at most thrice

After each step the probes are asked again, so that no step is taken that is not needed. Messages stay as
they are. A step changes what the next prompt shows, or which instance speaks, and it can be taken back.
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
"""How long an instance that was touched counts against the number that may be touched."""
WAITING_LIMIT = 256
TRIES = 5
"""How often setting a reminder is tried while turns of the instance move the anchor at the same time."""
_INTERRUPTED_POLL_S = 2.0
"""How often interrupted restorations are looked for."""


class AlarmQueue(asyncio.Queue[DriftAlarm]):
    """The alarms that wait to be handled."""

    def raise_alarm(self, alarm: DriftAlarm) -> None:
        """Queue an alarm. If too many wait, drop it: the next message of that instance raises it again."""
        try:
            self.put_nowait(alarm)
        except asyncio.QueueFull:
            log.warning("too many alarms at once", instance=str(alarm.instance.id))


@dataclass(frozen=True, slots=True)
class Restorer:
    """Restores the instances of this node, one after the other."""

    pool: Pool
    writer: Writer
    hosting: Hosting
    spawning: Spawning
    probing: Probes
    forget_instance: Callable[[InstanceId], None]
    now: Callable[[], datetime]
    alarms: AlarmQueue

    async def run(self, stop: asyncio.Event) -> None:
        """Handle one alarm after the other, until told to stop."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                taking = asyncio.create_task(self.alarms.get())
                await asyncio.wait(
                    {stopping, taking}, timeout=_INTERRUPTED_POLL_S, return_when=asyncio.FIRST_COMPLETED
                )
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
        instance = await instances.load_instance(self.pool, alarm.instance.id)
        await self._keep_note(instance, NOTE, alarm.reason, alarm.distance, alarm.threshold)
        verdict = await self.probing.examine_instance(instance)
        while verdict.drifted:
            done = await self._load_steps(instance.id)
            step = ladder.next_step(done)
            if (
                step is LadderStep.REINITIALISE
                and step not in done
                and not await self._is_reminded(instance)
            ):
                step = LadderStep.REANCHOR  # it was noted, but interrupted before it was done
            if not await self._note_step(instance, step, verdict, goes_on=_was_acted_on(done)):
                log.error("an instance is out of character and is left alone", instance=str(instance.id))
                await self._keep_note(
                    instance,
                    NOTE,
                    "confirmed, but too many were restored lately: an operator has to look",
                    verdict.distance,
                    verdict.threshold,
                )
                return instance
            instance = await self._take_step(instance, step, _describe_step(step, verdict))
            if step is LadderStep.QUARANTINE:
                return instance
            verdict = await self.probing.examine_instance(instance)
        return await self._clear_instance(instance, verdict)

    async def release_instance(self, instance_id: InstanceId, by: str, reason: str) -> Instance:
        """Let an instance speak again that was quarantined: an operator looked, and it counts anew."""
        instance = await instances.load_instance(self.pool, instance_id)
        if instance.host != self.writer.node:
            raise errors.Conflict(f"{instance.host} hosts the instance: ask it")
        if instance.status is InstanceStatus.RUNNING and await self._was_released(instance_id):
            return instance  # it was released before
        if instance.status is not InstanceStatus.QUARANTINED:
            raise errors.TransitionRefused(f"the instance is {instance.status}, not quarantined")
        released = await self._change_status(
            instance, InstanceStatus.RUNNING, f"released by {by}: {reason}"
        )
        self.forget_instance(instance_id)
        step = RestorationStep(instance_id, self.now(), RELEASED, reason, by)
        await restorations.keep_step(self.pool, step)
        metrics.character.count_restoration(RELEASED)
        return released

    async def _was_released(self, instance: InstanceId) -> bool:
        done = await restorations.list_of_instance(self.pool, instance)
        return bool(done) and done[-1].step == RELEASED

    async def _look_into(self, alarm: DriftAlarm, stopping: asyncio.Task[bool]) -> None:
        """Handle one alarm. An error is logged, and the next message raises the alarm again."""
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
        self, instance: Instance, step: LadderStep, verdict: ProbeVerdict, *, goes_on: bool
    ) -> bool:
        """Note a step before it is taken. Return whether it may be taken; a further step always may."""
        taken = RestorationStep(
            instance.id, self.now(), step, _describe_step(step, verdict), self.writer.node,
            verdict.distance, verdict.threshold,
        )  # fmt: skip
        if goes_on:
            await restorations.keep_step(self.pool, taken)
        else:
            alive = [
                each
                for each in await instances.list_alive(self.pool)
                if each.character == instance.character
            ]
            most, since = ladder.count_touchable(len(alive), 0), taken.at - WINDOW
            if not await restorations.keep_step_within(self.pool, taken, instance.character, since, most):
                return False
        metrics.character.count_restoration(step)
        return True

    async def _take_step(self, instance: Instance, step: LadderStep, reason: str) -> Instance:
        log.warning("an instance is brought back to character", instance=str(instance.id), step=step)
        match step:
            case LadderStep.QUARANTINE:
                return await self._change_status(instance, InstanceStatus.QUARANTINED, reason)
            case LadderStep.REINITIALISE:
                return await self._begin_again(instance, reason)
            case _:
                instance = await self._change_status(instance, InstanceStatus.RESTORING, reason)
                await self._set_reminder(instance)
                return instance

    async def _set_reminder(self, instance: Instance) -> None:
        """Put the state and a reminder of the plate into every prompt from now on.

        The turns of the instance go on, and may move the anchor at the same moment. Then try again.
        """
        for left in reversed(range(TRIES)):
            state, related, conversation, held = await asyncio.gather(
                vectors.load_latest(self.pool, instance.conversation),
                vectors.load_relational(self.pool, instance.conversation),
                conversations.load_conversation(self.pool, instance.conversation),
                anchors.load_anchor(self.pool, instance.conversation),
            )
            if held is None:
                return
            measured = MeasuredStates(state.vector if state else None, related.vector if related else None)
            fresh = anchor.refresh_anchor(held, measured, conversation.head_seq + 1, ordered=True)
            try:
                await self.writer.submit(KeepAnchor(instance.conversation, fresh, instance.epoch))
            except errors.Conflict as other:
                if isinstance(other, errors.StaleHost) or not left:
                    raise
            else:
                return

    async def _is_reminded(self, instance: Instance) -> bool:
        held = await anchors.load_anchor(self.pool, instance.conversation)
        return held is None or any(state.reminder for state in held.states)

    async def _begin_again(self, instance: Instance, reason: str) -> Instance:
        """Spawn another instance that takes over the conversation with all its history.

        Turns that wait or run are the new one's: they come under its epoch in the same transaction.
        """
        ended = await self.writer.submit(ChangeInstance(instance, InstanceStatus.TERMINATED, reason))
        self.hosting.drop_instance(ended.conversation, ended.epoch)
        self.forget_instance(ended.id)
        return await self.spawning.spawn_instance(
            await conversations.load_conversation(self.pool, ended.conversation)
        )

    async def _clear_instance(self, instance: Instance, verdict: ProbeVerdict) -> Instance:
        await self._keep_note(
            instance,
            CLEARED,
            f"its probes are answered as usual{_describe_judgement(verdict)}",
            verdict.distance,
            verdict.threshold,
        )
        self.forget_instance(instance.id)
        if instance.status is InstanceStatus.RESTORING:
            return await self._change_status(instance, InstanceStatus.RUNNING, "in character again")
        return instance

    async def _change_status(self, instance: Instance, status: InstanceStatus, reason: str) -> Instance:
        changed = await self.writer.submit(ChangeInstance(instance, status, reason))
        if self.hosting.find_hosted(changed.conversation) is not None:
            self.hosting.host_instance(changed)
        return changed

    async def _keep_note(
        self,
        instance: Instance,
        step: str,
        reason: str,
        distance: float | None,
        threshold: float | None,
    ) -> None:
        await restorations.keep_step(
            self.pool,
            RestorationStep(instance.id, self.now(), step, reason, self.writer.node, distance, threshold),
        )
        metrics.character.count_restoration(step)

    async def _load_steps(self, instance: InstanceId) -> list[LadderStep]:
        """Load what was done about the conversation's instances since one of them was last in character."""
        done = list[LadderStep]()
        for each in await restorations.list_of_conversation(self.pool, instance):
            if each.step in {CLEARED, RELEASED}:
                done.clear()
            else:
                done.append(LadderStep(each.step))
        return done

    async def _resume_interrupted(self) -> None:
        """Resume restorations that ended in the middle when this node or an earlier host stopped."""
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
            log.warning("could not look for interrupted restorations", reason=str(failed))


def _describe_step(step: LadderStep, verdict: ProbeVerdict) -> str:
    style = f"{verdict.distance:.1f} from its probes, {verdict.threshold:.1f} is usual"
    return f"{step}: {style}{_describe_judgement(verdict)}"


def _describe_judgement(verdict: ProbeVerdict) -> str:
    judged = verdict.judged
    return (
        "" if judged is None else f"; by the judge {judged.distance:.1f}, {judged.threshold:.1f} is usual"
    )


def _was_acted_on(done: list[LadderStep]) -> bool:
    """Return whether anything was done about it after the note."""
    return any(step is not LadderStep.NOTE for step in done)
