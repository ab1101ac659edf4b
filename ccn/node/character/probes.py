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
from ccn.core.calls.call import Call, Reply
from ccn.core.character import confirmation
from ccn.core.character.confirmation import Baseline, Verdict
from ccn.core.character.gaussian import Samples
from ccn.core.ids import CharacterId
from ccn.core.message import Message, Role
from ccn.core.prompts import prompt
from ccn.core.prompts.anchor import Anchor
from ccn.core.prompts.prompt import Scene
from ccn.node.character.scoring import Scorer
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.execution import Model
from ccn.node.turns.prompts import Prompting
from ccn.store.character import baselines
from ccn.store.character.baselines import Kind
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import Instance

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Answers that are waited for together."""
_PLATES_KEPT = 64


class Probing:
    """What a node asks to find out who is out of character."""

    def __init__(
        self,
        pool: Pool,
        *,
        prompts: Prompting,
        model: Model,
        scorer: Scorer,
        now: Callable[[], datetime],
        seed: Callable[[], int],
    ) -> None:
        self._pool, self._prompts, self._model, self._scorer = pool, prompts, model, scorer
        self._now, self._seed = now, seed
        self._known: dict[tuple[CharacterId, str, int], Baseline] = {}

    async def examine(self, instance: Instance) -> Verdict:
        """Put the probes to an instance, as if they came next in its conversation."""
        baseline = await self.baseline(instance)
        opening = await self._prompts.opened(instance)
        asks = [_numbered(each, 1) for each in confirmation.PROBES]
        asked = self._prompts.questions(instance.model, opening, asks)
        return confirmation.judge(baseline, await self._scores(asked, instance))

    async def baseline(self, instance: Instance) -> Baseline:
        """How the character answers the probes when it is well; asked for once, and kept."""
        which = (instance.character, instance.model, instance.plate_version)
        if which not in self._known:
            kept = await baselines.newest(
                self._pool,
                instance.character,
                Kind.PROBES,
                scorer=self._scorer.version,
                model=instance.model,
            )
            if kept is None or kept.plate_version != instance.plate_version:
                kept = await self._asked(instance)
            answers = kept.scores.reshape(len(confirmation.PROBES), -1, len(axes.AXES))
            self._known[which] = await asyncio.to_thread(
                confirmation.learn, answers, axes.DECIDING, np.random.default_rng(kept.seed)
            )
            while len(self._known) > _PLATES_KEPT:
                del self._known[next(iter(self._known))]
        return self._known[which]

    async def charter(self, instance: Instance) -> Samples:
        """The vector that the plate alone leads to: the mean answer, which nobody's drifting moves."""
        await self.baseline(instance)
        kept = await baselines.newest(
            self._pool, instance.character, Kind.PROBES, scorer=self._scorer.version, model=instance.model
        )
        if kept is None:
            raise errors.NotFound("the character has no baseline of probes")
        return np.asarray(np.nanmean(kept.scores, axis=0))

    async def _asked(self, payer: Instance) -> baselines.Baseline:
        """Each question several times, of the plate alone: no history, no state."""
        found = await self._prompts.plate(payer.character, payer.plate_version)
        anchor, limits = Anchor(payer.plate_version), self._prompts.limits(payer.model)

        def bare(asks: str) -> Call:
            said = Message(payer.conversation, 1, Role.USER, asks, self._now())
            return prompt.build(found, anchor, Scene(this=1, said=(said,)), limits)

        times = range(1, confirmation.ANSWERS + 1)
        asked = [bare(_numbered(asks, time)) for asks in confirmation.PROBES for time in times]
        scores = await self._scores(asked, payer)
        learnt = baselines.Baseline(
            payer.character,
            Kind.PROBES,
            self._scorer.version,
            payer.model,
            self._now(),
            payer.plate_version,
            self._seed(),
            scores,
        )
        await baselines.keep(self._pool, learnt)
        log.info(
            "probes asked of the plate", character=payer.character, model=payer.model, answers=len(scores)
        )
        return learnt

    async def _scores(self, calls: list[Call], payer: Instance) -> Samples:
        """One row a call, a few at a time. The first goes alone: it fills the provider's cache for the
        others.
        """
        room = asyncio.Semaphore(AT_ONCE)

        async def one(call: Call) -> Samples:
            async with room:
                answer = await self._answer(call, payer)
            scores = await asyncio.to_thread(self._scorer.score, answer)
            return np.asarray(baselines.samples([scores])[0])

        first = await one(calls[0])
        return np.array([first, *await asyncio.gather(*(one(call) for call in calls[1:]))])

    async def _answer(self, call: Call, payer: Instance) -> str:
        async with aclosing(self._model.stream(call, Payer.of(payer))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece.text
        return ""


def _numbered(asks: str, time: int) -> str:
    return f"(A routine question of this house, number {time}.) {asks}"
