"""The HTTP server inside a process: its port, its end, and signals that are not its own."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx
import pytest
from fastapi import FastAPI

from ccn import errors, settings
from ccn.gateway.http import server


async def test_it_answers_until_told_to_stop_and_finishes_what_runs() -> None:
    app, begun, may_end, stop = FastAPI(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        begun.set()
        await may_end.wait()
        return "done"

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    listening = server.listen_on_port(settings.HttpSettings(port=0))
    port = listening.getsockname()[1]
    serving = asyncio.create_task(server.serve_app(app, listening, stop, 30.0))
    async with (
        asyncio.timeout(60),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        asked = asyncio.create_task(client.get("/slow"))
        await begun.wait()
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        stop.set()
        while port_answers(port):
            await asyncio.sleep(0.01)
        may_end.set()
        answer = await asked
        assert answer.json() == "done"
        assert "server" not in answer.headers
    await asyncio.wait_for(serving, 60)


async def test_work_that_does_not_end_is_cut_off_at_the_deadline() -> None:
    app, begun, stop = FastAPI(), asyncio.Event(), asyncio.Event()

    @app.get("/endless")
    async def endless() -> str:
        begun.set()
        await asyncio.Event().wait()
        return "never"

    listening = server.listen_on_port(settings.HttpSettings(port=0))
    serving = asyncio.create_task(server.serve_app(app, listening, stop, 1.0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/endless"
    async with httpx.AsyncClient(timeout=60) as client:
        asked = asyncio.create_task(client.get(url))
        await asyncio.wait_for(begun.wait(), 60)
        stop.set()
        await asyncio.wait_for(serving, 60)
        answer = (await asyncio.gather(asked, return_exceptions=True))[0]
        assert isinstance(answer, httpx.TransportError | httpx.Response)
        assert isinstance(answer, httpx.TransportError) or answer.status_code == 500


def test_a_port_that_somebody_listens_on_is_refused_by_name() -> None:
    with server.listen_on_port(settings.HttpSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.SettingsInvalid, match=f"CCN_HTTP_PORT: 127.0.0.1:{port} is in use"):
            server.listen_on_port(settings.HttpSettings(port=port))


def port_answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
