"""A stand-in for the Anthropic API, one for all tests of the session, and clients that do not wait."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client
from ccn.claude.client import ModelClient
from ccn.claude.retries import RetryDelays
from ccn.claude.stand_in import server
from ccn.claude.stand_in.server import RunningStandIn
from ccn.core.calls.call import Call, CallBlock, CallMessage
from ccn.core.message import Role

PLATE = "# Mira\nMira is warm and kind to everybody, curious about the sea, and honest. She asks questions."
AT_ONCE = RetryDelays((0.001,) * 4, (0.001,) * 5, (0.001,) * 3)

Asking = Callable[..., Call]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop, so that one stand-in can serve them all."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def standing_in() -> AsyncIterator[RunningStandIn]:
    """The stand-in."""
    async with server.run_stand_in() as here:
        yield here


@pytest.fixture
def api(standing_in: RunningStandIn) -> RunningStandIn:
    """The stand-in, told to do nothing wrong."""
    standing_in.faults.clear()
    return standing_in


@pytest_asyncio.fixture(loop_scope="session")
async def model(api: RunningStandIn) -> AsyncIterator[ModelClient]:
    """A client of the stand-in whose pauses are next to nothing."""
    async with client.open_client(told(api.url), AT_ONCE) as opened:
        yield opened


def told(url: str, **others: object) -> settings.ClaudeSettings:
    return settings.ClaudeSettings.model_validate({"base_url": url, "api_key": SecretStr("any"), **others})


def call(*texts: str, plate: str = PLATE, **others: object) -> Call:
    """Messages in turn, the user's first."""
    roles = (Role.USER, Role.ASSISTANT)
    said = tuple(CallMessage(roles[number % 2], text) for number, text in enumerate(texts))
    given = {"model": "claude-sonnet-5-5", "max_tokens": 1000, **others}
    return Call(system=(CallBlock(plate, mark=True),), messages=said, **given)  # type: ignore[arg-type]


@pytest.fixture
def asking() -> Asking:
    """A call from texts."""
    return call


@pytest.fixture
def settings_for() -> Callable[..., settings.ClaudeSettings]:
    """Settings that lead to a URL."""
    return told
