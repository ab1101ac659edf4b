"""Where a conversation goes on when its node does not answer: at the doors it may trust with the key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ccn.cli.chat.session import ChatSession


@dataclass
class Listener:
    """Answers with what the test laid ready, the last of it for ever, and keeps what it was asked."""

    answers: list[tuple[int, object]]
    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        said = json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)
        writer.close()


@asynccontextmanager
async def listening(*answers: tuple[int, object]) -> AsyncIterator[Listener]:
    listener = Listener(list(answers))
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield listener


async def test_the_key_is_not_sent_to_another_host_that_an_answer_in_the_clear_names() -> None:
    """0.0.0.0 is another host by its name, and reaches this machine."""
    busy = (503, {"code": "unavailable", "title": "busy"})
    nobody: tuple[int, object] = (200, {"characters": []})
    async with listening(nobody) as friend, listening(nobody) as stranger:
        addresses = stranger.url.replace("127.0.0.1", "0.0.0.0"), friend.url
        seats = [{"here": True, "address": each} for each in ("", *addresses)]
        async with listening((200, {"nodes": seats}), busy) as pointed:
            session = ChatSession([pointed.url], "a-secret-key", lambda _: None)
            await session.learn_nodes()
            assert await session.list_characters() == []
    assert stranger.asked == []
    assert "a-secret-key" in friend.asked[0]
