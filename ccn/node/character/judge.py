"""Has the model judge a window of messages: asks as often as a judgement needs, and takes the median.

Separate from scoring, which costs nothing and sees every message: a judge costs tokens, so whoever calls
this has decided that the budget allows it and hands in a meter for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ccn.claude.meter import UsageMeter
from ccn.core.calls.call import Call
from ccn.core.character.scoring import judge
from ccn.core.character.scoring.scorer import TextScores


class JudgingModel(Protocol):
    """What a judge needs of a client."""

    async def ask_structured(
        self, call: Call, schema: Mapping[str, object], meter: UsageMeter | None = None
    ) -> Mapping[str, Any]:
        """A reply that is an object of this JSON schema."""


async def judge_messages(
    model: JudgingModel,
    name: str,
    texts: Sequence[str],
    meters: Callable[[], UsageMeter],
    answers: int = judge.ANSWERS,
) -> TextScores:
    """The scores of at most ten messages by one writer."""
    call = judge.make_question(name, texts)
    async with asyncio.TaskGroup() as asking:
        told = [
            asking.create_task(model.ask_structured(call, judge.SCHEMA, meters())) for _ in range(answers)
        ]
    return judge.agree_scores([judge.scores_from_answer(each.result()) for each in told])
