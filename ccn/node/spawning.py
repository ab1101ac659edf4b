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
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from ccn import errors, metrics
from ccn.core import interview
from ccn.core.call import Call, Reply
from ccn.core.ids import CharacterId, ConversationId, InstanceId
from ccn.core.interview import Outcome
from ccn.node.conversing import Model
from ccn.node.hosting import Hosting
from ccn.node.paying import Payer
from ccn.node.prompting import Opening, Prompting
from ccn.store import characters
from ccn.store.anchors import Keep
from ccn.store.conversations import Begin, Conversation
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
        with _timed():
            newest = await characters.plate(self.pool, here.character)
            why = "continued" if here.head_seq else "begun"
            instance = InstanceId(self.new_id())
            with self.hosting.coming(instance):
                spawn = await self._wanted(instance, here.id, here.character, newest.version, why)
                born = await self.writer.submit(spawn)
                running = await self._examined(born, self.prompts.opened(born))
                self.hosting.take(running)
        await self.hosting.look(here.id)
        return running

    async def begin(self, begin: Begin) -> tuple[Conversation, Instance]:
        """A new conversation together with its instance, in one transaction: nobody knows of it yet."""
        with _timed():
            first = await self.prompts.first(begin.id, begin.character, begin.owner)
            instance = InstanceId(self.new_id())
            with self.hosting.coming(instance):
                spawn = await self._wanted(instance, begin.id, begin.character, first.plate, "begun")
                here, born, kept = await asyncio.gather(
                    self.writer.submit(replace(begin, plate_version=first.plate)),
                    self.writer.submit(spawn),
                    self.writer.submit(Keep(begin.id, first, epoch=1)),
                )
                running = await self._examined(born, self.prompts.began(born, here, kept))
                self.hosting.take(running)
        return here, running

    async def _wanted(
        self, instance: InstanceId, here: ConversationId, character: CharacterId, version: int, why: str
    ) -> Spawn:
        found = await self.prompts.plate(character, version)
        return Spawn(instance, here, self.prompts.model(found), version, f"spawned: {why}")

    async def _examined(self, born: Instance, opening_it: Coroutine[None, None, Opening]) -> Instance:
        """Interview it until it passes; whatever stops that ends it, with the reason in its lives."""
        paying = set[asyncio.Task[str]]()
        try:
            opening = await opening_it
            for number in range(1, TRIES + 1):
                outcome = await self._interviewed(born, opening, paying)
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
        finally:
            await asyncio.gather(*paying, return_exceptions=True)
        raise errors.SpawnFailed(
            f"the instance is not the character after {TRIES} tries: {_faults(outcome)}"
        )

    async def _interviewed(
        self, born: Instance, opening: Opening, paying: set[asyncio.Task[str]]
    ) -> Outcome:
        """Six answers. The first question is asked alone: it fills the provider's cache for the others."""
        first, *others = [
            self.prompts.question(born, opening, each.asks) for each in opening.interview.questions
        ]
        answers = [await self._answered(first, born, paying)]
        asking = [asyncio.ensure_future(self._answered(each, born, paying)) for each in others]
        try:
            answers += await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return interview.judge(opening.interview, answers)

    async def _answered(self, call: Call, born: Instance, paying: set[asyncio.Task[str]]) -> str:
        """An answer as soon as it is whole; the task that settles its call is left in `paying`."""
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(self._asked(call, born, heard))
        paying.add(asking)
        try:
            await asyncio.wait((heard, asking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not heard.done():
                asking.cancel()
        return heard.result() if heard.done() else await asking

    async def _asked(self, call: Call, born: Instance, heard: asyncio.Future[str]) -> str:
        payer = Payer(born.conversation, born.character)
        async with aclosing(self.model.stream(call, payer)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    heard.set_result(piece.text)
                    return piece.text
        return ""

    async def _give_up(self, born: Instance, failed: errors.CCNError) -> None:
        reason = f"not interviewed: {type(failed).__name__}"
        try:
            await self.writer.submit(Change(born, Status.FAILED, reason))
        except errors.CCNError as late:  # its silence will tell
            log.warning("a failed spawn is not recorded", instance=str(born.id), reason=str(late))


@contextmanager
def _timed() -> Iterator[None]:
    """How long a spawn took, and whether somebody lives now."""
    began, succeeded = time.perf_counter(), False
    try:
        yield
        succeeded = True
    finally:
        metrics.spawned(time.perf_counter() - began, succeeded=succeeded)


def _summed(outcome: Outcome, tried: int) -> str:
    passed = sum(each.passed for each in outcome.verdicts)
    verb = "passed" if outcome.passed else "failed"
    return f"{verb} the interview, try {tried}: {passed} of {len(outcome.verdicts)}"


def _faults(outcome: Outcome) -> str:
    return "; ".join(f"{each.asks!r}: {each.fault}" for each in outcome.verdicts if not each.passed)
