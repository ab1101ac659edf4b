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
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from ccn import errors, metrics
from ccn.core.ids import InstanceId
from ccn.core.prompts import interview
from ccn.core.prompts.interview import Interview, InterviewOutcome
from ccn.node.instances.hosting import Hosting
from ccn.node.spending.early_answer import EarlyAnswers
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.execution import SpeakingModel
from ccn.node.turns.prefetch import PaidCall
from ccn.node.turns.prompts import Opening, Prompts
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.births import Birth
from ccn.store.conversations.conversations import BeginConversation, StoredConversation
from ccn.store.conversations.instances import ChangeInstance, Instance, InstanceStatus, SpawnInstance
from ccn.store.writing.quotas import Quota
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

TRIES = 3


@dataclass(frozen=True, slots=True)
class Spawning:
    """What every spawn needs."""

    pool: Pool
    writer: Writer
    prompts: Prompts
    model: SpeakingModel
    hosting: Hosting
    new_id: Callable[[], UUID]
    quota: Quota
    """What each user may have at once."""

    async def spawn_instance(self, here: StoredConversation) -> Instance:
        """Spawn a running instance of the conversation here. Raise SpawnFailed if its interview fails."""
        self.model.check_allowance(here.owner)
        with _time_spawn():
            newest = await characters.load_plate(self.pool, here.character)
            model = self.prompts.choose_model(await self.prompts.load_plate(here.character, newest.version))
            why = f"spawned: {'continued' if here.head_seq else 'begun'}"
            instance = InstanceId(self.new_id())
            with self.hosting.announce_spawn(instance):
                spawn = SpawnInstance(instance, here.id, model, newest.version, why, here.owner, self.quota)
                born = await self.writer.submit(spawn)
                running = await self._interview_until_passed(born, self._prepare_interview(born))
                self.hosting.host_instance(running)
        await self.hosting.enqueue_unfinished(here.id)
        return running

    async def begin_conversation(self, begin: BeginConversation) -> tuple[StoredConversation, Instance]:
        """A new conversation together with its instance, in one transaction: nobody knows of it yet.

        What its interview can cost is put aside meanwhile; first, if it is not sure that it can be.
        """
        self.model.check_allowance(begin.owner)
        with _time_spawn():
            payer = Payer(begin.id, begin.character, begin.owner)
            opening, short = await asyncio.gather(
                self.prompts.prepare_opening(begin), self.model.is_short(payer)
            )
            model, first = self.prompts.choose_model(opening.plate), opening.anchor
            instance, owner = InstanceId(self.new_id()), begin.owner
            birth = Birth(
                replace(begin, plate_version=first.plate, quota=self.quota),
                SpawnInstance(instance, begin.id, model, first.plate, "spawned: begun", owner, self.quota),
                KeepAnchor(begin.id, first, epoch=1),
            )
            paper = self._reserve_interview(model, opening, payer)
            with self.hosting.announce_spawn(instance):
                try:
                    if short:
                        await self.model.await_reservations(each.payer for each in paper.calls)
                    here, born = await self.writer.submit(birth)
                except BaseException:
                    self._release_calls(paper.calls)
                    raise
                running = await self._interview_until_passed(born, _give_interview(paper))
                self.hosting.host_instance(running)
        return here, running

    async def _prepare_interview(self, born: Instance) -> _PaidInterview:
        opening = await self.prompts.load_opening(born)
        return self._reserve_interview(born.model, opening, Payer.of_instance(born))

    def _reserve_interview(self, model: str, opening: Opening, who: Payer) -> _PaidInterview:
        asks = [each.asks for each in opening.interview.questions]
        calls = self.prompts.build_questions(model, opening, asks)
        return _PaidInterview(
            opening.interview, tuple(PaidCall(call, self.model.reserve(call, who)) for call in calls)
        )

    def _release_calls(self, asks: Sequence[PaidCall]) -> None:
        for each in asks:
            self.model.release(each.payer)

    async def _interview_until_passed(self, born: Instance, opened: Awaitable[_PaidInterview]) -> Instance:
        """Interview it until it passes; whatever stops that ends it, with the reason in its lives."""
        async with EarlyAnswers(self.model) as answers:  # at its end all calls are settled, at once
            try:
                paper = await opened
                for number in range(1, TRIES + 1):
                    outcome = await self._ask_all(paper, answers)
                    verdict = _sum_up_verdicts(outcome, number)
                    validation = {**outcome.to_json(), "tries": number}
                    status = _choose_status(outcome, number)
                    change = ChangeInstance(born, status, verdict, validation=validation)
                    if outcome.passed:
                        return await self.writer.submit(change)
                    log.warning("interview failed", instance=str(born.id), tried=number, verdict=verdict)
                    born = await self.writer.submit(change)
                    paper = paper.without_reservations()
            except errors.CCNError as failed:
                await self._give_up(born, failed)
                raise
        raise errors.SpawnFailed(
            f"the instance is not the character after {TRIES} tries: {_list_faults(outcome)}"
        )

    async def _ask_all(self, paper: _PaidInterview, answers: EarlyAnswers) -> InterviewOutcome:
        """Six answers. The first question is asked alone: it fills the provider's cache for the others."""
        first, *others = paper.calls
        try:
            texts = [await _ask_one(first, answers)]
        except BaseException:
            self._release_calls(others)
            raise
        asking = [asyncio.ensure_future(_ask_one(each, answers)) for each in others]
        try:
            texts += await asyncio.gather(*asking)
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        return interview.judge_interview(paper.interview, texts)

    async def _give_up(self, born: Instance, failed: errors.CCNError) -> None:
        reason = f"not interviewed: {type(failed).__name__}"
        try:
            await self.writer.submit(ChangeInstance(born, InstanceStatus.FAILED, reason))
        except errors.CCNError as late:  # its silence will tell
            log.warning("a failed spawn is not recorded", instance=str(born.id), reason=str(late))


@dataclass(frozen=True, slots=True)
class _PaidInterview:
    """The questions of an interview, as they are put to the model, and who pays for them."""

    interview: Interview
    calls: tuple[PaidCall, ...]

    def without_reservations(self) -> _PaidInterview:
        """Return the same for another try, for which nothing is reserved yet."""
        return replace(
            self,
            calls=tuple(PaidCall(each.call, replace(each.payer, reservation=None)) for each in self.calls),
        )


async def _ask_one(asked: PaidCall, answers: EarlyAnswers) -> str:
    reply = await answers.answer(asked.call, asked.payer)
    return "" if reply is None else reply.text


async def _give_interview(paper: _PaidInterview) -> _PaidInterview:
    return paper


@contextmanager
def _time_spawn() -> Iterator[None]:
    """Measure how long a spawn took, and whether an instance runs now."""
    began, succeeded = time.perf_counter(), False
    try:
        yield
        succeeded = True
    finally:
        metrics.instances.observe_spawn(time.perf_counter() - began, succeeded=succeeded)


def _choose_status(outcome: InterviewOutcome, tried: int) -> InstanceStatus:
    """Choose the status of the instance after this try."""
    if outcome.passed:
        return InstanceStatus.RUNNING
    return InstanceStatus.SPAWNING if tried < TRIES else InstanceStatus.FAILED


def _sum_up_verdicts(outcome: InterviewOutcome, tried: int) -> str:
    passed = sum(each.passed for each in outcome.verdicts)
    verb = "passed" if outcome.passed else "failed"
    return f"{verb} the interview, try {tried}: {passed} of {len(outcome.verdicts)}"


def _list_faults(outcome: InterviewOutcome) -> str:
    return "; ".join(f"{each.asks!r}: {each.fault}" for each in outcome.verdicts if not each.passed)
