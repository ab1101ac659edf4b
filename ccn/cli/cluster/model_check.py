"""Whether the model that somebody set for `ccn up` answers: asked once, while the cluster starts.

A mistyped key, model or address shows at the start, not in the first conversation. Counting tokens is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ccn import errors, settings
from ccn.core.calls.call import Call, CallMessage
from ccn.core.message import Role

_WITHIN_S = 10.0


@asynccontextmanager
async def check_model_beside(
    claude: settings.ClaudeSettings, say: Callable[[str], None]
) -> AsyncIterator[None]:
    """Ask the model while the block runs, and say what came of it."""
    task = asyncio.create_task(_say_outcome(claude, say), name="trying the model")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def check_model(claude: settings.ClaudeSettings) -> str:
    """Ask once, and return one sentence on what came of it."""
    from ccn.claude import client, retries  # noqa: PLC0415 - half of all imports, for a stand-in in vain

    once = retries.RetryDelays((), (), ())
    call = Call(claude.model, (), (CallMessage(Role.USER, "Hello."),), 1)
    try:
        async with asyncio.timeout(_WITHIN_S), client.open_client(claude, once) as opened:
            await opened.count_tokens(call)
    except TimeoutError:
        return f"the model does not answer: nothing came within {_WITHIN_S:.0f} s from {claude.base_url}"
    except errors.CCNError as failed:
        return f"the model does not answer: {failed}"
    return f"talking to {claude.model} at {claude.base_url}, which answers"


async def _say_outcome(claude: settings.ClaudeSettings, say: Callable[[str], None]) -> None:
    say(await check_model(claude))
