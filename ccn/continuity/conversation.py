"""One conversation: what was said, what to say next, and how the character is in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal

from ccn import errors
from ccn.continuity import channel, failure, values
from ccn.continuity.channel import ClusterChannel, NodeChannel
from ccn.continuity.values import Health, Prompt
from ccn.core.calls.call import CallRestart, Delta, Piece, Reply
from ccn.core.ids import ConversationId
from ccn.core.message import Message
from ccn.pb import instances_pb2 as pb


class Conversation:
    """A conversation of the caller's, whichever node answers."""

    def __init__(self, cluster: ClusterChannel, conversation: ConversationId) -> None:
        self.id = conversation
        self._cluster = cluster

    async def prompt(self) -> Prompt:
        """Return what CCN would ask a model now. It ends with the message to answer, if there is one."""
        request = pb.PromptRequest(conversation=str(self.id))
        answer = await self._cluster.ask_once(lambda node: node.continuity.Prompt, request)
        return values.prompt_from_pb(answer)

    async def record(
        self, role: Literal["user", "assistant"], content: str, *, idempotency_key: str = ""
    ) -> Message:
        """Add a message to the record. It is durable when this returns. The same key: the same message.

        Raises Conflict while an instance of CCN speaks here: `terminate` it first.
        """
        request = pb.RecordRequest(
            conversation=str(self.id),
            role=role,
            content=content,
            idempotency_key=idempotency_key or channel.new_idempotency_key(),
        )
        answer = await self._cluster.ask_once(lambda node: node.continuity.Record, request)
        return values.message_from_pb(self.id, answer.message)

    async def history(self, *, before: int = 0, limit: int = 50) -> list[Message]:
        """Return the last messages in order, or the last before a place; fewer if they are very long."""
        request = pb.HistoryRequest(conversation=str(self.id), before=before, limit=limit)
        answer = await self._cluster.ask_once(lambda node: node.instances.History, request)
        return [values.message_from_pb(self.id, message) for message in answer.messages]

    async def health(self) -> Health:
        """Return how the character is in this conversation."""
        request = pb.HealthRequest(conversation=str(self.id))
        answer = await self._cluster.ask_once(lambda node: node.continuity.Health, request)
        return values.health_from_pb(answer)

    async def say(self, content: str, *, idempotency_key: str = "") -> AsyncGenerator[Piece]:
        """Have an instance of CCN answer. Yields pieces as they come, and last the whole reply.

        A restart voids the text so far. When the node dies the stream goes on at another: nothing is lost
        and nothing comes twice. Leaving the stream does not end the turn.
        """
        request = _StreamRequest(str(self.id), content, idempotency_key or channel.new_idempotency_key())
        text = ""
        async with aclosing(self._cluster.read_stream(request.next_call)) as events:
            async for event in events:
                request.last_event = event.id
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
        """Have an instance of CCN answer, and return the text of the whole reply."""
        async with aclosing(self.say(content, idempotency_key=idempotency_key)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Reply):
                    return piece.text
        raise errors.OutcomeUnknown("the stream ended without a reply")

    async def terminate(self, reason: str = "", *, close: bool = False) -> None:
        """End the instance that speaks here. With `close` nothing more is said in this conversation."""
        request = pb.TerminateRequest(conversation=str(self.id), reason=reason, close=close)
        await self._cluster.ask_once(lambda node: node.instances.Terminate, request)


class _StreamRequest:
    """How a stream begins, and how it goes on after the last event that was seen."""

    def __init__(self, conversation: str, content: str, key: str) -> None:
        self.last_event = ""
        self._follow = pb.FollowRequest(conversation=conversation)
        self._converse = pb.ConverseRequest(conversation=conversation, content=content, idempotency_key=key)

    def next_call(self) -> tuple[Callable[[NodeChannel], Any], Any]:
        if not self.last_event:
            return (lambda node: node.instances.Converse), self._converse
        self._follow.after = self.last_event
        return (lambda node: node.instances.Follow), self._follow
