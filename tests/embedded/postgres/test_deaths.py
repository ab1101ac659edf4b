"""An embedded PostgreSQL when something or somebody dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.embedded import unprivileged_user
from ccn.embedded.postgres import postmaster, service
from ccn.embedded.supervision import ChildEvent, ChildStarted
from tests.embedded.conftest import named

Ask = Callable[[str, str], str]
Start = Callable[..., Any]


def test_kill_minus_nine_of_the_parent_leaves_no_process_and_loses_nothing(
    data: Path, starter: Start, ended: Callable[..., None], ask: Ask
) -> None:
    wish = {"service": "postgres", "data": str(data)}
    first = starter(**wish)
    ask(first.told["url"], "CREATE TABLE kept AS SELECT 42 AS answer")
    family = first.kill()
    assert len(family) > 4
    # At once: the second start waits for what the first one left.
    second = starter(**wish)
    ended(family)
    assert ask(second.told["url"], "SELECT answer FROM kept") == "42"
    log = (data / "server.log").read_text()
    assert "received fast shutdown request" in log
    assert "was not properly shut down" not in log
    second.stop()


def test_an_ephemeral_run_that_was_killed_is_cleared_away_by_the_next(
    place: Path, starter: Start, ended: Callable[..., None], ask: Ask
) -> None:
    wish = {"service": "postgres", "data": str(place / "data"), "ephemeral": True}
    first = starter(**wish)
    ask(first.told["url"], "CREATE TABLE gone ()")
    family = first.kill()
    second = starter(**wish)
    assert ask(second.told["url"], "SELECT to_regclass('gone') IS NULL") == "t"
    second.stop()
    ended(family)
    assert list(place.iterdir()) == []


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(data: Path, starter: Start) -> None:
    running = starter(service="postgres", data=str(data))
    servers = running.servers
    for each in servers:
        with suppress(ProcessLookupError):  # some processes of a server come and go
            assert os.getpgid(each.pid) != os.getpgid(running.pid)
            assert os.getsid(each.pid) != os.getsid(running.pid)
    # What the terminal does. The parent goes down in order, and takes its time to stop the server.
    os.killpg(running.pid, signal.SIGINT)
    running.process.wait(60)
    assert not any(each.is_running() for each in servers)
    assert "was interrupted" not in (data / "server.log").read_text()


async def test_a_killed_server_comes_back_on_the_same_port_with_its_data(
    data: Path, ask: Ask, until: Callable[..., Any]
) -> None:
    events: list[ChildEvent] = []
    async with service.run_postgres(data, on_event=events.append) as running:
        ask(running.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        first = running.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(events) > 1 and isinstance(events[-1], ChildStarted))
        assert running.pid != first
        assert ask(running.url, "SELECT answer FROM kept") == "42"
    assert not psutil.pid_exists(running.pid)


async def test_when_one_of_its_processes_is_killed_the_server_starts_anew(
    data: Path, ask: Ask, until: Callable[..., Any]
) -> None:
    events: list[ChildEvent] = []
    async with service.run_postgres(data, on_event=events.append) as running:
        ask(running.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        named("walwriter", psutil.Process(running.pid).children).kill()
        await until(lambda: len(events) > 1 and isinstance(events[-1], ChildStarted))
        assert ask(running.url, "SELECT answer FROM kept") == "42"


def test_everything_killed_at_once_leaves_nothing_that_is_in_the_way(
    data: Path, starter: Start, ended: Callable[..., None], ask: Ask
) -> None:
    wish = {"service": "postgres", "data": str(data)}
    first = starter(**wish)
    ask(first.told["url"], "CREATE TABLE kept AS SELECT 42 AS answer")
    family = first.freeze()
    first.kill()
    # Their shared memory and their pid file stay behind.
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    ended(family)
    assert (data / "pgdata" / "postmaster.pid").exists()
    second = starter(**wish)
    assert ask(second.told["url"], "SELECT answer FROM kept") == "42"
    second.stop()


def test_a_session_that_outlives_its_killed_server_is_waited_for(
    data: Path, starter: Start, ended: Callable[..., None], ask: Ask
) -> None:
    wish = {"service": "postgres", "data": str(data)}
    first = starter(**wish)
    family = first.servers
    server = psutil.Process(first.told["pid"])
    left = named("walwriter", server.children)
    left.suspend()
    # Killed with its parent, so that nobody brings it back.
    server.suspend()
    first.kill()
    server.kill()
    begun = subprocess.Popen(["sh", "-c", f"sleep 0.7; kill -CONT {left.pid}"])
    second = starter(**wish)
    assert begun.wait(60) == 0
    assert ask(second.told["url"], "SELECT 1") == "1"
    ended(family)
    second.stop()


def test_of_two_that_start_at_once_one_wins_and_the_other_names_it(
    place: Path, begin: Start, listen: Callable[..., Any]
) -> None:
    wish = {"service": "postgres", "data": str(place / "data")}
    told = [listen(each) for each in [begin(**wish) for _ in range(4)]]
    winners = [each for each in told if "url" in each.told]
    losers = [each for each in told if "error" in each.told]
    assert (len(winners), len(losers)) == (1, 3)
    for each in losers:
        assert each.told["error"] == "AlreadyRunning"
        assert f"pid {winners[0].pid}" in each.told["message"]
    winners[0].stop()


async def test_the_same_process_may_not_start_twice_either(data: Path) -> None:
    async with service.run_postgres(data, fsync=False):
        with pytest.raises(errors.AlreadyRunning, match=f"pid {os.getpid()}"):
            async with service.run_postgres(data, fsync=False):
                pytest.fail("it runs already")


def test_killed_at_any_instant_of_the_first_start_the_next_one_works(
    place: Path, begin: Start, starter: Start, ended: Callable[..., None], ask: Ask
) -> None:
    wish = {"service": "postgres", "data": str(place / "data")}
    chance = random.Random(7)
    families: list[psutil.Process] = []
    for _ in range(6):
        begun = begin(**wish)
        try:
            begun.process.wait(chance.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            families += begun.kill()
    survivor = starter(**wish)
    assert ask(survivor.told["url"], "SELECT count(*) FROM pg_class WHERE relname = 'pg_class'") == "1"
    ended(families)
    survivor.stop()
    assert not list((place / "data").glob("initdb-*"))


async def test_cancelled_during_the_first_start_it_leaves_no_process_and_no_half(place: Path) -> None:
    others = set(psutil.Process().children(recursive=True))  # the server that all tests share, and its own
    for delay in (0.05, 0.2, 0.4):
        starting = asyncio.create_task(_entered(place / "data"))
        await asyncio.sleep(delay)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        ours = [each for each in psutil.Process().children(recursive=True) if each not in others]
        assert [each for each in ours if _serves(each, place)] == []
        assert not list((place / "data").glob("initdb-*"))


def _serves(process: psutil.Process, place: Path) -> bool:
    with suppress(psutil.NoSuchProcess):  # those of the shared server come and go
        return str(place) in " ".join(process.cmdline())
    return False


async def _entered(data: Path) -> None:
    async with service.run_postgres(data):
        await asyncio.sleep(600)


async def test_a_pid_file_that_names_a_living_stranger_is_not_believed(data: Path) -> None:
    account = unprivileged_user.find_account()
    # The same user, so that PostgreSQL itself would take it for the server.
    stranger = subprocess.Popen(["sleep", "600"], user=account.uid if account else None)
    try:
        pid_file = data / "pgdata" / "postmaster.pid"
        pid_file.write_text(f"{stranger.pid}\n{pid_file.parent}\n1\n5432\n\n127.0.0.1\n  1 2\nready   \n")
        async with service.run_postgres(data, fsync=False) as running:
            assert running.pid != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_another_postgresql_with_the_pid_of_the_file_is_a_stranger_too(
    place: Path, data: Path
) -> None:
    async with service.run_postgres(place / "two", fsync=False) as other:
        pgdata = data / "pgdata"
        (pgdata / "postmaster.pid").write_text(f"{other.pid}\n{pgdata}\n")
        assert postmaster.is_server_of(other.pid, place / "two" / "pgdata")
        assert not postmaster.is_server_of(other.pid, pgdata)
        async with service.run_postgres(data, fsync=False) as running:
            assert running.pid != other.pid


@pytest.mark.parametrize("content", ["", "nonsense\n"])
async def test_a_pid_file_that_a_crash_left_unreadable_is_removed(data: Path, content: str) -> None:
    file = data / "pgdata" / "postmaster.pid"
    file.write_text(content)
    async with service.run_postgres(data, fsync=False) as running:
        assert file.read_text().splitlines()[0] == str(running.pid)
    assert not file.exists()


def test_a_data_directory_that_is_not_there_has_no_server(tmp_path: Path) -> None:
    assert postmaster.find_server(tmp_path) is None
    assert postmaster.read_pid_file(tmp_path) is None
    assert not postmaster.is_server_of(os.getpid(), tmp_path)
