"""Whatever is killed at whatever instant: every acknowledged message is there, once, in order, whole.

Writer processes append to the same conversations under the same node id, one after the other, and are
killed with SIGKILL at random instants. In some trials PostgreSQL, which runs with fsync on, is killed as
well, or some time before. After each the record is compared with what was acknowledged. CCN_WRITER_KILLS
says how many writers there are.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import psutil  # type: ignore[import-untyped]  # the library ships no types
import pytest
from pydantic import SecretStr

from ccn import settings
from ccn.core import ids
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.embedded.postgres import service
from ccn.store.connection import migrate, pool
from ccn.store.conversations import conversations
from ccn.store.writing.writer import Writer
from tests.support import processes

if TYPE_CHECKING:
    from ccn.embedded.postgres.service import EmbeddedPostgres

    Connection = asyncpg.Connection[asyncpg.Record]

PHASES = 2
"""Servers, one after the other on the same data: the pause before a restart doubles from kill to kill."""
KILLS = int(os.environ.get("CCN_WRITER_KILLS", "20"))
TRIALS = KILLS // PHASES
"""Writers in a phase."""
CONVERSATIONS = 5
LONGEST_LIFE_S = 0.25
MOST_HEARD = 40
"""Acknowledgements after which a writer is killed at the latest, however long they take."""
TRIAL_LIMIT_S = 60.0
APPENDER = Path(__file__).with_name("appender.py")
CHECKOUT = Path(__file__).parents[3]


@dataclass
class Trial:
    """One writer process and what it acknowledged: length and name of what has which place."""

    pid: int = 0
    said: dict[tuple[UUID, int], tuple[int, str]] = field(default_factory=dict)
    unknown: int = 0


@dataclass
class Tally:
    """What was acknowledged, what is in the record, and what is wrong with it."""

    writers_killed: int = 0
    servers_killed: int = 0
    acknowledged: int = 0
    durable: int = 0
    unknown: int = 0
    stuck: int = 0
    lost: list[object] = field(default_factory=list)
    doubled: list[object] = field(default_factory=list)
    gaps: list[object] = field(default_factory=list)
    half: list[object] = field(default_factory=list)
    heads: dict[UUID, int] = field(default_factory=dict)
    """How far each conversation was checked."""
    leaf: int = 0
    """How far the leaves were."""

    def line(self) -> str:
        return (
            f"{self.writers_killed} writers and {self.servers_killed} servers killed; acknowledged"
            f" {self.acknowledged}, lost {len(self.lost)}, doubled {len(self.doubled)}, gaps"
            f" {len(self.gaps)}, half there {len(self.half)}; durable but not yet acknowledged"
            f" {self.durable - self.acknowledged}, outcome unknown {self.unknown};"
            f" stuck {self.stuck}"
        )


class Nursery:
    """The process that forks writers, and the pipe on which they tell what was acknowledged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def born(self, trial: Trial, seed: str) -> None:
        await self._ask(f"node-1 {seed}")
        while trial.pid == 0:
            await self.hear(trial)

    def end(self) -> None:
        """The process and all writers it forked."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _ask(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())
        await self._process.stdin.drain()

    async def hear(self, trial: Trial) -> bool:
        """The next line, and whether it is the mark."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line.endswith(b"\n"), "the appender died"
        match line.decode().split():
            case ["born", pid]:
                trial.pid = int(pid)
            case ["said", conversation, seq, length, name]:
                trial.said[UUID(conversation), int(seq)] = int(length), name
            case ["unknown", *_]:
                trial.unknown += 1
            case ["marked"]:
                return True
        return False

    async def wait_for(self, trial: Trial, acknowledged: int) -> None:
        """Hear what a writer acknowledges until it is so much."""
        while len(trial.said) < acknowledged:
            await self.hear(trial)

    async def listen(self, trial: Trial, seconds: float) -> None:
        """Hear what a writer acknowledges until the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.hear(trial)

    async def drain(self, trial: Trial) -> None:
        """Hear what the writer wrote before it was killed: the pipe's content outlives it."""
        while _alive(trial.pid):
            await asyncio.sleep(0.001)
        await self._ask("mark")
        while not await self.hear(trial):
            continue


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own: that becomes private again whenever somebody else begins a run."""
    with tempfile.TemporaryDirectory(prefix="ccn-durability-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.timeout(600)
async def test_no_acknowledged_message_is_ever_lost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = os.environ.get("CCN_TEST_SEED") or secrets.token_hex(4)
    chance = random.Random(seed)
    tally, began = Tally(), time.monotonic()
    where: list[ConversationId] = []
    for phase in range(PHASES):
        async with service.run_postgres(folder, fsync=True) as server:
            where = where or await _prepared(server.url)
            number = 0
            while number < TRIALS:
                async with _nursery(server.url, where) as nursery:
                    number = await _trials(nursery, server, (seed, phase, number), chance, tally)
            await _check_once_more(server.url, tally)
    with capsys.disabled():
        print(f"\ndurability, seed {seed}, {time.monotonic() - began:.0f} s: {tally.line()}")  # noqa: T201 - people want to see it
    assert tally.stuck <= 2
    assert tally.writers_killed >= PHASES * TRIALS - tally.stuck
    assert tally.servers_killed >= PHASES * (TRIALS // 10) - tally.stuck
    assert tally.acknowledged > 10 * KILLS
    assert not [*tally.lost, *tally.doubled, *tally.gaps, *tally.half]


async def _trials(
    nursery: Nursery,
    server: EmbeddedPostgres,
    at: tuple[str, int, int],
    chance: random.Random,
    tally: Tally,
) -> int:
    """One trial after the other, to the last or to one that does not end; the number of the next.

    A writer that is not heard of any more says nothing about what was kept: the trial is checked like all
    others, counted as stuck, and the next one gets a fresh process to fork from.
    """
    seed, phase, first = at
    for number in range(first, TRIALS):
        trial = Trial()
        try:
            async with asyncio.timeout(TRIAL_LIMIT_S):
                await nursery.born(trial, f"{seed}.{phase}.{number}")
                await _endanger(trial, number, nursery, server, chance, tally)
        except TimeoutError:
            tally.stuck += 1
            nursery.end()
            await _check(server.url, trial, tally)
            return number + 1
        await _check(server.url, trial, tally)
    return TRIALS


async def _endanger(
    trial: Trial,
    number: int,
    nursery: Nursery,
    server: EmbeddedPostgres,
    chance: random.Random,
    tally: Tally,
) -> None:
    """Let a writer work for a moment, then kill it; in some trials kill the server first.

    Most are killed soon after some message was acknowledged, and every fourth at any instant, also before.
    """
    if number % 4:
        await nursery.wait_for(trial, chance.randrange(1, MOST_HEARD))
        await nursery.listen(trial, chance.uniform(0, 0.02))
    else:
        await nursery.listen(trial, chance.uniform(0.02, LONGEST_LIFE_S))
    server_too = number % 10 == 9
    if server_too:
        _kill_server(server)
        tally.servers_killed += 1
        if number % 20 == 9:  # the writer survives, and goes on when the server is back
            async with _connected(server.url):
                await nursery.listen(trial, chance.uniform(0.02, LONGEST_LIFE_S))
        else:
            await nursery.listen(trial, chance.uniform(0, 0.01))
    os.kill(trial.pid, signal.SIGKILL)
    tally.writers_killed += 1
    await nursery.drain(trial)


async def _prepared(url: str) -> list[ConversationId]:
    await migrate.apply_pending(url)
    database = settings.DatabaseSettings(url=SecretStr(url))
    writer = Writer(database, NodeId("node-0"), lambda: datetime.now(UTC))
    named = [ConversationId(ids.make_uuid7(1, secrets.token_bytes(10))) for _ in range(CONVERSATIONS)]
    async with pool.open(database, "test") as connections, asyncio.TaskGroup() as tasks:
        await connections.rows("INSERT INTO characters (id, name) VALUES ('ada', 'Ada')")
        tasks.create_task(writer.run())
        for each in named:
            await writer.submit(conversations.BeginConversation(each, CharacterId("ada")))
        writer.stop()
    return named


@asynccontextmanager
async def _nursery(url: str, where: list[ConversationId]) -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(APPENDER),
        url,
        *map(str, where),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=settings.child_environment({"PYTHONPATH": str(CHECKOUT)}),
        start_new_session=True,
        preexec_fn=processes.tied(),
    )
    nursery = Nursery(process)
    try:
        yield nursery
    finally:
        nursery.end()
        await process.wait()


def _kill_server(server: EmbeddedPostgres) -> None:
    """As the out-of-memory killer would: the postmaster and all its children, without a word."""
    postmaster = psutil.Process(server.pid)
    family = [*postmaster.children(recursive=True), postmaster]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.kill()


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def _check(url: str, trial: Trial, tally: Tally) -> None:
    """All that was acknowledged is there as it was said; whatever else is new is whole and in order."""
    async with _connected(url) as connection:
        while await connection.fetchval(_STILL_WRITING):
            await asyncio.sleep(0.002)
        rows = await connection.fetch(_NEW, list(tally.heads), list(tally.heads.values()))
        leaves, leaf = await connection.fetchrow(_LEAVES, tally.leaf) or (0, 0)
        heads = {row["id"]: row["head_seq"] for row in await connection.fetch(_HEADS)}
    found = {(row["conversation_id"], row["seq"]): (row["length"], row["name"]) for row in rows}
    tally.lost += [(place, said) for place, said in trial.said.items() if found.get(place) != said]
    names = Counter((row["conversation_id"], row["name"]) for row in rows)
    tally.doubled += [name for name, times in names.items() if times > 1]
    tally.half += [row for row in rows if not row["whole"]]
    for row in rows:
        at = row["conversation_id"]
        tally.gaps += [row] if row["seq"] != tally.heads.get(at, 0) + 1 or not row["later"] else []
        tally.heads[at] = row["seq"]
    tally.half += [heads] if heads != {each: tally.heads.get(each, 0) for each in heads} else []
    tally.half += [leaf] if leaves != len(rows) or leaf != tally.leaf + leaves else []
    tally.leaf = leaf
    tally.acknowledged += len(trial.said)
    tally.durable += len(rows)
    tally.unknown += trial.unknown


async def _check_once_more(url: str, tally: Tally) -> None:
    """All of the record again: a later crash could take away what an earlier check still saw."""
    again = Tally()
    await _check(url, Trial(), again)
    tally.lost += [f"{tally.durable - again.durable} that were there"] * (again.durable != tally.durable)
    tally.doubled += again.doubled
    tally.gaps += again.gaps
    tally.half += again.half


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    """A connection, as soon as the server is back."""
    until = time.monotonic() + 60
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
            break
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            assert time.monotonic() < until, "the server did not come back"
            await asyncio.sleep(0.01)
    yield connection
    await connection.close()


_STILL_WRITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'ccn/node-1/%')"
_NEW = """
    SELECT m.conversation_id, m.seq, length(m.content) AS length, split_part(m.content, ' ', 1) AS name,
           m.at >= lag(m.at, 1, '-infinity') OVER (PARTITION BY m.conversation_id ORDER BY m.seq) AS later,
           coalesce(l.kind = 'message' AND m.commitment = convert_from(l.body, 'UTF8')::jsonb ->> 'content',
                    false) AS whole
    FROM conversations c LEFT JOIN unnest($1::uuid[], $2::bigint[]) AS checked (id, upto) USING (id)
        CROSS JOIN LATERAL (
            SELECT *, created_at AS at,
                   encode(sha256(convert_to('ccn/content/v1', 'UTF8') || '\\x00'::bytea || salt
                          || int8send(octet_length(content)) || convert_to(content, 'UTF8')), 'hex')
                   AS commitment
            FROM messages WHERE conversation_id = c.id AND seq > coalesce(checked.upto, 0)
        ) m LEFT JOIN leaves l ON l.node_id = m.leaf_node AND l.number = m.leaf_number
    ORDER BY m.conversation_id, m.seq
"""
_LEAVES = """
    SELECT (SELECT count(*) FROM leaves WHERE node_id = 'node-1' AND number > $1),
           (SELECT coalesce(max(head), 0) FROM leaf_sources WHERE node_id = 'node-1')
"""
_HEADS = "SELECT id, head_seq FROM conversations"
