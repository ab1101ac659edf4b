"""What tests of drift share: the stand-in without its HTTP, and what is usual for its character."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from ccn import settings
from ccn.claude import wire
from ccn.claude.stand_in import faults, prompt_reading, replies
from ccn.claude.stand_in.faults import FaultRule, FaultRules
from ccn.claude.stand_in.prompt_reading import ReadPrompt
from ccn.core.calls.call import Call, Delta, Piece, Reply, TokenUsage
from ccn.node.character import scorers
from ccn.node.spending.paid_model import Payer
from ccn.store.character import baselines
from ccn.store.character.baselines import Baseline, BaselineKind
from ccn.store.connection.pool import Pool
from tests.support.node.node_world import ADA, PLATE, Model

SCORER = scorers.load_quantised()
MODEL = settings.ClaudeSettings().model
TOPICS = re.findall(
    r"\w+",
    """
    gardens bicycles thunderstorms mathematics breakfast violins harbours elections compilers grandmothers
    volcanoes chess tomatoes railways dictionaries glaciers carpentry budgets telescopes novels migraines
    weddings beekeeping contracts lighthouses
    """,
)
DRIFTING = FaultRule(match="Zephyr", drift=100, until="you have drifted")
"""Whoever was told of Zephyr drifts, until it is reminded of its plate."""


@dataclass
class StandIn(Model):
    """Says what the stand-in says to the same prompt, and does wrong what its rules say."""

    faults: FaultRules = field(default_factory=FaultRules)

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        request = wire.call_to_params(call)
        whole = prompt_reading.whole_text(request)
        drifted = faults.reply_drifts(self.faults.take_rule(whole), request, whole)
        await asyncio.sleep(0)
        text = replies.write_reply(prompt_reading.read_prompt(request), drifted=drifted)
        yield Delta(text)
        yield Reply(text, "end_turn", TokenUsage(10, 5), call.model)


def ask(draw: np.random.Generator) -> str:
    return f"Tell me more about {TOPICS[draw.integers(len(TOPICS))]}, number {draw.integers(10**6)}."


async def usual(pool: Pool, messages: int = 480) -> None:
    """Keep what is usual for the character, from as many replies about mixed topics."""
    draw = np.random.default_rng(11)
    said = [replies.write_reply(ReadPrompt(PLATE, (("user", ask(draw)),))) for _ in range(messages)]
    scores = await asyncio.to_thread(
        lambda: baselines.vectors_to_samples([SCORER.score(each) for each in said])
    )
    at = datetime.now(UTC)
    await baselines.keep_baseline(
        pool, Baseline(ADA, BaselineKind.MESSAGES, SCORER.version, MODEL, at, 1, 5, scores)
    )
