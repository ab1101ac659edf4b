"""One conversation: what was said, what to say next, and how the character is in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal

from ccn import errors
from ccn.continuity import failure, reaching, values
from ccn.continuity.reaching import ClusterChannel, NodeChannel
from ccn.continuity.values import Health, Prompt
from ccn.core.calls.call import CallRestart, Delta, Piece, Reply
from ccn.core.ids import ConversationId
from ccn.core.message import Message
from ccn.pb import instances_pb2 as pb


class Conversation:
    """A conversation of the caller's, whichever node answers."""

    def __init__(self, way: ClusterChannel, named: ConversationId) -> None:
        self.id = named
        self._way, self._named = way, str(named)

    async def prompt(self) -> Prompt:
        """What CCN would ask a model now; it ends with the message to answer, if there is one."""
        asked = pb.PromptRequest(conversation=self._named)
        return values.prompt_from_pb(await self._way.ask_once(lambda node: node.continuity.Prompt, asked))

    async def record(
        self, role: Literal["user", "assistant"], content: str, *, idempotency_key: str = ""
    ) -> Message:
        """Add a message to the record; it is durable when this returns. The same key: the same message.

        Refused with Conflict while an instance of CCN speaks here: `terminate` it first.
        """
        asked = pb.RecordRequest(
            conversation=self._named,
            role=role,
            content=content,
            idempotency_key=idempotency_key or reaching.new_idempotency_key(),
        )
        answer = await self._way.ask_once(lambda node: node.continuity.Record, asked)
        return values.message_from_pb(self.id, answer.message)

    async def history(self, *, before: int = 0, limit: int = 50) -> list[Message]:
        """The last messages, or the last before a place, in order; fewer if they are very long."""
        asked = pb.HistoryRequest(conversation=self._named, before=before, limit=limit)
        answer = await self._way.ask_once(lambda node: node.instances.History, asked)
        return [values.message_from_pb(self.id, said) for said in answer.messages]

    async def health(self) -> Health:
        """How the character is here."""
        asked = pb.HealthRequest(conversation=self._named)
        return values.health_from_pb(await self._way.ask_once(lambda node: node.continuity.Health, asked))

    async def say(self, content: str, *, idempotency_key: str = "") -> AsyncGenerator[Piece]:
        """Have an instance of CCN answer: pieces as they come, and last the whole reply.

        A restart voids the text so far. When the node dies the stream goes on at another: nothing is lost
        and nothing comes twice. Leaving the stream does not end the turn.
        """
        asking, text = (
            _StreamRequest(self._named, content, idempotency_key or reaching.new_idempotency_key()),
            "",
        )
        async with aclosing(self._way.read_stream(asking.next_call)) as events:
            async for event in events:
                asking.seen = event.id
                match event.WhichOneof("what"):
                    case "delta":
                        text += event.delta
                        yield Delta(event.delta)
                    case "restart":
                        text = ""
                        yield CallRestart(event.restart)
                    case "done":
                        done = event.done
                        yield Reply(text, done.stop, values.usage_from_pb(done), done.model)
                    case "failed":
                        raise failure.error_from_turn(event.failed.code, event.failed.detail)
                    case "cancelled":
                        raise errors.Conflict("the turn was cancelled")

    async def reply(self, content: str, *, idempotency_key: str = "") -> str:
        """The same for those who do not watch it come."""
        async with aclosing(self.say(content, idempotency_key=idempotency_key)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece.text
        raise errors.OutcomeUnknown("the stream ended without a reply")

    async def terminate(self, reason: str = "", *, close: bool = False) -> None:
        """End the instance that speaks here; with `close` nothing more is said in this conversation."""
        asked = pb.TerminateRequest(conversation=self._named, reason=reason, close=close)
        await self._way.ask_once(lambda node: node.instances.Terminate, asked)


class _StreamRequest:
    """How a stream begins, and how it goes on after the last event that was seen."""

    def __init__(self, conversation: str, content: str, key: str) -> None:
        self.seen = ""
        self._follow = pb.FollowRequest(conversation=conversation)
        self._converse = pb.ConverseRequest(conversation=conversation, content=content, idempotency_key=key)

    def next_call(self) -> tuple[Callable[[NodeChannel], Any], Any]:
        if not self.seen:
            return (lambda node: node.instances.Converse), self._converse
        self._follow.after = self.seen
        return (lambda node: node.instances.Follow), self._follow
