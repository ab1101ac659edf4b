"""Reads the whole reply of a call, for tests that do not look at what comes before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ccn.core.calls.call import Call, Piece, Reply
from ccn.node.spending.paid_model import PaidModel, Payer


async def read_reply(stream: AsyncGenerator[Piece, None]) -> Reply:
    """Return the reply with which a stream ends, and close the stream."""
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            if isinstance(piece, Reply):
                return piece
    raise AssertionError("the stream ended without a reply")


async def ask_and_settle(paying: PaidModel, call: Call, payer: Payer) -> Reply:
    """Return the reply of a paid call once the call is settled."""
    reply = await read_reply(paying.stream(call, payer))
    await paying.await_settlements()
    return reply
