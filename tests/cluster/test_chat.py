"""`ccn up` and `ccn chat` as people use them: the host dies in the middle of a reply, and the next day."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccn.claude.stand_in import server
from ccn.claude.stand_in.faults import FaultRule, FaultRules
from tests.support.cli.terminal import Typing, terminal
from tests.support.cluster.up import Up, reachable_folder, started, surroundings

QUICK = {
    "CCN_CLAUDE_STAND_IN": "true",
    "CCN_ETCD_LEASE_TTL_S": "4",
    "CCN_INSTANCES_HEARTBEAT_S": "0.3",
    "CCN_INSTANCES_ADOPT_AFTER_S": "9",
}


@asynccontextmanager
async def day(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """A cluster on the same data, from its start to its stop."""
    data = str(folder / "data")
    with started(folder, "--json", "--data", data, "--port", "0", environ={**QUICK, **environ}) as running:
        yield await asyncio.to_thread(running.ready)
        await _stopped(running)


async def _stopped(running: Up) -> None:
    running.interrupt()
    assert await asyncio.to_thread(running.process.wait, 90) == 0


async def _said(told: dict[str, Any], session: str) -> list[tuple[str, str]]:
    headers = {"Authorization": f"Bearer {told['admin']['api_key']}"}
    async with httpx.AsyncClient(base_url=told["nodes"][-1]["http"], headers=headers, timeout=30) as client:
        answer = await client.get(f"/api/v1/conversation/{session}/messages")
        return [(each["role"], each["content"]) for each in answer.json()["messages"]]


async def _host(told: dict[str, Any], session: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {told['admin']['api_key']}"}
    async with httpx.AsyncClient(base_url=told["nodes"][0]["http"], headers=headers, timeout=30) as client:
        glance = (await client.get(f"/api/v1/conversation/{session}/glance")).json()
    return next(node for node in told["nodes"] if node["id"] == glance["node"])


@pytest.mark.timeout(400)
async def test_a_chat_outlives_the_node_it_talks_to_and_goes_on_the_next_day() -> None:
    with reachable_folder() as folder:
        chat = surroundings(folder) | {"TERM": "xterm-256color"}
        data = ("--data", str(folder / "data"))
        async with server.run_stand_in() as model:
            environ = {"CCN_CLAUDE_BASE_URL": model.url}
            async with day(folder, environ) as told, terminal(chat, *data) as typing:
                session, reply = await _the_host_is_killed(told, typing, model.faults)
            model.faults.clear()
            async with day(folder, environ), terminal(chat, *data, "--session", session) as typing:
                await _the_next_day(typing, reply)


async def _the_host_is_killed(told: dict[str, Any], typing: Typing, faults: FaultRules) -> tuple[str, str]:
    """The session and the reply, which came to its end elsewhere, once."""
    greeting = await typing.sees("you ›")
    assert "You talk to an AI." in greeting
    assert "A stand-in answers, not Claude" in greeting
    found = re.search(r"session ([0-9a-f-]{36})", greeting)
    assert found is not None
    host = await _host(told, found[1])
    # The first reply does not come to its end before its host is killed, however late that is.
    faults.add_rule(FaultRule(match="Zephyr", times=1, after=12, end="stall"))
    typing.type("My boat is called Zephyr. Tell me about harbours.\r")
    await typing.sees("Wren\n")
    await typing.sees(" ")  # the first words are there
    os.kill(host["pid"], signal.SIGKILL)
    await typing.sees("the reply begins anew)")
    seen = (await typing.sees(" today\n")).rpartition("\nWren · ")[0]
    (asked, content), (role, reply) = await _said(told, found[1])
    assert (asked, content[:7], role) == ("user", "My boat", "assistant")
    assert seen.strip("…\r\n ").split() == reply.split()
    await typing.sees("you ›")
    typing.type("/quit\r")
    assert await typing.left() == 0
    return found[1], reply


async def _the_next_day(typing: Typing, reply: str) -> None:
    """The conversation goes on, and its prompt holds plate, state and history."""
    await typing.sees("My boat is called Zephyr.")
    await typing.sees("you ›")
    typing.type("Good morning. Do you remember my boat?\r")
    heard = await typing.sees(" today\n")
    assert "Zephyr" in heard
    await typing.sees("you ›")
    typing.type("/prompt\r")
    await typing.sees("what was sent")
    shown = (await typing.sees("you ›")).replace("\n", " ")
    for part in (
        "# Wren",
        "<ccn:state>",
        "My boat is called Zephyr.",
        reply.replace("\n", " "),
        "Good morning.",
    ):
        assert part in shown
    typing.type("/quit\r")
    assert await typing.left() == 0
