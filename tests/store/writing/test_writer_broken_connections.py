"""The connection breaks before, during and after a commit: acknowledged exactly once, and never guessed.

Between the writer and the server stands a line that tests cut: on the way there, so that the server never
sees a statement, or on the way back, so that it commits and nobody hears of it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.ids import CharacterId, ConversationId, TurnId
from ccn.core.message import Message, Role
from ccn.embedded.postgres import service
from ccn.store.connection import migrate, pool
from ccn.store.conversations import conversations, turns
from ccn.store.conversations.conversations import AppendMessage, BeginConversation
from ccn.store.writing.writer import Writer
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Start = Callable[..., AbstractAsyncContextManager[Writer]]


@dataclass
class Wire:
    """A line to the server, and where it will be cut."""

    host: str
    port: int
    cut_there: bool = False
    """The next bytes for the server do not arrive; the line breaks instead."""
    cut_back: bool = False
    """The server's next answer does not arrive; the line breaks instead."""
    dead: bool = False
    """Nobody gets through any more."""
    cuts: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def hang_up(self) -> None:
        """Break all lines that are open now."""
        for each in self._open:
            each.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.dead:
            writer.close()
            return
        there, back = await asyncio.open_connection(self.host, self.port)
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, back, "cut_there"))
                tasks.create_task(self._carry(there, writer, "cut_back"))
        finally:
            self._open -= {writer, back}

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, cut: str) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                if getattr(self, cut):
                    setattr(self, cut, False)
                    self.cuts += 1
                    self.hang_up()
                    return
                to.write(data)
                await to.drain()
        with suppress(OSError):
            to.close()


@dataclass
class Line:
    """A writer behind a wire, and the store beside it."""

    wire: Wire
    writer: Writer
    store: Store
    here: ConversationId

    async def say(self, words: str) -> Message:
        return await self.writer.submit(AppendMessage(self.here, Role.USER, words, ANN))

    async def said(self) -> list[str | None]:
        page = await conversations.load_history(self.store.pool, self.here, limit=1000)
        assert [each.seq for each in page.messages] == list(range(1, len(page.messages) + 1))
        return [each.content for each in page.messages]


@pytest_asyncio.fixture(loop_scope="session")
async def line(shared: Store, start_writer: Start) -> AsyncIterator[Line]:
    """A writer that goes on trying for longer than any test cuts its line."""
    async with _lined(shared, start_writer, patience_s=30.0) as held:
        yield held


@pytest_asyncio.fixture(loop_scope="session")
async def hasty(shared: Store, start_writer: Start) -> AsyncIterator[Line]:
    """A writer that gives up soon."""
    async with _lined(shared, start_writer, patience_s=2.0) as held:
        yield held


@asynccontextmanager
async def _lined(shared: Store, start_writer: Start, patience_s: float) -> AsyncIterator[Line]:
    """A writer that remembers what it said, so that the next round trip is the commit itself."""
    url = urlsplit(shared.database.url.get_secret_value())
    wire = Wire(url.hostname or "", url.port or 0)
    server = await asyncio.start_server(wire.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    behind = url._replace(netloc=url.netloc.rpartition(":")[0] + f":{port}").geturl()
    database = shared.database.model_copy(
        update={"url": SecretStr(behind), "statement_timeout_s": patience_s}
    )
    here = await shared.conversation()
    async with start_writer(database, shared.clock, "far-node") as writer:
        held = Line(wire, writer, shared, here)
        await held.say("first")
        yield held
        wire.hang_up()
    server.close()


async def test_a_statement_that_never_arrived_is_sent_again(line: Line) -> None:
    line.wire.cut_there = True
    assert (await line.say("second")).seq == 2
    assert line.wire.cuts == 1
    assert await line.said() == ["first", "second"]


async def test_a_commit_whose_answer_was_swallowed_is_found_in_the_ledger(line: Line) -> None:
    line.wire.cut_back = True
    assert (await line.say("second")).seq == 2
    assert line.wire.cuts == 1
    assert await line.said() == ["first", "second"]
    assert (await line.say("third")).seq == 3


@pytest.mark.parametrize("way", ["cut_there", "cut_back"])
async def test_many_callers_hear_once_what_became_of_a_commit_that_broke(line: Line, way: str) -> None:
    callers = [asyncio.create_task(line.say(f"n {number}")) for number in range(40)]
    for _ in range(5):
        setattr(line.wire, way, True)
        await asyncio.sleep(0.01)
    said = await asyncio.gather(*callers)
    assert sorted(each.seq for each in said) == list(range(2, 42))
    assert sorted((each.seq, each.content) for each in said) == list(enumerate(await line.said(), 1))[1:]
    assert line.wire.cuts >= 1


async def test_a_guilty_write_is_found_even_if_the_line_breaks_meanwhile(line: Line) -> None:
    line.wire.cut_back = True
    outcomes = await asyncio.gather(
        line.say("second"),
        line.writer.submit(BeginConversation(line.store.new_id(), CharacterId("nobody"))),
        line.say("third"),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [Message, errors.NotFound, Message]
    assert await line.said() == ["first", "second", "third"]


async def test_the_outcome_is_unknown_only_if_nobody_can_look(hasty: Line) -> None:
    hasty.wire.cut_back = hasty.wire.dead = True
    with pytest.raises(errors.OutcomeUnknown):
        await hasty.say("second")
    assert await hasty.said() == ["first", "second"]
    hasty.wire.dead = False
    assert (await hasty.say("third")).seq == 3


async def test_what_was_never_sent_is_known_not_to_have_happened(hasty: Line) -> None:
    hasty.wire.dead = True
    hasty.wire.hang_up()
    while (open_ := hasty.writer._commits._connection._connection) is not None and not open_.is_closed():
        await asyncio.sleep(0.01)  # until the writer's own end of the line has noticed
    with pytest.raises(errors.DatabaseUnavailable):
        await hasty.say("second")
    assert await hasty.said() == ["first"]
    hasty.wire.dead = False
    assert (await hasty.say("third")).seq == 2


async def test_what_leaves_no_leaf_is_unknown_at_once_rather_than_done_twice(line: Line) -> None:
    instance = await line.store.host(line.here, line.writer)
    accept = turns.AcceptTurn(TurnId(line.store.new_id()), line.here, "go on", ANN, instance.epoch)
    accepted = await line.writer.submit(accept)
    line.wire.cut_back = True
    with pytest.raises(errors.OutcomeUnknown):
        await line.writer.submit(turns.StartTurn(accepted, instance.epoch))
    assert (await turns.load_turn(line.store.pool, accepted.id)).attempt <= 1


async def test_a_key_makes_an_unknown_outcome_safe_to_repeat(line: Line) -> None:
    append = AppendMessage(line.here, Role.USER, "second", ANN, idempotency_key="k")
    line.wire.cut_back = True
    await line.writer.submit(append)
    line.wire.cut_there = True
    assert (await line.writer.submit(append)).seq == 2
    assert await line.said() == ["first", "second"]


TERMINATE = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name LIKE $1 AND datname = current_database()
"""


async def test_backends_terminated_while_idle_cost_nothing(shared: Store) -> None:
    here = await shared.conversation()
    for number in range(3):
        assert await shared.pool.value(TERMINATE, "ccn/node-1/%") > 0
        assert (await shared.writer.submit(AppendMessage(here, Role.USER, "again", ANN))).seq == number + 1


async def test_backends_terminated_again_and_again_double_and_lose_nothing(
    shared: Store,
) -> None:
    here, there = await shared.conversation(), await shared.conversation()
    done, told = asyncio.Event(), asyncio.Event()

    async def talk(caller: int) -> list[Message]:
        said: list[Message] = []
        while not done.is_set():
            append = AppendMessage((here, there)[len(said) % 2], Role.USER, f"{caller} {len(said)}", ANN)
            said.append(await shared.writer.submit(append))
            told.set()
        return said

    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(talk(caller)) for caller in range(16)]
        for _ in range(6):
            told.clear()
            await told.wait()
            await asyncio.sleep(0.1)
            while await shared.pool.value(TERMINATE, "ccn/node-1/%") == 0:
                await asyncio.sleep(0.01)  # until the writer has a connection again
        done.set()
    said = [each for caller in callers for each in caller.result()]
    for conversation in (here, there):
        acknowledged = sorted((m.seq, m.content) for m in said if m.conversation == conversation)
        there_is = await shared.pool.rows(
            "SELECT seq, content FROM messages WHERE conversation_id = $1 ORDER BY seq", conversation
        )
        assert acknowledged == [tuple(row) for row in there_is]
        assert [seq for seq, _ in acknowledged] == list(range(1, len(acknowledged) + 1))


async def test_a_server_that_restarts_under_load_is_waited_for(start_writer: Start) -> None:
    with tempfile.TemporaryDirectory(prefix="ccn-restart-") as made:
        Path(made).chmod(0o755)
        async with service.run_postgres(Path(made), ephemeral=True, fsync=False) as server:
            await migrate.apply_pending(server.url)
            await _talk_through_a_restart(server, start_writer)


async def _talk_through_a_restart(server: service.EmbeddedPostgres, start_writer: Start) -> None:
    database = settings.DatabaseSettings(url=SecretStr(server.url))
    async with pool.open(database, "test") as connections:
        await connections.rows("INSERT INTO characters (id, name) VALUES ('ada', 'Ada')")
    async with start_writer(database, lambda: datetime.now(UTC)) as writer, asyncio.TaskGroup() as tasks:
        here = ConversationId(UUID(int=7))
        await writer.submit(BeginConversation(here, CharacterId("ada")))
        callers = [tasks.create_task(_count(writer, here, f"{caller}")) for caller in range(8)]
        await asyncio.sleep(0.1)
        os.kill(server.pid, signal.SIGINT)
    said = sorted(name for each in callers for name in each.result())
    async with pool.open(database, "test") as connections:
        page = await conversations.load_history(connections, here, limit=1000)
    assert sorted(each.content or "" for each in page.messages) == said
    assert len(said) == 8 * 60


async def _count(writer: Writer, here: ConversationId, caller: str) -> list[str]:
    names = [f"{caller} {number}" for number in range(60)]
    for name in names:
        await writer.submit(AppendMessage(here, Role.USER, name, ANN))
        await asyncio.sleep(0.002)
    return names
