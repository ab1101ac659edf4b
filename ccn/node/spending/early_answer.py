"""Answers of the model that are out before their calls are over.

    stream opened ──> pieces, as they come ──> the reply is out ──> settle ──> stream closed, call settled

Whoever waits for an answer goes on with it at once. Closing the stream and settling the call take time that
nobody waits for: a task of its own does that, after the answer was put to use. The end of the block waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from ccn.core.calls.call import Call, Piece, Reply
from ccn.node.spending.paid_model import Payer


class StreamingModel(Protocol):
    """Whoever answers; a call is settled when its stream is closed."""

    def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Deltas, a restart whenever they begin anew, and last the whole reply."""


async def _ignore_piece(_: Piece) -> None:
    """For a caller to whom only the whole reply matters."""


class EarlyAnswers:
    """Asks the model within a block, at whose end all of its calls are settled."""

    def __init__(self, model: StreamingModel) -> None:
        self._model = model
        self._over = asyncio.Event()
        self._streams = set[asyncio.Task[Reply | None]]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle()
        await asyncio.gather(*self._streams, return_exceptions=True)

    def settle(self) -> None:
        """Close the streams whose replies are out. What happens next sees their calls being settled."""
        self._over.set()

    async def answer(
        self, call: Call, payer: Payer, hear: Callable[[Piece], Awaitable[None]] = _ignore_piece
    ) -> Reply | None:
        """The whole reply as soon as it is there; `hear` is told all that comes before it.

        None if the stream ends without one. Cancelling this cancels the call, unless its reply is out.
        """
        out: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(self._read_stream(call, payer, hear, out))
        self._streams.add(reading)
        try:
            await asyncio.wait((out, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # If a reply came in the same moment, its stream ends by itself as soon as it is settled.
            if not out.done():
                reading.cancel()
        return out.result() if out.done() else await reading

    async def _read_stream(
        self, call: Call, payer: Payer, hear: Callable[[Piece], Awaitable[None]], out: asyncio.Future[Reply]
    ) -> Reply | None:
        async with aclosing(self._model.stream(call, payer)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    # Closed only afterwards: whoever acts on the reply goes first.
                    out.set_result(piece)
                    await self._over.wait()
                    return piece
                await hear(piece)
        return None
