"""Has the model judge a window of messages: asks as often as a judgement needs, and takes the median.

Separate from scoring, which costs nothing and sees every message: a judge costs tokens, so whoever calls
this has decided that the budget allows it and hands in a meter for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ccn.claude.meter import Meter
from ccn.core.calls.call import Call
from ccn.core.character.scoring import judge
from ccn.core.character.scoring.scorer import Scored


class Model(Protocol):
    """What a judge needs of a client."""

    async def structured(
        self, call: Call, schema: Mapping[str, object], meter: Meter | None = None
    ) -> Mapping[str, Any]:
        """A reply that is an object of this JSON schema."""


async def judged(
    model: Model, name: str, texts: Sequence[str], meters: Callable[[], Meter], answers: int = judge.ANSWERS
) -> Scored:
    """The scores of at most ten messages by one writer."""
    call = judge.question(name, texts)
    async with asyncio.TaskGroup() as asking:
        told = [asking.create_task(model.structured(call, judge.SCHEMA, meters())) for _ in range(answers)]
    return judge.agreed([judge.answer(each.result()) for each in told])
