"""Bringing an instance to life: from a conversation to somebody who speaks for its character.

    plate ──> recent history, state ──> registered under a new epoch ──> prompt ──> interview, three tries
                                                                                        ├──> running
                                                                                        └──> failed: why

It is registered before it is interviewed, so that of two nodes that spawn for one conversation one does,
and one that dies on the way is found. Each step is a life of the instance. Questions and answers are no
messages: the registry keeps the verdicts, and nobody keeps the words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import structlog

from ccn import errors, metrics
from ccn.core import interview
from ccn.core.call import Call, Reply
from ccn.core.ids import InstanceId
from ccn.core.interview import Outcome
from ccn.node.conversing import Model
from ccn.node.hosting import Hosting
from ccn.node.paying import Payer
from ccn.node.prompting import Opening, Prompting
from ccn.store import characters
from ccn.store.conversations import Conversation
from ccn.store.instances import Change, Instance, Spawn, Status
from ccn.store.pool import Pool
from ccn.store.writer import Writer

log = structlog.get_logger(__name__)

TRIES = 3


@dataclass(frozen=True, slots=True)
class Spawning:
    """What every spawn needs."""

    pool: Pool
    writer: Writer
    prompts: Prompting
    model: Model
    hosting: Hosting
    new_id: Callable[[], UUID]

    async def spawn(self, here: Conversation) -> Instance:
        """A running instance of the conversation, which lives here; SpawnFailed if it is not itself."""
        began, succeeded = time.perf_counter(), False
        try:
            newest = await characters.plate(self.pool, here.character)
            found = await self.prompts.plate(here.character, newest.version)
            why = "continued" if here.head_seq else "begun"
            instance = InstanceId(self.new_id())
            with self.hosting.coming(instance):
                born = await self.writer.submit(
                    Spawn(instance, here.id, self.prompts.model(found), newest.version, f"spawned: {why}")
                )
                running = await self._examined(born)
                self.hosting.take(running)
            succeeded = True
        finally:
            metrics.spawned(time.perf_counter() - began, succeeded=succeeded)
        await self.hosting.look(here.id)
        return running

    async def _examined(self, born: Instance) -> Instance:
        """Interview it until it passes; whatever stops that ends it, with the reason in its lives."""
        try:
            opening = await self.prompts.opened(born)
            for number in range(1, TRIES + 1):
                outcome = await self._interviewed(born, opening)
                told, validation = _summed(outcome, number), {**outcome.as_json(), "tries": number}
                if outcome.passed:
                    change = Change(born, Status.RUNNING, told, validation=validation)
                    return await self.writer.submit(change)
                log.warning("interview failed", instance=str(born.id), tried=number, verdict=told)
                if number < TRIES:
                    again = Change(born, Status.SPAWNING, told, validation=validation)
                    born = await self.writer.submit(again)
            born = await self.writer.submit(Change(born, Status.FAILED, told, validation=validation))
        except errors.CCNError as failed:
            await self._give_up(born, failed)
            raise
        raise errors.SpawnFailed(
            f"the instance is not the character after {TRIES} tries: {_faults(outcome)}"
        )

    async def _interviewed(self, born: Instance, opening: Opening) -> Outcome:
        """Six answers. The first question is asked alone: it fills the provider's cache for the others."""
        first, *others = [
            self.prompts.question(born, opening, each.asks) for each in opening.interview.questions
        ]
        answers = [await self._answered(first, born)]
        asking = [asyncio.ensure_future(self._answered(each, born)) for each in others]
        try:
            answers += await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return interview.judge(opening.interview, answers)

    async def _answered(self, call: Call, born: Instance) -> str:
        payer = Payer(born.conversation, born.character)
        async with aclosing(self.model.stream(call, payer)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece.text
        return ""

    async def _give_up(self, born: Instance, failed: errors.CCNError) -> None:
        reason = f"not interviewed: {type(failed).__name__}"
        try:
            await self.writer.submit(Change(born, Status.FAILED, reason))
        except errors.CCNError as late:  # its silence will tell
            log.warning("a failed spawn is not recorded", instance=str(born.id), reason=str(late))


def _summed(outcome: Outcome, tried: int) -> str:
    passed = sum(each.passed for each in outcome.verdicts)
    verb = "passed" if outcome.passed else "failed"
    return f"{verb} the interview, try {tried}: {passed} of {len(outcome.verdicts)}"


def _faults(outcome: Outcome) -> str:
    return "; ".join(f"{each.asks!r}: {each.fault}" for each in outcome.verdicts if not each.passed)
