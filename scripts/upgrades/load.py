"""People who talk all the while, and what became of their words: each one is there, and there once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from ccn.store.connection import hosts

_PAUSE_S = 0.05
_ANSWER_S = 30.0
_CONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class ToldAnswer:
    """That something is kept: when it was asked, and when it was told."""

    asked_at: float
    at: float


@dataclass
class Talkers:
    """So many conversations at once. A message is said at one door after the other until it is answered."""

    urls: Sequence[str]
    api_key: str
    accepted: set[str] = field(default_factory=set)
    """Messages that a node said it keeps."""
    answered: set[str] = field(default_factory=set)
    """Messages whose reply was told to its end."""
    failed: dict[str, str] = field(default_factory=dict)
    """Messages of which a node said that there will be no reply, and with which code."""
    refused: int = 0
    """How often a door said no, or said nothing."""
    told: list[ToldAnswer] = field(default_factory=list)
    """When each of these was told, in their order."""
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, count: int) -> None:
        """Let so many people talk from now on."""
        self._tasks = [asyncio.create_task(self._talk(number)) for number in range(count)]

    async def stop(self) -> None:
        """Let them finish what they are saying; what went wrong with one is raised."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        """Let them fall silent, whatever they were saying."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def measure_longest_silence(self) -> float:
        """For how long nobody at all was told that something is kept, at the longest."""
        return max((later.at - earlier.at for earlier, later in itertools.pairwise(self.told)), default=0.0)

    async def _talk(self, number: int) -> None:
        doors = itertools.cycle(
            [*self.urls[number % len(self.urls) :], *self.urls[: number % len(self.urls)]]
        )
        headers = {"Authorization": f"Bearer {self.api_key}"}
        async with httpx.AsyncClient(timeout=_ANSWER_S, headers=headers) as client:
            talk = await self._begin(client, doors)
            while talk and not self._stop.is_set():
                await self._say(client, doors, talk, secrets.token_hex(12))
                await asyncio.sleep(_PAUSE_S)

    async def _begin(self, client: httpx.AsyncClient, doors: Iterator[str]) -> str:
        key = secrets.token_hex(12)
        while not self._stop.is_set():
            with contextlib.suppress(httpx.TransportError):
                told = await client.post(
                    f"{next(doors)}/api/v1/conversation/start",
                    json={"character": "wren"},
                    headers={"Idempotency-Key": key},
                )
                if told.status_code == httpx.codes.CREATED:
                    return str(told.json()["session_id"])
            self.refused += 1
            await asyncio.sleep(_PAUSE_S)
        return ""

    async def _say(self, client: httpx.AsyncClient, doors: Iterator[str], talk: str, word: str) -> None:
        """The same message under the same key, until its reply was told, or that there will be none."""
        while not self._is_over(word):
            began = time.monotonic()
            try:
                async with client.stream(
                    "POST",
                    f"{next(doors)}/api/v1/conversation/{talk}/messages",
                    json={"content": f"Say something about {word}."},
                    headers={"Idempotency-Key": word},
                ) as stream:
                    if stream.status_code == httpx.codes.OK:
                        await self._read_events(stream.aiter_lines(), word, began)
                    else:
                        self.refused += 1
            except httpx.TransportError:
                self.refused += 1
            await asyncio.sleep(_PAUSE_S)

    def _is_over(self, word: str) -> bool:
        if self._stop.is_set() and word not in self.accepted:
            return True
        return word in self.answered or word in self.failed

    async def _read_events(self, lines: AsyncIterator[str], word: str, began: float) -> None:
        event, is_turns_own = "", False
        async for line in lines:
            match line.partition(": "):
                case ("id", _, _):
                    is_turns_own = True
                case ("event", _, event):
                    self._note_event(event, word, began)
                case ("data", _, data) if event == "error" and is_turns_own:
                    self.failed[word] = str(json.loads(data)["code"])
                case ("", _, _):
                    event, is_turns_own = "", False

    def _note_event(self, event: str, word: str, began: float) -> None:
        if event in {"accepted", "done"}:
            self.accepted.add(word)
            self.told.append(ToldAnswer(began, time.monotonic()))
        if event == "done":
            self.answered.add(word)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database has of what was said."""

    lost: int
    """Messages that were acknowledged and are not there."""
    doubled: int
    """Messages that are there twice, and those with two replies."""
    unanswered: int
    """Replies that were told to their end and are not there."""


async def count_kept(database: str, talkers: Talkers) -> Kept:
    """Compare what people were told with what is there."""
    connection = await hosts.connect(database, timeout=_CONNECT_S)
    try:
        said = await connection.fetch(_SAID)
        replies = await connection.fetch(_REPLIES)
    finally:
        await connection.close()
    times = {row["word"]: row["times"] for row in said}
    answers = {row["word"]: row["times"] for row in replies}
    return Kept(
        lost=len(talkers.accepted - times.keys()),
        doubled=sum(n > 1 for n in times.values()) + sum(n > 1 for n in answers.values()),
        unanswered=len(talkers.answered - answers.keys()),
    )


def describe(talkers: Talkers, kept: Kept) -> dict[str, float]:
    """What people were told, and what became of it, as figures."""
    return {
        "accepted": len(talkers.accepted),
        "answered": len(talkers.answered),
        "failed": len(talkers.failed),
        "doors_that_refused": talkers.refused,
        "longest_without_answer_s": round(talkers.measure_longest_silence(), 1),
        "lost": kept.lost,
        "doubled": kept.doubled,
        "replies_lost": kept.unanswered,
    }


def describe_failures(talkers: Talkers) -> str:
    """How many replies there will never be, by the code of what went wrong."""
    codes = Counter(talkers.failed.values())
    return ", ".join(f"{count} {code}" for code, count in codes.most_common()) or "0"


_SAID = """
    SELECT substring(content from 'about ([0-9a-f]{24})') AS word, count(*) AS times
    FROM messages WHERE role = 'user' GROUP BY 1
"""
_REPLIES = """
    SELECT substring(said.content from 'about ([0-9a-f]{24})') AS word, count(*) AS times
    FROM messages said JOIN messages reply ON reply.turn_id = said.turn_id AND reply.role = 'assistant'
    WHERE said.role = 'user' GROUP BY 1
"""
