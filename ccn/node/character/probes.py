"""Asking the probes: of the character under its plate alone, for a baseline, and of a suspected instance.

Answers are scored and not stored, because they are no messages of a conversation. A baseline asks each
question five times under the plate alone. Each question carries its number, so that no two requests are the
same. The conversation for which a call is made pays for it. If a judge is set, it scores the same answers
on the axes that no scorer of texts can see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime

import numpy as np
import structlog

from ccn import errors
from ccn.core import axes
from ccn.core.bounded import Recent
from ccn.core.calls.call import Call, Reply
from ccn.core.character import confirmation, judgement
from ccn.core.character.confirmation import ProbeBaseline, ProbeVerdict
from ccn.core.character.gaussian import Samples
from ccn.core.character.judgement import JudgeVerdict
from ccn.core.ids import CharacterId
from ccn.core.message import Message, Role
from ccn.core.prompts import prompt
from ccn.core.prompts.anchor import Anchor
from ccn.core.prompts.prompt import Scene
from ccn.node.character.judge import Judge
from ccn.node.character.scoring import VectorScorer
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.execution import SpeakingModel
from ccn.node.turns.prompts import Prompts
from ccn.store.character import baselines
from ccn.store.character.baselines import BaselineKind
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import Instance

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Most probes that are asked at the same time."""
_PLATES_KEPT = 64


class Probes:
    """Asks probes, to find out whether an instance is out of character."""

    def __init__(
        self,
        pool: Pool,
        *,
        prompts: Prompts,
        model: SpeakingModel,
        scorer: VectorScorer,
        now: Callable[[], datetime],
        seed: Callable[[], int],
        judge: Judge | None = None,
    ) -> None:
        self._pool, self._prompts, self._model, self._scorer = pool, prompts, model, scorer
        self._now, self._seed, self._judge = now, seed, judge
        self._known = Recent[tuple[CharacterId, str, int], ProbeBaseline](_PLATES_KEPT)

    async def examine_instance(self, instance: Instance) -> ProbeVerdict:
        """Put the probes to an instance, as if they came next in its conversation."""
        baseline = await self.load_baseline(instance)
        opening = await self._prompts.load_opening(instance)
        asks = [_number_question(each, 1) for each in confirmation.PROBES]
        asked = self._prompts.build_questions(instance.model, opening, asks)
        answers = await self._ask_all(asked, instance)
        verdict = confirmation.judge_answers(baseline, await self._score_answers(answers))
        return replace(verdict, judged=await self._judge_or_pass(answers, instance))

    async def load_baseline(self, instance: Instance) -> ProbeBaseline:
        """Load how the character answers the probes when it is well; ask once and store the answers."""
        which = (instance.character, instance.model, instance.plate_version)
        if which not in self._known:
            kept = await baselines.load_newest(
                self._pool,
                instance.character,
                BaselineKind.PROBES,
                scorer=self._scorer.version,
                model=instance.model,
            )
            if kept is None or kept.plate_version != instance.plate_version:
                kept = await self._ask_plate(instance)
            answers = kept.scores.reshape(len(confirmation.PROBES), -1, len(axes.AXES))
            self._known[which] = await asyncio.to_thread(
                confirmation.learn_baseline, answers, axes.DECIDING, np.random.default_rng(kept.seed)
            )
        return self._known[which]

    async def _judge_or_pass(self, answers: Sequence[str], instance: Instance) -> JudgeVerdict | None:
        """Add the judge's verdict if there is a judge, the budget allows it, and it answers.

        A confirmation never fails for its judge: without one it is what the scorer alone makes it.
        """
        if self._judge is None:
            return None
        try:
            if not await self._judge.is_affordable(Payer.of_instance(instance)):
                raise errors.BudgetSpent("what is left of the day's budgets is for those who talk")
            kept = await self._load_judgements(self._judge, instance)
            vector = await self._judge.judge_messages(answers, Payer.of_instance(instance))
        except errors.CCNError as failed:
            log.warning("confirmed without the judge", instance=str(instance.id), reason=str(failed))
            return None
        suspect = baselines.vectors_to_samples([vector])[0]
        return judgement.compare_judgements(kept.scores, suspect, np.random.default_rng(kept.seed))

    async def _load_judgements(self, judge: Judge, instance: Instance) -> baselines.Baseline:
        """Load how the judge scored the character when it was well. If it never did, ask the plate again.

        Answers are not stored, so those of the scorer's baseline cannot be judged afterwards.
        """
        kept = await baselines.load_newest(
            self._pool,
            instance.character,
            BaselineKind.PROBES,
            scorer=judge.version,
            model=instance.model,
        )
        if kept is not None and kept.plate_version == instance.plate_version:
            return kept
        payer, count = Payer.of_instance(instance), confirmation.ANSWERS
        answers = await self._ask_all(await self._build_plate_calls(instance), instance)
        vectors = [await judge.judge_messages(answers[nth::count], payer) for nth in range(count)]
        return await self._keep_baseline(instance, judge.version, baselines.vectors_to_samples(vectors))

    async def _ask_plate(self, payer: Instance) -> baselines.Baseline:
        answers = await self._ask_all(await self._build_plate_calls(payer), payer)
        return await self._keep_baseline(payer, self._scorer.version, await self._score_answers(answers))

    async def _build_plate_calls(self, payer: Instance) -> list[Call]:
        """Ask each question several times, of the plate alone: no history, no state."""
        plate = await self._prompts.load_plate(payer.character, payer.plate_version)
        anchor, limits = Anchor(payer.plate_version), self._prompts.limit_call(payer.model)

        def build_call(asks: str) -> Call:
            said = Message(payer.conversation, 1, Role.USER, asks, self._now())
            return prompt.build_call(plate, anchor, Scene(this_seq=1, messages=(said,)), limits)

        times = range(1, confirmation.ANSWERS + 1)
        return [build_call(_number_question(asks, time)) for asks in confirmation.PROBES for time in times]

    async def _keep_baseline(self, payer: Instance, scorer: str, scores: Samples) -> baselines.Baseline:
        learnt = baselines.Baseline(
            payer.character,
            BaselineKind.PROBES,
            scorer,
            payer.model,
            self._now(),
            payer.plate_version,
            self._seed(),
            scores,
        )
        await baselines.keep_baseline(self._pool, learnt)
        log.info(
            "probes asked of the plate",
            character=payer.character,
            model=payer.model,
            scorer=scorer,
            answers=len(confirmation.PROBES) * confirmation.ANSWERS,
        )
        return learnt

    async def _ask_all(self, calls: Sequence[Call], payer: Instance) -> list[str]:
        """Ask a few at a time. The first goes alone: it fills the provider's cache for the others."""
        room = asyncio.Semaphore(AT_ONCE)

        async def ask_in_turn(call: Call) -> str:
            async with room:
                return await self._ask_once(call, payer)

        first = await ask_in_turn(calls[0])
        return [first, *await asyncio.gather(*map(ask_in_turn, calls[1:]))]

    async def _score_answers(self, answers: Sequence[str]) -> Samples:
        """Score the answers in a thread, one row for each."""
        vectors = [await asyncio.to_thread(self._scorer.score, answer) for answer in answers]
        return baselines.vectors_to_samples(vectors)

    async def _ask_once(self, call: Call, payer: Instance) -> str:
        async with aclosing(self._model.stream(call, Payer.of_instance(payer))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece.text
        return ""


def _number_question(asks: str, time: int) -> str:
    return f"(A routine question of this house, number {time}.) {asks}"
