"""Asking the probes: of the character as its plate alone makes it, for the baseline, and of a suspect.

Answers are scored and forgotten: they are no messages, and nobody's conversation. A baseline asks each
question five times under the bare plate; every asking carries its number, so that no two are the same
request. Calls are paid for by the conversation they are made for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime

import numpy as np
import structlog

from ccn import errors
from ccn.core import axes
from ccn.core.bounded import Recent
from ccn.core.calls.call import Call, Reply
from ccn.core.character import confirmation
from ccn.core.character.confirmation import ProbeBaseline, ProbeVerdict
from ccn.core.character.gaussian import Samples
from ccn.core.ids import CharacterId
from ccn.core.message import Message, Role
from ccn.core.prompts import prompt
from ccn.core.prompts.anchor import Anchor
from ccn.core.prompts.prompt import Scene
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
"""Answers that are waited for together."""
_PLATES_KEPT = 64


class Probes:
    """What a node asks to find out who is out of character."""

    def __init__(
        self,
        pool: Pool,
        *,
        prompts: Prompts,
        model: SpeakingModel,
        scorer: VectorScorer,
        now: Callable[[], datetime],
        seed: Callable[[], int],
    ) -> None:
        self._pool, self._prompts, self._model, self._scorer = pool, prompts, model, scorer
        self._now, self._seed = now, seed
        self._known = Recent[tuple[CharacterId, str, int], ProbeBaseline](_PLATES_KEPT)

    async def examine_instance(self, instance: Instance) -> ProbeVerdict:
        """Put the probes to an instance, as if they came next in its conversation."""
        baseline = await self.load_baseline(instance)
        opening = await self._prompts.load_opening(instance)
        asks = [_number_question(each, 1) for each in confirmation.PROBES]
        asked = self._prompts.build_questions(instance.model, opening, asks)
        return confirmation.judge_answers(baseline, await self._score_answers(asked, instance))

    async def load_baseline(self, instance: Instance) -> ProbeBaseline:
        """How the character answers the probes when it is well; asked for once, and kept."""
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

    async def load_charter(self, instance: Instance) -> Samples:
        """The vector that the plate alone leads to: the mean answer, which nobody's drifting moves."""
        await self.load_baseline(instance)
        kept = await baselines.load_newest(
            self._pool,
            instance.character,
            BaselineKind.PROBES,
            scorer=self._scorer.version,
            model=instance.model,
        )
        if kept is None:
            raise errors.NotFound("the character has no baseline of probes")
        return np.asarray(np.nanmean(kept.scores, axis=0))

    async def _ask_plate(self, payer: Instance) -> baselines.Baseline:
        """Each question several times, of the plate alone: no history, no state."""
        found = await self._prompts.load_plate(payer.character, payer.plate_version)
        anchor, limits = Anchor(payer.plate_version), self._prompts.limit_call(payer.model)

        def build_call(asks: str) -> Call:
            said = Message(payer.conversation, 1, Role.USER, asks, self._now())
            return prompt.build_call(found, anchor, Scene(this_seq=1, messages=(said,)), limits)

        times = range(1, confirmation.ANSWERS + 1)
        asked = [build_call(_number_question(asks, time)) for asks in confirmation.PROBES for time in times]
        scores = await self._score_answers(asked, payer)
        learnt = baselines.Baseline(
            payer.character,
            BaselineKind.PROBES,
            self._scorer.version,
            payer.model,
            self._now(),
            payer.plate_version,
            self._seed(),
            scores,
        )
        await baselines.keep_baseline(self._pool, learnt)
        log.info(
            "probes asked of the plate", character=payer.character, model=payer.model, answers=len(scores)
        )
        return learnt

    async def _score_answers(self, calls: list[Call], payer: Instance) -> Samples:
        """One row a call, a few at a time. The first goes alone: it fills the provider's cache for the
        others.
        """
        room = asyncio.Semaphore(AT_ONCE)

        async def score_answer(call: Call) -> Samples:
            async with room:
                answer = await self._ask_once(call, payer)
            scores = await asyncio.to_thread(self._scorer.score, answer)
            return np.asarray(baselines.vectors_to_samples([scores])[0])

        first = await score_answer(calls[0])
        return np.array([first, *await asyncio.gather(*(score_answer(call) for call in calls[1:]))])

    async def _ask_once(self, call: Call, payer: Instance) -> str:
        async with aclosing(self._model.stream(call, Payer.of_instance(payer))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece.text
        return ""


def _number_question(asks: str, time: int) -> str:
    return f"(A routine question of this house, number {time}.) {asks}"
