"""Which voter a gateway asks, and what it does when that one does not answer.

    the host of the conversation ──> whoever ranks next for it ──> … ──> NoVoter: try again in a moment

Any node can do anything that a gateway asks for; the host does it without asking another. A question that
did not reach a node goes to the next one. One that may have been answered is asked again only if asking
twice does it once.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import structlog

from ccn import errors, metrics
from ccn.core import rendezvous
from ccn.core.ids import NodeId
from ccn.gateway.accounts.access import ANYBODY, Caller
from ccn.gateway.deeds import values
from ccn.peers.client import PeerClient
from ccn.peers.exchange import GatewayQuestion

T = TypeVar("T")

ANSWER_S = 35.0
"""How long an answer may take; a voter itself gives up a little sooner."""
_ELSEWHERE = (errors.PeerUnavailable, errors.PeerRefused, errors.ShuttingDown)
"""What is wrong with one voter, and not with the question."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VoterQuestion:
    """What is asked, in whose name, and whom first."""

    method: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    caller: Caller = ANYBODY
    first: NodeId | None = None
    """Who can answer without asking another."""
    about: UUID | None = None
    """What it is about: questions about the same go to the same nodes, in the same order."""
    repeats: bool = True
    """Whether asking twice does it once."""
    within_s: float = ANSWER_S
    begins_within_s: float | None = None
    """How long its first value may take, if the rest may take longer."""


class VoterCalls:
    """The voters as a gateway asks them; `listed` are those that it sees."""

    def __init__(self, own: NodeId, peers: PeerClient, listed: Callable[[], Collection[NodeId]]) -> None:
        self._own, self._peers, self._listed = own, peers, listed

    async def ask(self, kind: type[T], question: VoterQuestion) -> T:
        """The answer to a question that has one."""
        async with aclosing(self.stream_values(question)) as told:
            async for value in told:
                return values.read_value(kind, value)
        raise errors.PeerRefused(f"a voter answered nothing to {question.method}")

    async def ask_node(self, node: NodeId, question: VoterQuestion) -> Any:
        """The answer of one node and no other."""
        async with aclosing(self._stream_from_node(node, question)) as told:
            async for value in told:
                return value
        raise errors.PeerRefused(f"{node} answered nothing to {question.method}")

    async def stream_values(self, question: VoterQuestion) -> AsyncGenerator[Any]:
        """The values of an answer, as they come; from one voter, once it has begun to answer."""
        reason = "none is seen"
        for node in self._rank_nodes(question):
            begun = False
            try:
                async with aclosing(self._stream_from_node(node, question)) as told:
                    async for value in told:
                        if not begun:
                            metrics.gateways.count_voter_question(question.method, "answered")
                        begun = True
                        yield value
            except errors.CCNError as failed:
                metrics.gateways.count_voter_question(question.method, type(failed).__name__)
                if begun or not self._asks_next(failed, question):
                    raise
                reason = str(failed)
                log.info("a voter does not answer", node=node, method=question.method, reason=reason)
            else:
                return
        raise errors.NoVoter(f"no voter answers this gateway: {reason}")

    def _asks_next(self, failed: errors.CCNError, question: VoterQuestion) -> bool:
        return isinstance(failed, _ELSEWHERE) or (
            isinstance(failed, errors.OutcomeUnknown) and question.repeats
        )

    def _rank_nodes(self, question: VoterQuestion) -> list[NodeId]:
        listed = self._listed()
        about = question.about or UUID(bytes=secrets.token_bytes(16))  # else one voter has all of it
        ranked = rendezvous.rank_nodes(about, listed)
        if (first := question.first) is not None and first in listed:
            ranked.remove(first)
            ranked.insert(0, first)
        return ranked

    async def _stream_from_node(self, node: NodeId, question: VoterQuestion) -> AsyncGenerator[Any]:
        asked = GatewayQuestion(
            self._own,
            question.method,
            question.caller.shown,
            question.caller.reason,
            values.encode_json(question.body),
        )
        async with aclosing(self._peers.find_peer(node).serve(asked, question.within_s)) as frames:
            if (first := await _await_first(node, frames, question.begins_within_s)) is not None:
                yield values.decode_frame(first)
            async for frame in frames:
                yield values.decode_frame(frame)


async def _await_first(node: NodeId, frames: AsyncGenerator[bytes], within_s: float | None) -> bytes | None:
    try:
        async with asyncio.timeout(within_s):
            return await anext(frames, None)
    except TimeoutError:
        raise errors.OutcomeUnknown(f"{node} does not begin to answer") from None


def make_key() -> str:
    """An idempotency key for a client that sent none."""
    return secrets.token_hex(16)
