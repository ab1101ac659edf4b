"""Answers of the model that are returned before their calls are over.

    stream opened ──> pieces, as they come ──> the reply is out ──> settle ──> stream closed, call settled

A caller gets the reply at once. Closing the stream and settling the call take time, so a task of its own
does that after the caller has used the reply. Only the end of the `async with` block waits for these tasks.
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
    """The model. A call is settled when its stream is closed."""

    def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Yield deltas, a restart whenever they begin again, and last the whole reply."""


async def _ignore_piece(_: Piece) -> None:
    """Ignore what comes before the reply, for callers that only need the whole reply."""


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
        """Begin to close the streams whose replies are out, which settles their calls."""
        self._over.set()

    async def answer(
        self, call: Call, payer: Payer, hear: Callable[[Piece], Awaitable[None]] = _ignore_piece
    ) -> Reply | None:
        """Return the whole reply as soon as it is there, or None if the stream ends without one.

        `hear` gets every piece that comes before the reply. Cancelling this cancels the call, unless its
        reply is out.
        """
        out: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(self._read_stream(call, payer, hear, out))
        self._streams.add(reading)
        try:
            await asyncio.wait((out, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # If a reply came at the same moment, its stream ends by itself as soon as it is settled.
            if not out.done():
                reading.cancel()
        return out.result() if out.done() else await reading

    async def _read_stream(
        self, call: Call, payer: Payer, hear: Callable[[Piece], Awaitable[None]], out: asyncio.Future[Reply]
    ) -> Reply | None:
        async with aclosing(self._model.stream(call, payer)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    # Close the stream only afterwards, so that the caller acts on the reply first.
                    out.set_result(piece)
                    await self._over.wait()
                    return piece
                await hear(piece)
        return None
