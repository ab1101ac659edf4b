"""Clients that read replies to their end, whatever happens to the door they read at.

Each says one message and reads the reply. When its stream breaks it goes on at the next door with the last
id it saw, or says the same again under the same key if it saw none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import httpx

from tests.support.gateway import http_door

ENDS = frozenset({"done", "error", "cancelled"})
PATIENCE_S = 240.0


@dataclass
class Reading:
    """One message, and what its client has read of the reply."""

    conversation: str
    words: str
    ids: list[str] = field(default_factory=list)
    text: str = ""
    ended: str = ""
    restarts: int = 0
    broken: int = 0

    def take(self, event: http_door.Event) -> None:
        if event.id:
            self.ids.append(event.id)
        if event.name == "restart":
            self.text, self.restarts = "", self.restarts + 1
        self.text += event.data.get("text", "")
        if event.name in ENDS:
            self.ended = event.name

    @property
    def in_order(self) -> bool:
        """Whether no place was told twice, or before one that was told already."""
        places = [tuple(map(int, ident.rpartition(":")[2].split("-"))) for ident in self.ids]
        return places == sorted(set(places))


async def read_to_end(reading: Reading, doors: Sequence[str], key: str, begun: Callable[[], None]) -> None:
    """Say the message and read its reply, at one door after the other; `begun` once some of it is there."""
    async with asyncio.timeout(PATIENCE_S):
        for attempt in range(10_000):
            try:
                async for event in _stream(reading, doors[attempt % len(doors)], key):
                    reading.take(event)
                    if reading.text:
                        begun()
                    if reading.ended:
                        return
            except (httpx.TransportError, httpx.HTTPStatusError):
                reading.broken += 1
                await asyncio.sleep(0.1)


async def _stream(reading: Reading, door: str, key: str) -> AsyncIterator[http_door.Event]:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"said-in-{reading.conversation}"}
    if reading.ids:
        headers["Last-Event-ID"] = reading.ids[-1]
    body = None if reading.ids else json.dumps({"content": reading.words}).encode()
    async with (
        httpx.AsyncClient(base_url=door, timeout=30) as client,
        client.stream(
            "POST",
            f"/api/v1/conversation/{reading.conversation}/messages",
            content=body,
            headers=headers | ({"Content-Type": "application/json"} if body else {}),
        ) as answer,
    ):
        answer.raise_for_status()
        async for event in http_door.events(answer):
            yield event
