"""Hold a conversation with whichever node answers, and keep it through the death of any node.

Every request can be repeated: a message carries an idempotency key, and a stream is resumed after its last
event. So a node that dies, stops or is busy costs a moment and no words. Waiting is shown to the person.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ccn import errors
from ccn.cli.chat import http_stream
from ccn.cli.chat.http_stream import ConnectionBroken, HttpAnswer, HttpRequest
from ccn.core.identity import address

PATIENCE_S = 60.0
"""A chat is given up after so long without any answer; an adoption takes a third of it at most."""
_PAUSES_S = (0.1, 0.2, 0.5, 1.0)
_LAST_EVENTS = frozenset({"done", "error", "cancelled"})
_TEMPORARY = (
    errors.DatabaseUnavailable,
    errors.DatabaseFull,
    errors.OutcomeUnknown,
    errors.PeerUnavailable,
    errors.ShuttingDown,
    errors.StaleHost,
    errors.TooManyRequests,
)
_FINAL = (errors.BudgetSpent, errors.Overloaded, errors.ModelUnavailable)


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """One piece of a turn."""

    id: str
    name: str
    data: dict[str, Any]


class ChatSession:
    """One conversation; `id` is empty until it has begun."""

    def __init__(
        self,
        nodes: Sequence[str],
        key: str,
        notice: Callable[[str], None],
        reason: str = "",
        ca: Path | None = None,
    ) -> None:
        self.id = ""
        self._ca = ca
        self._nodes, self._key, self._notice = list(dict.fromkeys(nodes)), key, notice
        self._reason_header = {"X-CCN-Reason": reason} if reason else {}

    async def learn_nodes(self) -> None:
        """Ask the first node that answers for the others; `Unavailable` if none answers.

        Only nodes that may receive the key are remembered.
        """
        for _ in [*self._nodes]:
            try:
                status = await self._ask_once(HttpRequest("GET", "/status"))
                break
            except ConnectionBroken as failed:
                broken = failed
                self._try_next_node()
            except errors.CCNError:
                return  # this node answers, and knows no others
        else:
            raise self._no_node_answers(broken)
        addresses = [node["address"] for node in status["nodes"] if node["here"]]
        allowed = [each for each in addresses if address.may_follow(self._nodes[0], each)]
        self._nodes = list(dict.fromkeys([*self._nodes, *allowed]))

    async def list_characters(self) -> list[dict[str, Any]]:
        """Load the characters that one can talk with."""
        found: list[dict[str, Any]] = (await self.ask("GET", "/api/v1/characters"))["characters"]
        return found

    async def begin_conversation(self, character: str) -> None:
        """Begin a conversation and remember its id."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        started = await self.ask("POST", "/api/v1/conversation/start", {"character": character}, headers)
        self.id = started["session_id"]

    async def load_state(self) -> dict[str, Any]:
        """Load the conversation, with its unfinished turns."""
        found: dict[str, Any] = await self.ask("GET", self._conversation_path())
        return found

    async def load_history(self, limit: int) -> list[dict[str, Any]]:
        """Load the last messages, oldest first."""
        page = await self.ask("GET", self._conversation_path(f"/messages?limit={limit}"))
        found: list[dict[str, Any]] = page["messages"]
        return found

    async def load_glance(self) -> dict[str, Any]:
        """Load what the status line shows."""
        found: dict[str, Any] = await self.ask("GET", self._conversation_path("/glance"))
        return found

    async def load_prompt(self) -> dict[str, Any]:
        """Load what was sent to the model in the last turn."""
        found: dict[str, Any] = await self.ask("GET", self._conversation_path("/prompt"))
        return found

    async def cancel_turn(self, turn: str) -> None:
        """Ask the node to end a turn without a reply."""
        await self.ask("POST", self._conversation_path(f"/turns/{quote(turn)}/cancel"))

    def say(self, content: str) -> AsyncGenerator[ChatEvent]:
        """Say something, and yield every piece of the reply once, to its end."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._follow_to_its_end(
            HttpRequest("POST", self._conversation_path("/messages"), {"content": content}, headers)
        )

    def follow_turn(self, turn: str) -> AsyncGenerator[ChatEvent]:
        """Yield every piece of a reply that is under way, to its end."""
        return self._follow_to_its_end(
            HttpRequest("GET", self._conversation_path(f"/turns/{quote(turn)}/events"))
        )

    async def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Any:
        """Return the answer of the first node that has one."""
        request, deadline = (
            HttpRequest(method, path, body, self._reason_header | (headers or {})),
            _RetryDeadline(),
        )
        while True:
            try:
                return await self._ask_once(request)
            except (ConnectionBroken, errors.CCNError) as failed:
                await self._wait_or_raise(failed, deadline)

    async def _follow_to_its_end(self, request: HttpRequest) -> AsyncGenerator[ChatEvent]:
        deadline, turn = _RetryDeadline(), ""
        while True:
            try:
                async with aclosing(self._stream_events(request)) as stream:
                    async for event in stream:
                        deadline.renew()
                        if event.id:
                            turn_id = event.id.partition(":")[0]
                            path = self._conversation_path(f"/turns/{turn_id}/events")
                            request = HttpRequest("GET", path, None, {"Last-Event-ID": event.id})
                        if event.name == "accepted" and turn:
                            continue  # a stream that is resumed at its beginning says it again
                        turn = turn or event.id.partition(":")[0]
                        yield event
                        if event.name in _LAST_EVENTS:
                            return
            except (ConnectionBroken, errors.CCNError) as failed:
                await self._wait_or_raise(failed, deadline)
            else:
                return

    async def _stream_events(self, request: HttpRequest) -> AsyncGenerator[ChatEvent]:
        """Yield the events of one connection; `ConnectionBroken` if it ends before the reply does."""
        async with http_stream.open_request(self._nodes[0], request, self._key, self._ca) as answer:
            if answer.status == 204:
                return
            if answer.status != 200:
                raise await _error_from(answer)
            async with aclosing(_parse_events(answer)) as events:
                async for event in events:
                    if event.name == "resume":
                        raise ConnectionBroken(str(event.data.get("reason", "the node ended the stream")))
                    yield event
                    if event.name in _LAST_EVENTS:
                        return
        raise ConnectionBroken("the stream ended before the reply")

    async def _ask_once(self, request: HttpRequest) -> Any:
        async with http_stream.open_request(self._nodes[0], request, self._key, self._ca) as answer:
            if answer.status >= 300:
                raise await _error_from(answer)
            body = await answer.read_whole()
        try:
            return json.loads(body) if body else None
        except ValueError as invalid:
            raise ConnectionBroken("the answer is not JSON: is this a node?") from invalid

    async def _wait_or_raise(
        self, failed: ConnectionBroken | errors.CCNError, deadline: _RetryDeadline
    ) -> None:
        """Turn to the next node after a pause; raise an error that another node would not mend."""
        pause_s = deadline.next_pause_s()
        match failed:
            case errors.TooManyRequests(retry_after_s=wait_s):
                pause_s = wait_s
                self._notice(f"too many requests: trying again in {wait_s:.0f} s")
            case ConnectionBroken():
                self._try_next_node()
            case _ if isinstance(failed, _FINAL) or not _is_temporary(failed):
                raise failed
            case _:
                self._try_next_node()
        if deadline.is_over(pause_s):
            raise self._no_node_answers(failed) if isinstance(failed, ConnectionBroken) else failed
        await asyncio.sleep(pause_s)

    def _try_next_node(self) -> None:
        """Ask another node next."""
        self._nodes.append(self._nodes.pop(0))

    def _no_node_answers(self, last: ConnectionBroken) -> errors.Unavailable:
        return errors.Unavailable(f"no node answers at {' or '.join(self._nodes)} ({last})")

    def _conversation_path(self, rest: str = "") -> str:
        return f"/api/v1/conversation/{quote(self.id)}{rest}"


class _RetryDeadline:
    """How long requests are repeated without an answer."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self.renew()

    def renew(self) -> None:
        self._until, self._tries = self._clock() + PATIENCE_S, 0

    def next_pause_s(self) -> float:
        self._tries += 1
        return _PAUSES_S[min(self._tries, len(_PAUSES_S)) - 1]

    def is_over(self, pause_s: float) -> bool:
        return self._clock() + pause_s > self._until


def _is_temporary(failed: errors.CCNError) -> bool:
    return isinstance(failed, _TEMPORARY) or type(failed) is errors.Unavailable


async def _error_from(answer: HttpAnswer) -> errors.CCNError:
    return http_stream.error_from_answer(answer.status, answer.headers, await answer.read_whole())


async def _parse_events(answer: HttpAnswer) -> AsyncGenerator[ChatEvent]:
    """Parse server-sent events; pings and other events without a name are left out."""
    rest = b""
    async with aclosing(answer.read_pieces()) as pieces:
        async for piece in pieces:
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                fields = dict(line.partition(": ")[::2] for line in block.decode().split("\n"))
                if "event" in fields:
                    yield ChatEvent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
