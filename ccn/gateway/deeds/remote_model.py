"""Calls to the model outside any conversation, from a gateway: a voter makes them, which has the key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ccn import errors
from ccn.core.calls.call import Call, CallBegun, CallRestart, CallRetry, Delta, Piece, Reply
from ccn.core.ids import CharacterId
from ccn.gateway.accounts.access import Caller
from ccn.gateway.deeds import values
from ccn.gateway.deeds.voter_calls import VoterCalls, VoterQuestion

CALL_S = 900.0
"""How long a call may take with every try it is due."""
_KINDS: tuple[Callable[..., Piece], ...] = (CallBegun, Delta, CallRestart, CallRetry, Reply)
_PIECES = {kind.__name__: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """`ModelDeeds` that voters do."""

    voters: VoterCalls

    @property
    def trouble(self) -> CallRetry | None:
        """None: a gateway makes no calls."""
        return None

    async def answer_call(
        self, caller: Caller, character: CharacterId, call: Call
    ) -> AsyncGenerator[Piece, None]:
        """Yield what a voter hears from the model; asked once, because each call costs money."""
        body = {"call": call, "character": character}
        asked = VoterQuestion("call", body, caller, repeats=False, within_s=CALL_S)
        async with aclosing(self.voters.stream_values(asked)) as told:
            async for value in told:
                yield _piece_from_json(value)

    async def count_tokens(self, caller: Caller, call: Call) -> int:
        """Count the tokens of the prompt."""
        return await self.voters.ask(int, VoterQuestion("count_tokens", {"call": call}, caller))

    async def await_settlements(self) -> None:
        """A gateway has nothing to settle."""


def _piece_from_json(value: Any) -> Piece:
    ((name, fields),) = value.items() if isinstance(value, dict) and len(value) == 1 else (("", None),)
    kind = _PIECES.get(name)
    if kind is None:
        raise errors.PeerRefused("a voter answered what is no piece of a reply")
    piece: Piece = values.read_value(kind, fields)
    return piece
