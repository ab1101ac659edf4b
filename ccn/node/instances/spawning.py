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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from ccn import errors, metrics
from ccn.core.calls.call import Reply
from ccn.core.ids import InstanceId
from ccn.core.prompts import interview
from ccn.core.prompts.interview import Interview, Outcome
from ccn.node.instances.hosting import Hosting
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.execution import Model
from ccn.node.turns.prefetch import Ask
from ccn.node.turns.prompts import Opening, Prompting
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.conversations.anchors import Keep
from ccn.store.conversations.births import Birth
from ccn.store.conversations.conversations import Begin, Conversation
from ccn.store.conversations.instances import Change, Instance, Spawn, Status
from ccn.store.writing.quotas import Quota
from ccn.store.writing.writer import Writer

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
    quota: Quota
    """What each user may have at once."""

    async def spawn(self, here: Conversation) -> Instance:
        """A running instance of the conversation, which lives here; SpawnFailed if it is not itself."""
        self.model.check(here.owner)
        with _timed():
            newest = await characters.plate(self.pool, here.character)
            model = self.prompts.model(await self.prompts.plate(here.character, newest.version))
            why = f"spawned: {'continued' if here.head_seq else 'begun'}"
            instance = InstanceId(self.new_id())
            with self.hosting.coming(instance):
                spawn = Spawn(instance, here.id, model, newest.version, why, here.owner, self.quota)
                born = await self.writer.submit(spawn)
                running = await self._examined(born, self._opened(born))
                self.hosting.take(running)
        await self.hosting.look(here.id)
        return running

    async def begin(self, begin: Begin) -> tuple[Conversation, Instance]:
        """A new conversation together with its instance, in one transaction: nobody knows of it yet.

        What its interview can cost is put aside meanwhile; first, if it is not sure that it can be.
        """
        self.model.check(begin.owner)
        with _timed():
            payer = Payer(begin.id, begin.character, begin.owner)
            opening, short = await asyncio.gather(self.prompts.beginning(begin), self.model.is_short(payer))
            model, first = self.prompts.model(opening.plate), opening.anchor
            instance, owner = InstanceId(self.new_id()), begin.owner
            birth = Birth(
                replace(begin, plate_version=first.plate, quota=self.quota),
                Spawn(instance, begin.id, model, first.plate, "spawned: begun", owner, self.quota),
                Keep(begin.id, first, epoch=1),
            )
            paper = self._paper(model, opening, payer)
            with self.hosting.coming(instance):
                try:
                    if short:
                        await self.model.put_aside(each.payer for each in paper.asks)
                    here, born = await self.writer.submit(birth)
                except BaseException:
                    self._release(paper.asks)
                    raise
                running = await self._examined(born, _ready(paper))
                self.hosting.take(running)
        return here, running

    async def _opened(self, born: Instance) -> _Paper:
        opening = await self.prompts.opened(born)
        return self._paper(born.model, opening, Payer.of(born))

    def _paper(self, model: str, opening: Opening, who: Payer) -> _Paper:
        asks = [each.asks for each in opening.interview.questions]
        calls = self.prompts.questions(model, opening, asks)
        return _Paper(opening.interview, tuple(Ask(call, self.model.reserve(call, who)) for call in calls))

    def _release(self, asks: Sequence[Ask]) -> None:
        for each in asks:
            self.model.release(each.payer)

    async def _examined(self, born: Instance, opened: Awaitable[_Paper]) -> Instance:
        """Interview it until it passes; whatever stops that ends it, with the reason in its lives."""
        over, asking = asyncio.Event(), set[asyncio.Task[str]]()
        try:
            paper = await opened
            for number in range(1, TRIES + 1):
                outcome = await self._interviewed(paper, over, asking)
                told, validation = _summed(outcome, number), {**outcome.as_json(), "tries": number}
                if outcome.passed:
                    change = Change(born, Status.RUNNING, told, validation=validation)
                    return await self.writer.submit(change)
                log.warning("interview failed", instance=str(born.id), tried=number, verdict=told)
                if number < TRIES:
                    again = Change(born, Status.SPAWNING, told, validation=validation)
                    born, paper = await self.writer.submit(again), paper.again()
            born = await self.writer.submit(Change(born, Status.FAILED, told, validation=validation))
        except errors.CCNError as failed:
            await self._give_up(born, failed)
            raise
        finally:
            over.set()  # from here on all of its calls are settled, at once
            await asyncio.gather(*asking, return_exceptions=True)
        raise errors.SpawnFailed(
            f"the instance is not the character after {TRIES} tries: {_faults(outcome)}"
        )

    async def _interviewed(
        self, paper: _Paper, over: asyncio.Event, asking: set[asyncio.Task[str]]
    ) -> Outcome:
        """Six answers. The first question is asked alone: it fills the provider's cache for the others."""
        first, *others = paper.asks
        try:
            answers = [await self._answered(first, over, asking)]
        except BaseException:
            self._release(others)
            raise
        waiting = [asyncio.ensure_future(self._answered(each, over, asking)) for each in others]
        try:
            answers += await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return interview.judge(paper.interview, answers)

    async def _answered(self, ask: Ask, over: asyncio.Event, asking: set[asyncio.Task[str]]) -> str:
        """An answer as soon as it is whole; the task that closes its stream is left in `asking`."""
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._asked(ask, heard, over))
        asking.add(task)
        try:
            await asyncio.wait((heard, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not heard.done():
                task.cancel()
        return heard.result() if heard.done() else await task

    async def _asked(self, ask: Ask, heard: asyncio.Future[str], over: asyncio.Event) -> str:
        async with aclosing(self.model.stream(ask.call, ask.payer)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    heard.set_result(piece.text)
                    await over.wait()
                    return piece.text
        return ""

    async def _give_up(self, born: Instance, failed: errors.CCNError) -> None:
        reason = f"not interviewed: {type(failed).__name__}"
        try:
            await self.writer.submit(Change(born, Status.FAILED, reason))
        except errors.CCNError as late:  # its silence will tell
            log.warning("a failed spawn is not recorded", instance=str(born.id), reason=str(late))


@dataclass(frozen=True, slots=True)
class _Paper:
    """The questions of an interview, as they are put to the model, and who pays for them."""

    interview: Interview
    asks: tuple[Ask, ...]

    def again(self) -> _Paper:
        """For another try, for which nothing is put aside yet."""
        return replace(
            self, asks=tuple(Ask(each.call, replace(each.payer, purse=None)) for each in self.asks)
        )


async def _ready(paper: _Paper) -> _Paper:
    return paper


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
