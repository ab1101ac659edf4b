"""One user at every limit, for the benchmark `neighbours`: a process of its own, which slows only a node.

Says `ready` once all that lasts has begun, works until its input ends, and then says how many of its
requests were let through and how many refused. What it asks for is drawn anew each time, at twice the rate
that is let through; some of it is dear: searches in long texts, calls of 50 kB, and instances.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ccn import settings
from ccn.pb import instances_pb2 as pb
from ccn.pb import instances_pb2_grpc as stubs

A_SECOND = 200 / 60
LASTING = 32
SOCKETS = 10
TEXTS = 20
LONG = " ".join(f"zeta word{nth}" for nth in range(20_000))


class Crowd:
    """All of what it does, and what came of it."""

    def __init__(self, http: str, target: str, key: str) -> None:
        self._key, self._ws = key, http.replace("http", "ws")
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(base_url=http, headers=headers, timeout=120, limits=limits)
        self._continuity = stubs.ContinuityStub(grpc.aio.insecure_channel(target))
        self._instances = stubs.InstancesStub(grpc.aio.insecure_channel(target))
        self._came, self._dice = Counter[str](), random.Random(1)
        self._working = set[asyncio.Task[None]]()
        self._session = ""

    async def work(self, stop: asyncio.Event) -> Counter[str]:
        """Begin what lasts, then ask for more and more."""
        began = await self._client.post("/api/v1/conversation/start", json={"character": "wren"})
        self._session = str(began.json().get("session_id", ""))
        for _ in range(LASTING):
            self._go(self._lasts)
        for _ in range(SOCKETS):
            self._go(self._listens)
        self._go(self._writes)
        print("ready", flush=True)
        asks = (self._starts, self._spawns, self._says, self._calls, self._searches, self._reads)
        while not stop.is_set():
            self._go(self._dice.choice(asks))
            with suppress(TimeoutError):
                async with asyncio.timeout(1 / A_SECOND):
                    await stop.wait()
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)
        return self._came

    def _go(self, what: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            with suppress(httpx.HTTPError, OSError, grpc.aio.AioRpcError, WebSocketException):
                await what()

        task = asyncio.create_task(guarded())
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _starts(self) -> None:
        await self._post("start", "/api/v1/conversation/start", {"character": "wren"})

    async def _says(self) -> None:
        await self._post("say", f"/api/v1/conversation/{self._session}/messages", {"content": "Go on."})

    async def _calls(self) -> None:
        await self._post("call", "/v1/messages", _asked("Well? " * 8_000))

    async def _searches(self) -> None:
        answer = await self._client.get("/api/v1/search", params={"q": "zeta", "limit": "100"})
        self._count("search", answer.status_code)

    async def _reads(self) -> None:
        answer = await self._client.get(f"/api/v1/conversation/{self._session}/messages?limit=100")
        self._count("read", answer.status_code)

    async def _spawns(self) -> None:
        try:
            await self._instances.Spawn(pb.SpawnRequest(character="wren"), metadata=self._metadata)
        except grpc.aio.AioRpcError:
            self._count("spawn", 429)
        else:
            self._count("spawn", 200)

    async def _lasts(self) -> None:
        """A call that takes long, and again another."""
        while True:
            await self._post("lasting call", "/v1/messages", _asked("SLOWLY, please."))
            await asyncio.sleep(20)

    async def _listens(self) -> None:
        """A socket that stays open and says something now and then."""
        url = f"{self._ws}/ws/conversation/{self._session}"
        headers = {"Authorization": f"Bearer {self._key}"}
        async with connect(url, additional_headers=headers, proxy=None) as socket:
            while True:
                await asyncio.sleep(10)
                await socket.send(json.dumps({"type": "message", "content": "And on."}))
                await socket.recv()

    async def _writes(self) -> None:
        """Long texts, in which searches are dear."""
        begun = await self._continuity.Begin(pb.BeginRequest(character="wren"), metadata=self._metadata)
        for _ in range(TEXTS):
            text = pb.RecordRequest(conversation=begun.conversation.id, role="user", content=LONG)
            await self._continuity.Record(text, metadata=self._metadata)
            self._count("write", 200)

    async def _post(self, what: str, path: str, body: dict[str, Any]) -> None:
        answer = await self._client.post(path, json=body)
        self._count(what, answer.status_code)

    @property
    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", self._key),)

    def _count(self, what: str, status: int) -> None:
        self._came[f"{what}, let through" if status < 400 else "refused"] += 1


def _asked(words: str) -> dict[str, Any]:
    return {"model": "wren", "max_tokens": 200, "messages": [{"role": "user", "content": words}]}


async def main() -> None:
    """Until the input ends."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    key = settings.load().client.api_key.get_secret_value()
    came = await Crowd(sys.argv[1], sys.argv[2], key).work(stop)
    print(json.dumps(came), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
