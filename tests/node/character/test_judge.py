"""The judge, asked of the stand-in over the real client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client
from ccn.claude.client import Client
from ccn.claude.meter import Meter
from ccn.claude.stand_in import server
from ccn.claude.stand_in.voices import VOICES
from ccn.core.axes import AXES
from ccn.core.character.scoring import judge
from ccn.node.character import judge as character_judge


@pytest_asyncio.fixture
async def model() -> AsyncIterator[Client]:
    async with server.running() as here:
        told = settings.Claude.model_validate({"base_url": here.url, "api_key": SecretStr("any")})
        async with client.opened(told) as opened:
            yield opened


async def judged(model: Client, texts: list[str], meters: list[Meter]) -> dict[str, float | None]:
    def meter() -> Meter:
        meters.append(Meter())
        return meters[-1]

    scored = await character_judge.judged(model, "claude-sonnet-5-5", texts, meter)
    return dict(zip(AXES, scored.scores, strict=True))


async def test_a_window_is_judged_by_three_metered_calls(model: Client) -> None:
    meters: list[Meter] = []
    scores = await judged(model, ["The boat leaves at noon.", "Bring a coat."], meters)
    assert list(scores) == list(AXES)
    assert len(meters) == judge.ANSWERS
    assert all(meter.usage.input > 0 for meter in meters)


@pytest.mark.parametrize("axis", ["warmth", "playfulness"])
async def test_opposite_voices_get_opposite_scores(model: Client, axis: str) -> None:
    voice = VOICES[axis]
    above = (await judged(model, [said.format(topic="the sea") for said in voice.high], []))[axis]
    below = (await judged(model, [said.format(topic="the sea") for said in voice.low], []))[axis]
    assert above is not None
    assert below is not None
    assert above > 0.5 > below
