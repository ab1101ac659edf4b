"""A turn made ready while its message is made durable: its prompt is read and built, its cost put aside.

Nothing of it counts before the message does. If the message gets another place than was foreseen, or none,
what was read is forgotten and what was put aside is given back.

    prepare ──> cost put aside, if it is known how large the last prompt was
           └──> read ──> built for the next place ──> (cost put aside) ──> taken: it was that place
                                                                  └──> discarded, or another: given back
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from ccn import errors
from ccn.core.bounded import Recent
from ccn.core.calls import price, tokens
from ccn.core.calls.call import Call
from ccn.core.calls.price import CallSize
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.core.prompts.prompt import Scene
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.prompts import Prompts
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn

LIMIT = 256
"""Turns that are foreseen at once; the oldest is forgotten."""
KEPT_S = 60.0
"""How long a turn that was foreseen may wait to be begun."""
_KNOWN = 10_000
"""Conversations of which it is known how large their last prompt was."""
_STATE_TOKENS = 500
"""For a state that is shown beside the message."""
_NEXT = 2**52
"""The place of a message that has none yet: after all that were said."""
_UNSAID = datetime.min.replace(tzinfo=UTC)
"""No prompt shows when a message came."""


class Reserver(Protocol):
    """Whoever puts aside what a call can cost."""

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        """Begin to put it aside, by the call or by how large it will be."""

    def release(self, who: Payer) -> None:
        """Give it back."""


@dataclass(frozen=True, slots=True)
class PaidCall:
    """What the model is asked, and who pays."""

    call: Call
    payer: Payer


@dataclass(frozen=True, slots=True)
class _PreparedCall:
    seq: int
    epoch: int
    paid: PaidCall


@dataclass(frozen=True, slots=True)
class _Prefetched:
    task: asyncio.Task[_PreparedCall | None]
    who: Payer
    """With a reservation, if something could be reserved at once."""


class Prefetch:
    """The turns of one node that are about to be begun."""

    def __init__(self, prompts: Prompts, purses: Reserver, limit: int = LIMIT) -> None:
        self._prompts, self._purses, self._limit = prompts, purses, limit
        self._foreseen: dict[TurnId, _Prefetched] = {}
        self._sizes = Recent[ConversationId, int](_KNOWN)

    def prepare_turn(self, instance: Instance, turn: TurnId, content: str) -> None:
        """Begin to prepare the call that `take_call` will want."""
        who = self._reserve_expected(instance, content)
        task = asyncio.create_task(self._prepare_call(instance, turn, content, who), name="foresee")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._foreseen[turn] = _Prefetched(task, who)
        asyncio.get_running_loop().call_later(KEPT_S, self.discard_turn, turn)
        while len(self._foreseen) > self._limit:
            self.discard_turn(next(iter(self._foreseen)))

    def discard_turn(self, turn: TurnId) -> None:
        """Give back what was prepared for a turn, unless `take_call` took it."""
        foreseen = self._foreseen.pop(turn, None)
        if foreseen is not None:
            self._undo_prefetch(foreseen)

    async def take_call(self, instance: Instance, turn: Turn) -> PaidCall:
        """Return the whole prompt of a turn, and who pays for it: as prepared, or built now."""
        foreseen = self._foreseen.pop(turn.id, None)
        if foreseen is not None:
            try:
                with contextlib.suppress(errors.CCNError):  # then it is read again, or fails again
                    ready = await foreseen.task
                    if ready is not None and (ready.seq, ready.epoch) == (turn.user_seq, turn.epoch):
                        return ready.paid
            except asyncio.CancelledError:
                self._undo_prefetch(foreseen)
                raise
            self._undo_prefetch(foreseen)
        call = await self._prompts.build_call(instance, turn.user_seq)
        return PaidCall(call, Payer.of_instance(instance))

    def _reserve_expected(self, instance: Instance, content: str) -> Payer:
        """Reserve what the turn will cost if it adds a message and a reply to the last prompt."""
        who, last = Payer.of_instance(instance), self._sizes.get(instance.conversation)
        if last is None:
            return who
        reply = self._prompts.limit_call(instance.model).max_tokens
        expected = last + tokens.estimate_tokens(content) + reply + _STATE_TOKENS
        return self._purses.reserve(CallSize(instance.model, expected, reply), who)

    async def _prepare_call(
        self, instance: Instance, turn: TurnId, content: str, who: Payer
    ) -> _PreparedCall | None:
        """Prepare a call. Return None if the anchor has to move, which waits for the accepted message."""
        read = await self._prompts.read_material(instance, _NEXT)
        scene = _add_message(
            read.scene, Message(instance.conversation, 0, Role.USER, content, _UNSAID, turn)
        )
        call = self._prompts.build_if_unmoved(instance, replace(read, scene=scene))
        if call is None:
            return None
        payer = who if who.reservation is not None else self._purses.reserve(call, who)
        self._sizes[instance.conversation] = price.estimate_prompt(call)
        return _PreparedCall(scene.this_seq, instance.epoch, PaidCall(call, payer))

    def _undo_prefetch(self, foreseen: _Prefetched) -> None:
        task, who = foreseen.task, foreseen.who
        if not task.done():
            task.cancel()
        elif not task.cancelled() and task.exception() is None and (ready := task.result()) is not None:
            who = ready.paid.payer
        if who.reservation is not None:
            self._purses.release(who)


def _add_message(read: Scene, message: Message) -> Scene:
    """With the message that is about to come; it may be there already."""
    known = (each.seq for each in read.messages if (each.turn, each.role) == (message.turn, message.role))
    if (this := next(known, None)) is not None:
        return replace(read, this_seq=this)
    this = max((each.seq for each in read.messages), default=0) + 1
    return replace(read, this_seq=this, messages=(*read.messages, replace(message, seq=this)))
