"""A commit that no standby has is acknowledged to nobody, whoever ended its wait, until a standby has it.

A real receiver of the log is the standby. It is stopped, so that commits wait for it, and let go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.ids import CharacterId, ConversationId
from ccn.core.message import Message, Role
from ccn.embedded import binaries
from ccn.embedded.postgres import service
from ccn.store.connection import migrate, pool
from ccn.store.conversations.conversations import AppendMessage, BeginConversation
from ccn.store.writing.batch import Confirm
from ccn.store.writing.writer import Writer
from tests.support import databases, processes
from tests.support.speakers import ANN
from tests.support.store.open_store import Clock

Start = Callable[..., AbstractAsyncContextManager[Writer]]

HERE = ConversationId(UUID(int=7))
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE wait_event = 'SyncRep' AND (query LIKE '%pg_logical_emit_message%') = $1
"""


@dataclass
class Primary:
    """A server that waits for one standby, and the receiver that is this standby."""

    database: settings.DatabaseSettings
    receiver: subprocess.Popen[bytes]
    direct: asyncpg.Connection[asyncpg.Record]

    def cut_off(self) -> None:
        self.receiver.send_signal(signal.SIGSTOP)

    def reconnect(self) -> None:
        self.receiver.send_signal(signal.SIGCONT)

    async def waiting(self, *, confirming: bool = False) -> int:
        """The backend whose commit waits for the standby, as soon as there is one."""
        async with asyncio.timeout(60):
            while (found := await self.direct.fetchval(WAITING, confirming)) is None:
                await asyncio.sleep(0.01)
        return int(found)

    async def end(self, how: str, backend: int) -> None:
        await self.direct.fetchval(f"SELECT pg_{how}_backend($1)", backend)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Primary]:
    with tempfile.TemporaryDirectory(prefix="ccn-standbys-", dir=databases.place()) as made:
        Path(made).chmod(0o755)
        async with service.run_postgres(Path(made) / "postgres", ephemeral=True, fsync=False) as running:
            await migrate.apply_pending(running.url)
            direct = await asyncpg.connect(running.url)
            await direct.execute("INSERT INTO characters (id, name) VALUES ('ada', 'Ada')")
            receiver = _receiving(running.url, Path(made))
            await direct.execute("ALTER SYSTEM SET autovacuum = off")
            await direct.execute("ALTER SYSTEM SET synchronous_standby_names = 'copy'")
            await direct.execute("SELECT pg_reload_conf()")
            while (
                await direct.fetchval("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
                != 1
            ):
                assert receiver.poll() is None
                await asyncio.sleep(0.01)
            yield Primary(settings.DatabaseSettings(url=SecretStr(running.url)), receiver, direct)
            receiver.kill()
            receiver.wait()
            await direct.close()


def _receiving(url: str, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "log").mkdir()
    program = binaries.find_postgres(None, None).bin / "pg_receivewal"
    where = [
        "--synchronous",
        "--no-loop",
        "--directory",
        str(folder / "log"),
        "--dbname",
        f"{url}&application_name=copy",
    ]
    return processes.start([program, *where], env={"PATH": os.defpath})


@pytest_asyncio.fixture(loop_scope="session")
async def primary(server: Primary) -> AsyncIterator[Primary]:
    yield server
    server.reconnect()


@asynccontextmanager
async def _writing(primary: Primary, start: Start, patience_s: float) -> AsyncIterator[Writer]:
    """A writer with a conversation that it remembers."""
    database = primary.database.model_copy(update={"statement_timeout_s": patience_s})
    async with start(database, Clock(), "node-1") as writer:
        if not await primary.direct.fetchval("SELECT count(*) FROM conversations"):
            await writer.submit(BeginConversation(HERE, CharacterId("ada")))
        await writer.submit(AppendMessage(HERE, Role.USER, "first", ANN))
        yield writer
        primary.reconnect()


async def _said(primary: Primary, words: str) -> int | None:
    found: int | None = await primary.direct.fetchval("SELECT seq FROM messages WHERE content = $1", words)
    return found


async def _settled(*tasks: asyncio.Task[object]) -> None:
    """Let them do all that they can without the standby."""
    await asyncio.wait(tasks, timeout=0.2)


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_commit_whose_wait_somebody_ends_is_acknowledged_once_the_standby_has_it(
    primary: Primary, start_writer: Start, how: str
) -> None:
    async with _writing(primary, start_writer, patience_s=60.0) as writer:
        primary.cut_off()
        saying = asyncio.create_task(writer.submit(AppendMessage(HERE, Role.USER, how, ANN)))
        await primary.end(how, await primary.waiting())
        second = await primary.waiting(confirming=True)
        assert await _said(primary, how)  # it stands, and everybody sees it
        await primary.end("cancel", second)  # again makes no difference
        await _settled(saying)
        assert not saying.done()
        primary.reconnect()
        assert isinstance(await saying, Message)


LOSE_THE_NEWEST = """
    SET synchronous_commit = local;
    SET session_replication_role = replica;
    DELETE FROM messages WHERE content = 'lost';
    UPDATE conversations SET head_seq = (SELECT max(seq) FROM messages);
    DELETE FROM leaves WHERE number = (SELECT max(number) FROM leaves);
    UPDATE leaf_sources SET head = (SELECT max(number) FROM leaves) WHERE node_id = 'node-1';
    RESET session_replication_role;
"""


async def test_what_is_waited_for_is_looked_for_again_after_a_failover(
    primary: Primary, start_writer: Start
) -> None:
    """To a standby that never had it: one more commit there says nothing about what is not there."""
    async with _writing(primary, start_writer, patience_s=60.0) as writer:
        primary.cut_off()
        saying = asyncio.create_task(writer.submit(AppendMessage(HERE, Role.USER, "lost", ANN)))
        await primary.end("cancel", await primary.waiting())
        waiting = await primary.waiting(confirming=True)
        await primary.direct.execute(LOSE_THE_NEWEST)
        await primary.end("terminate", waiting)
        await primary.waiting()  # for what is written once more
        primary.reconnect()
        assert (await saying).seq == await _said(primary, "lost")


async def test_a_key_does_not_turn_an_unknown_outcome_into_a_promise(
    primary: Primary, start_writer: Start
) -> None:
    append = AppendMessage(HERE, Role.USER, "once", ANN, idempotency_key="k")
    async with _writing(primary, start_writer, patience_s=1.0) as writer:
        primary.cut_off()
        with pytest.raises(errors.OutcomeUnknown):
            await writer.submit(append)
        there = await _said(primary, "once")
        assert there is not None
        for again in (append, Confirm()):
            with pytest.raises(errors.OutcomeUnknown):
                await writer.submit(again)
        primary.reconnect()
        assert (await writer.submit(append)).seq == there
        await writer.submit(Confirm())


async def test_a_rare_write_waits_for_the_standby_as_well(primary: Primary) -> None:
    async with pool.open(primary.database, "test") as connections:
        assert await connections.value("SELECT 1") == 1
        primary.cut_off()
        alone = asyncio.create_task(
            connections.rows("INSERT INTO characters (id, name) VALUES ('bo', 'Bo')")
        )
        await primary.end("cancel", await primary.waiting())
        await primary.waiting(confirming=True)
        await _settled(alone)
        assert not alone.done()
        primary.reconnect()
        await alone


async def test_a_rare_write_that_no_standby_has_in_time_is_not_known_to_have_happened(
    primary: Primary,
) -> None:
    async with pool.open(primary.database, "test") as connections:

        async def change() -> None:
            async with connections.transaction() as connection:
                await connection.execute("INSERT INTO characters (id, name) VALUES ('cy', 'Cy')")

        primary.cut_off()
        changing = asyncio.create_task(change())
        await primary.end("cancel", await primary.waiting())
        await primary.end("cancel", await primary.waiting(confirming=True))
        with pytest.raises(errors.OutcomeUnknown):
            await changing
        primary.reconnect()


async def test_without_a_warning_nothing_more_is_committed(primary: Primary, start_writer: Start) -> None:
    async with _writing(primary, start_writer, patience_s=60.0) as writer:
        transactions = "SELECT pg_current_xact_id()::text::bigint"
        before = await primary.direct.fetchval(transactions)
        for number in range(5):
            await writer.submit(AppendMessage(HERE, Role.USER, f"plain {number}", ANN))
        assert await primary.direct.fetchval(transactions) == before + 5 + 1  # and the one that asks
