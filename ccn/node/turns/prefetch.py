"""A turn made ready while its message is made durable: its prompt is read and built, its cost put aside.

Nothing of it counts before the message does. If the message gets another place than was foreseen, or none,
what was read is forgotten and what was put aside is given back.

    foresee ──> cost put aside, if it is known how large the last prompt was
           └──> read ──> built for the next place ──> (cost put aside) ──> ask: it was that place
                                                                  └──> forget, or another place: given back
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from ccn import errors
from ccn.core.calls import price, tokens
from ccn.core.calls.call import Call
from ccn.core.calls.price import Size
from ccn.core.ids import ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.core.prompts.prompt import Scene
from ccn.node.spending.paid_model import Payer
from ccn.node.turns.prompts import Prompting
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


class Purses(Protocol):
    """Whoever puts aside what a call can cost."""

    def reserve(self, what: Call | Size, who: Payer) -> Payer:
        """Begin to put it aside, by the call or by how large it will be."""

    def release(self, who: Payer) -> None:
        """Give it back."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What the model is asked, and who pays."""

    call: Call
    payer: Payer


@dataclass(frozen=True, slots=True)
class _Ready:
    seq: int
    epoch: int
    ask: Ask


@dataclass(frozen=True, slots=True)
class _Foreseen:
    task: asyncio.Task[_Ready | None]
    who: Payer
    """With a purse, if something could be put aside at once."""


class Foreseeing:
    """The turns of one node that are about to be begun."""

    def __init__(self, prompts: Prompting, purses: Purses, limit: int = LIMIT) -> None:
        self._prompts, self._purses, self._limit = prompts, purses, limit
        self._foreseen: dict[TurnId, _Foreseen] = {}
        self._sizes = OrderedDict[ConversationId, int]()

    def foresee(self, instance: Instance, turn: TurnId, content: str) -> None:
        """Make ready what `ask` will find."""
        who = self._expected(instance, content)
        task = asyncio.create_task(self._prepared(instance, turn, content, who), name="foresee")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._foreseen[turn] = _Foreseen(task, who)
        asyncio.get_running_loop().call_later(KEPT_S, self.forget, turn)
        while len(self._foreseen) > self._limit:
            self.forget(next(iter(self._foreseen)))

    def forget(self, turn: TurnId) -> None:
        """Give back what was made ready for a turn, unless it was asked for."""
        foreseen = self._foreseen.pop(turn, None)
        if foreseen is not None:
            self._undo(foreseen)

    async def ask(self, instance: Instance, turn: Turn) -> Ask:
        """The whole prompt of a turn, and who pays for it."""
        foreseen = self._foreseen.pop(turn.id, None)
        if foreseen is not None:
            try:
                with contextlib.suppress(errors.CCNError):  # then it is read again, or fails again
                    ready = await foreseen.task
                    if ready is not None and (ready.seq, ready.epoch) == (turn.user_seq, turn.epoch):
                        return ready.ask
            except asyncio.CancelledError:
                self._undo(foreseen)
                raise
            self._undo(foreseen)
        call = await self._prompts.after(instance, turn.user_seq)
        return Ask(call, Payer.of(instance))

    def _expected(self, instance: Instance, content: str) -> Payer:
        """Who pays, with what the turn will cost if it adds a message and a reply to the last prompt."""
        who, last = Payer.of(instance), self._sizes.get(instance.conversation)
        if last is None:
            return who
        reply = self._prompts.limits(instance.model).max_tokens
        expected = last + tokens.estimate(content) + reply + _STATE_TOKENS
        return self._purses.reserve(Size(instance.model, expected, reply), who)

    async def _prepared(self, instance: Instance, turn: TurnId, content: str, who: Payer) -> _Ready | None:
        """None if the anchor has to move: that is written, so it waits until the message counts."""
        read = await self._prompts.read(instance, _NEXT)
        scene = _with(read.scene, Message(instance.conversation, 0, Role.USER, content, _UNSAID, turn))
        call = self._prompts.unmoved(instance, replace(read, scene=scene))
        if call is None:
            return None
        payer = who if who.purse is not None else self._purses.reserve(call, who)
        self._sizes.pop(instance.conversation, None)
        self._sizes[instance.conversation] = price.prompt(call)
        while len(self._sizes) > _KNOWN:
            self._sizes.popitem(last=False)
        return _Ready(scene.this, instance.epoch, Ask(call, payer))

    def _undo(self, foreseen: _Foreseen) -> None:
        task, who = foreseen.task, foreseen.who
        if not task.done():
            task.cancel()
        elif not task.cancelled() and task.exception() is None and (ready := task.result()) is not None:
            who = ready.ask.payer
        if who.purse is not None:
            self._purses.release(who)


def _with(read: Scene, message: Message) -> Scene:
    """With the message that is about to come; it may be there already."""
    known = (each.seq for each in read.said if (each.turn, each.role) == (message.turn, message.role))
    if (this := next(known, None)) is not None:
        return replace(read, this=this)
    this = max((each.seq for each in read.said), default=0) + 1
    return replace(read, this=this, said=(*read.said, replace(message, seq=this)))
