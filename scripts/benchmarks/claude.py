"""A streamed reply through our client, beside the official SDK alone, from a stand-in of its own process.

What is added to a chunk is the difference of the medians; a call is everything from asking to the end.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import anthropic
from pydantic import SecretStr

from ccn import settings
from ccn.claude import client, wire
from ccn.core.calls.call import Call, CallBlock, CallMessage, Delta
from ccn.core.message import Role
from scripts.benchmarks import harness, serving
from scripts.benchmarks.harness import Figure

CALLS = 60
_CALL = Call(
    "claude-sonnet-5-5",
    (CallBlock("# Mira\nMira is warm, kind, curious and honest. " * 40, mark=True),),
    (CallMessage(Role.USER, ""),),
    2_000,
)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds for a whole call, and for each chunk of it after the first."""

    call: float
    chunk: float


Stream = Callable[[Call], AsyncIterator[bool]]
"""Whether each thing that comes is a chunk."""


async def run(rounds: int) -> harness.Report:
    """The same calls either way, in turn."""
    async with serving.stand_in() as url:
        told = settings.ClaudeSettings(base_url=url, api_key=SecretStr("any"))
        async with (
            client.open_client(told) as ours,
            anthropic.AsyncAnthropic(api_key="any", base_url=url, max_retries=0) as sdk,
        ):

            async def by_client(call: Call) -> AsyncIterator[bool]:
                async for piece in ours.stream(call):
                    yield isinstance(piece, Delta)

            async def by_sdk(call: Call) -> AsyncIterator[bool]:
                stream = await sdk.messages.create(**wire.call_to_params(call), stream=True)
                async for event in stream:
                    yield event.type == "content_block_delta"

            contenders = {
                f"{what} {who}": _contender(stream, what)
                for what in ("call", "chunk")
                for who, stream in (("ours", by_client), ("sdk", by_sdk))
            }
            got = await harness.measure(rounds, contenders)
    ours_ms, sdk_ms = got.of["chunk ours"], got.of["chunk sdk"]
    return harness.Report(
        [
            Figure("a streamed chunk : SDK alone", "ms", ours_ms, sdk_ms, better="less"),
            Figure("added to a chunk, p50", "ms", ours_ms - sdk_ms, goal=0.15, better="less"),
            Figure(
                "a whole call : SDK alone", "ms", got.of["call ours"], got.of["call sdk"], better="less"
            ),
        ],
        [got],
    )


def _contender(stream: Stream, what: str) -> Callable[[], Awaitable[float]]:
    async def once() -> float:
        took = [await _took(stream, number) for number in range(CALLS)]
        return 1000 * harness.percentile([getattr(each, what) for each in took], 50)

    return once


async def _took(stream: Stream, number: int) -> Took:
    call = replace(_CALL, messages=(CallMessage(Role.USER, f"Tell me about lighthouse {number}."),))
    began, first, chunks = time.perf_counter(), 0.0, 0
    async for is_chunk in stream(call):
        chunks += is_chunk
        if chunks == 1 and is_chunk:
            first = time.perf_counter()
    ended = time.perf_counter()
    return Took(ended - began, (ended - first) / (chunks - 1))
