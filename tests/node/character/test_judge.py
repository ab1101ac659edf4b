"""The judge, asked of the stand-in over the real client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client
from ccn.claude.client import ModelClient
from ccn.claude.meter import UsageMeter
from ccn.claude.stand_in import server
from ccn.claude.stand_in.voices import VOICES
from ccn.core.axes import AXES
from ccn.core.character.scoring import judge
from ccn.node.character import judge as character_judge


@pytest_asyncio.fixture
async def model() -> AsyncIterator[ModelClient]:
    async with server.run_stand_in() as here:
        told = settings.ClaudeSettings.model_validate({"base_url": here.url, "api_key": SecretStr("any")})
        async with client.open_client(told) as opened:
            yield opened


async def judged(model: ModelClient, texts: list[str], meters: list[UsageMeter]) -> dict[str, float | None]:
    def meter() -> UsageMeter:
        meters.append(UsageMeter())
        return meters[-1]

    scored = await character_judge.judge_messages(model, "claude-sonnet-5-5", texts, meter)
    return dict(zip(AXES, scored.scores, strict=True))


async def test_a_window_is_judged_by_three_metered_calls(model: ModelClient) -> None:
    meters: list[UsageMeter] = []
    scores = await judged(model, ["The boat leaves at noon.", "Bring a coat."], meters)
    assert list(scores) == list(AXES)
    assert len(meters) == judge.ANSWERS
    assert all(meter.usage.input > 0 for meter in meters)


@pytest.mark.parametrize("axis", ["warmth", "playfulness"])
async def test_opposite_voices_get_opposite_scores(model: ModelClient, axis: str) -> None:
    voice = VOICES[axis]
    above = (await judged(model, [said.format(topic="the sea") for said in voice.high], []))[axis]
    below = (await judged(model, [said.format(topic="the sea") for said in voice.low], []))[axis]
    assert above is not None
    assert below is not None
    assert above > 0.5 > below
