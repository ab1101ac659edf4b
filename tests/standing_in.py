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
from ccn.claude.stand_in.faults import Faults, Rule
from ccn.claude.stand_in.prompt_reading import Prompt
from ccn.core.calls.call import Call, Delta, Piece, Reply, Usage
from ccn.node.character import scorers
from ccn.node.spending.paid_model import Payer
from ccn.store.character import baselines
from ccn.store.character.baselines import Baseline, Kind
from ccn.store.connection.pool import Pool
from tests.living import ADA, PLATE, Model

SCORER = scorers.measure()
MODEL = settings.Claude().model
TOPICS = re.findall(
    r"\w+",
    """
    gardens bicycles thunderstorms mathematics breakfast violins harbours elections compilers grandmothers
    volcanoes chess tomatoes railways dictionaries glaciers carpentry budgets telescopes novels migraines
    weddings beekeeping contracts lighthouses
    """,
)
DRIFTING = Rule(match="Zephyr", drift=100, until="you have drifted")
"""Whoever was told of Zephyr drifts, until it is reminded of its plate."""


@dataclass
class StandIn(Model):
    """Says what the stand-in says to the same prompt, and does wrong what its rules say."""

    faults: Faults = field(default_factory=Faults)

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        request = wire.asked(call)
        whole = prompt_reading.whole(request)
        drifted = faults.drifts(self.faults.take(whole), request, whole)
        await asyncio.sleep(0)
        text = replies.reply(prompt_reading.read(request), drifted=drifted)
        yield Delta(text)
        yield Reply(text, "end_turn", Usage(10, 5), call.model)


def ask(draw: np.random.Generator) -> str:
    return f"Tell me more about {TOPICS[draw.integers(len(TOPICS))]}, number {draw.integers(10**6)}."


async def usual(pool: Pool, messages: int = 480) -> None:
    """Keep what is usual for the character, from as many replies about mixed topics."""
    draw = np.random.default_rng(11)
    said = [replies.reply(Prompt(PLATE, (("user", ask(draw)),))) for _ in range(messages)]
    scores = await asyncio.to_thread(lambda: baselines.samples([SCORER.score(each) for each in said]))
    at = datetime.now(UTC)
    await baselines.keep(pool, Baseline(ADA, Kind.MESSAGES, SCORER.version, MODEL, at, 1, 5, scores))
