"""A conversation as a client holds it: at whichever node answers, through the death of any of them.

What is asked can be asked again: what is said carries a key, and a stream goes on after the last event that
came. So a node that dies, stops or is busy costs a moment, and never a word. A person is told of waiting.
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
"""How long nothing may come before a chat is given up; an adoption takes a third of it at most."""
_AGAIN_S = (0.1, 0.2, 0.5, 1.0)
_ENDS = frozenset({"done", "error", "cancelled"})
_LATER = (
    errors.DatabaseUnavailable,
    errors.DatabaseFull,
    errors.OutcomeUnknown,
    errors.PeerUnavailable,
    errors.ShuttingDown,
    errors.StaleHost,
    errors.TooManyRequests,
)
_NO_LONGER = (errors.BudgetSpent, errors.Overloaded, errors.ModelUnavailable)


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """One piece of a turn."""

    id: str
    name: str
    data: dict[str, Any]


class ChatSession:
    """One conversation, or the wish for one."""

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
        self._why = {"X-CCN-Reason": reason} if reason else {}

    async def learn_nodes(self) -> None:
        """Learn where the nodes are, as the first that answers sees them; Unavailable if none does.

        Of those it names, the ones that the key may be sent to.
        """
        for _ in [*self._nodes]:
            try:
                told = await self._ask_once(HttpRequest("GET", "/status"))
                break
            except ConnectionBroken as failed:
                broken = failed
                self._try_next_node()
            except errors.CCNError:
                return  # it answers, and knows no others
        else:
            raise self._no_node_answers(broken)
        seats = [each["address"] for each in told["nodes"] if each["here"]]
        followed = [each for each in seats if address.may_follow(self._nodes[0], each)]
        self._nodes = list(dict.fromkeys([*self._nodes, *followed]))

    async def list_characters(self) -> list[dict[str, Any]]:
        """With whom one can talk."""
        found: list[dict[str, Any]] = (await self.ask("GET", "/api/v1/characters"))["characters"]
        return found

    async def begin_conversation(self, character: str) -> None:
        """Begin a conversation."""
        keyed = {"Idempotency-Key": uuid.uuid4().hex}
        begun = await self.ask("POST", "/api/v1/conversation/start", {"character": character}, keyed)
        self.id = begun["session_id"]

    async def load_state(self) -> dict[str, Any]:
        """The conversation as it stands."""
        found: dict[str, Any] = await self.ask("GET", self._conversation_path())
        return found

    async def load_history(self, limit: int) -> list[dict[str, Any]]:
        """The last messages, in order."""
        page = await self.ask("GET", self._conversation_path(f"/messages?limit={limit}"))
        found: list[dict[str, Any]] = page["messages"]
        return found

    async def load_glance(self) -> dict[str, Any]:
        """What a status line shows."""
        found: dict[str, Any] = await self.ask("GET", self._conversation_path("/glance"))
        return found

    async def load_prompt(self) -> dict[str, Any]:
        """What was sent in the last turn."""
        found: dict[str, Any] = await self.ask("GET", self._conversation_path("/prompt"))
        return found

    async def cancel_turn(self, turn: str) -> None:
        """Want no more of a reply."""
        await self.ask("POST", self._conversation_path(f"/turns/{quote(turn)}/cancel"))

    def say(self, content: str) -> AsyncGenerator[ChatEvent]:
        """Say something: every piece of the reply once, to its end."""
        keyed = {"Idempotency-Key": uuid.uuid4().hex}
        return self._follow_to_its_end(
            HttpRequest("POST", self._conversation_path("/messages"), {"content": content}, keyed)
        )

    def follow_turn(self, turn: str) -> AsyncGenerator[ChatEvent]:
        """The same for a turn that is under way."""
        return self._follow_to_its_end(
            HttpRequest("GET", self._conversation_path(f"/turns/{quote(turn)}/events"))
        )

    async def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Any:
        """One answer, from whichever node has one."""
        asking, patience = HttpRequest(method, path, body, self._why | (headers or {})), _RetryDeadline()
        while True:
            try:
                return await self._ask_once(asking)
            except (ConnectionBroken, errors.CCNError) as failed:
                await self._wait_or_raise(failed, patience)

    async def _follow_to_its_end(self, asking: HttpRequest) -> AsyncGenerator[ChatEvent]:
        patience, turn = _RetryDeadline(), ""
        while True:
            try:
                async with aclosing(self._stream_events(asking)) as stream:
                    async for event in stream:
                        patience.renew()
                        if event.id:
                            named = event.id.partition(":")[0]
                            path = self._conversation_path(f"/turns/{named}/events")
                            asking = HttpRequest("GET", path, None, {"Last-Event-ID": event.id})
                        if event.name == "accepted" and turn:
                            continue  # who resumes at the beginning is told again
                        turn = turn or event.id.partition(":")[0]
                        yield event
                        if event.name in _ENDS:
                            return
            except (ConnectionBroken, errors.CCNError) as failed:
                await self._wait_or_raise(failed, patience)
            else:
                return

    async def _stream_events(self, asking: HttpRequest) -> AsyncGenerator[ChatEvent]:
        """The events of one connection; it ends where there are no more, and breaks where there are."""
        async with http_stream.open_request(self._nodes[0], asking, self._key, self._ca) as answer:
            if answer.status == 204:
                return
            if answer.status != 200:
                raise await _error_from(answer)
            async with aclosing(_parse_events(answer)) as events:
                async for event in events:
                    if event.name == "resume":
                        raise ConnectionBroken(str(event.data.get("reason", "the node ended the stream")))
                    yield event
                    if event.name in _ENDS:
                        return
        raise ConnectionBroken("the stream ended before the reply")

    async def _ask_once(self, asking: HttpRequest) -> Any:
        async with http_stream.open_request(self._nodes[0], asking, self._key, self._ca) as answer:
            if answer.status >= 300:
                raise await _error_from(answer)
            body = await answer.read_whole()
        try:
            return json.loads(body) if body else None
        except ValueError as nonsense:
            raise ConnectionBroken("the answer is not JSON: is this a node?") from nonsense

    async def _wait_or_raise(
        self, failed: ConnectionBroken | errors.CCNError, patience: _RetryDeadline
    ) -> None:
        """Turn to the next node after a moment; or raise what cannot be mended by that."""
        pause_s = patience.next_pause_s()
        match failed:
            case errors.TooManyRequests(retry_after_s=wait_s):
                pause_s = wait_s
                self._notice(f"too many requests: going on in {wait_s:.0f} s")
            case ConnectionBroken():
                self._try_next_node()
            case _ if isinstance(failed, _NO_LONGER) or not _is_temporary(failed):
                raise failed
            case _:
                self._try_next_node()
        if patience.is_over(pause_s):
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
    """How long it goes on without anything."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self.renew()

    def renew(self) -> None:
        self._until, self._tries = self._clock() + PATIENCE_S, 0

    def next_pause_s(self) -> float:
        self._tries += 1
        return _AGAIN_S[min(self._tries, len(_AGAIN_S)) - 1]

    def is_over(self, pause_s: float) -> bool:
        return self._clock() + pause_s > self._until


def _is_temporary(failed: errors.CCNError) -> bool:
    return isinstance(failed, _LATER) or type(failed) is errors.Unavailable


async def _error_from(answer: HttpAnswer) -> errors.CCNError:
    return http_stream.error_from_answer(answer.status, answer.headers, await answer.read_whole())


async def _parse_events(answer: HttpAnswer) -> AsyncGenerator[ChatEvent]:
    """Server-sent events; pings and what else has no name are left out."""
    rest = b""
    async with aclosing(answer.read_pieces()) as pieces:
        async for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n\n")
            for block in whole:
                fields = dict(line.partition(": ")[::2] for line in block.decode().split("\n"))
                if "event" in fields:
                    yield ChatEvent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
