"""Tier 3: has a model judge a window of messages, as often as a judgement needs, and takes the median.

Separate from scoring, which costs nothing and sees every message. A judge costs tokens, so it is asked in
confirmations only, and while the budgets of the day are not short: people come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ccn.core import axes
from ccn.core.axes import Vector
from ccn.core.calls.call import Call
from ccn.core.character.scoring import judge
from ccn.core.character.scoring.scorer import TextScores
from ccn.node.spending.paid_model import Payer


class JudgingModel(Protocol):
    """Who judges, and what that costs."""

    async def ask_structured(
        self, call: Call, schema: Mapping[str, object], who: Payer
    ) -> Mapping[str, Any]:
        """Return a reply that is an object of this JSON schema."""

    async def is_short(self, who: Payer) -> bool:
        """Return whether the budgets of the day may not cover much more."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that judges, by its name."""

    model: JudgingModel
    name: str

    @property
    def version(self) -> str:
        """Return the name for judgements. Those of another model are not compared with these."""
        return judge.version_of(self.name)

    async def is_affordable(self, payer: Payer) -> bool:
        """Return whether a judgement leaves enough of the day's budgets for conversations."""
        return not await self.model.is_short(payer)

    async def judge_messages(self, texts: Sequence[str], payer: Payer) -> Vector:
        """Score at most ten messages by one writer. An axis is None if most answers could not see it."""
        call, answers = judge.make_question(self.name, texts), list[TextScores]()
        for _ in range(judge.ANSWERS):  # one after the other: the first fills the provider's cache
            answer = await self.model.ask_structured(call, judge.SCHEMA, payer)
            answers.append(judge.scores_from_answer(answer))
        return axes.quantise_scores(judge.agree_scores(answers).scores)
