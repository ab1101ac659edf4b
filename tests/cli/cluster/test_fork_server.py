"""Processes forked from one that has imported everything are as good as others, and tied to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

import ccn
from ccn import settings
from ccn.cli.cluster import fork_server
from ccn.cli.cluster.fork_server import ForkServer
from ccn.embedded.child import Child
from tests.support.cli.commands import environment

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = [f"ccn {ccn.__version__}"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forking() -> AsyncIterator[ForkServer]:
    async with fork_server.start_fork_server() as made:
        await made.wait_until_imported()
        yield made


async def said(running: Child) -> list[str]:
    return [line async for line in running.read_lines()]


@asynccontextmanager
async def waiting(forking: ForkServer) -> AsyncIterator[Child]:
    """A node that waits for a database which never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/ccn"
        running = forking.start_child("node-1", ["node", "run"], environment(CCN_DATABASE_URL=url))
        yield running
        running.send_signal(signal.SIGKILL)
        await running.wait()
        await said(running)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.01)


async def test_what_is_forked_has_arguments_an_environment_and_an_exit_code(forking: ForkServer) -> None:
    shown = forking.start_child("shown", ["settings"], environment(CCN_HTTP_PORT="8123"))
    version = forking.start_child("version", ["--version"], environment())
    wrong = forking.start_child("wrong", ["nonsense"], environment())
    assert (await said(version), await version.wait()) == (VERSION, 0)
    assert any(line.split()[:2] == ["CCN_HTTP_PORT", "8123"] for line in await said(shown))
    assert (await shown.wait(), shown.code) == (0, 0)
    assert "Usage: ccn" in (await said(wrong))[0]
    assert await wrong.wait() == 2


async def test_it_is_a_process_of_its_own_by_its_name_that_ends_when_told(forking: ForkServer) -> None:
    async with waiting(forking) as running:
        await until(lambda: psutil.Process(running.pid).name() == "node-1")
        assert os.getsid(running.pid) == running.pid
        assert running.code is None
        assert await running.stop((signal.SIGTERM, 30.0)) is not None
        running.send_signal(signal.SIGTERM)
    async with waiting(forking) as running:
        os.kill(running.pid, signal.SIGKILL)
        assert await running.wait() == -signal.SIGKILL
        assert not psutil.pid_exists(running.pid), "it was buried"


async def test_it_holds_no_file_of_its_siblings_nor_of_the_nursery(forking: ForkServer) -> None:
    async with waiting(forking) as first, waiting(forking) as second:
        assert await settled(second.pid) == await settled(first.pid)


async def settled(pid: int) -> list[str]:
    """What kinds of files a node has open that waits for its database."""
    process = psutil.Process(pid)
    await until(lambda: any(each.status == "ESTABLISHED" for each in process.net_connections("tcp")))
    opened = [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]
    return sorted(str(each).partition(":[")[0] for each in opened)


async def test_the_nursery_ends_with_the_block_that_opened_it() -> None:
    before = psutil.Process().children()
    async with fork_server.start_fork_server():
        (itself,) = set(psutil.Process().children()) - set(before)
    assert not itself.is_running()


async def test_an_environment_that_is_too_large_to_send_is_no_obstacle() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(b"ready")
        environ = environment(**{f"LARGE_{number}": "x" * 120_000 for number in range(3)})
        large = ForkServer(None, ours).start_child("version", ["--version"], environ)
        assert (await said(large), await large.wait()) == (VERSION, 0)


async def test_without_a_nursery_it_is_started_on_its_own() -> None:
    version = ForkServer(None, None).start_child("version", ["--version"], settings.child_environment({}))
    assert (await said(version), await version.wait()) == (VERSION, 0)


async def test_it_dies_with_its_nursery_and_the_next_is_started_on_its_own(forking: ForkServer) -> None:
    """Run last: after it the nursery is gone."""
    async with waiting(forking) as running:
        psutil.Process(running.pid).parent().kill()
        assert await running.wait() == -signal.SIGKILL
        await until(lambda: not psutil.pid_exists(running.pid))
    version = forking.start_child("version", ["--version"], environment())
    assert (await said(version), await version.wait()) == (VERSION, 0)
