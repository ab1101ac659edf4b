"""What was redacted is gone from the disk too, once the database was told to let go of it."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.ids import ConversationId, TurnId
from ccn.embedded.postgres import service
from ccn.store.connection import migrate
from ccn.store.conversations import conversations, search, turns
from ccn.store.upkeep import retention, scrub
from tests.support import databases
from tests.support.cli import commands
from tests.support.speakers import ANN
from tests.support.store.open_store import Store, keeping


@dataclass
class Kept:
    """A store on a server of its own, and the folder with everything the server writes."""

    store: Store
    folder: Path
    url: str

    def found(self, word: str) -> set[str]:
        """In which folders of the server's the word is, in whatever case it is indexed."""
        return {
            str(Path(folder).relative_to(self.folder).parts[0])
            for folder, _, files in os.walk(self.folder)
            for name in files
            if word.lower().encode() in (Path(folder) / name).read_bytes().lower()
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kept() -> AsyncIterator[Kept]:
    with tempfile.TemporaryDirectory(prefix="ccn-scrub-", dir=databases.place()) as made:
        Path(made).chmod(0o755)
        async with service.run_postgres(Path(made) / "postgres", ephemeral=True, fsync=False) as server:
            await migrate.apply_pending(server.url)
            async with keeping(settings.DatabaseSettings(url=SecretStr(server.url))) as store:
                data = str(await store.pool.value("SHOW data_directory"))
                yield Kept(store, Path(data), server.url)


async def _told_and_redacted(store: Store, word: str) -> ConversationId:
    here = await store.conversation(title=f"My days in {word}")
    instance = await store.host(here)
    accept = turns.AcceptTurn(
        TurnId(store.new_id()),
        here,
        f"I lived in {word}",
        ANN,
        instance.epoch,
        idempotency_key=f"about-{word}",
    )
    turn = await store.writer.submit(accept)
    await store.writer.submit(turns.StartTurn(turn, instance.epoch))
    running = await turns.load_turn(store.pool, turn.id)
    told = [turns.TurnEvent(1, "delta", f"{word}!")]
    await store.writer.submit(turns.CommitReply(running, instance.epoch, f"{word}!", instance.id, told))
    await search.index_messages(store.pool)
    await store.pool.rows("ANALYZE")
    await store.pool.rows("CHECKPOINT")
    await store.writer.submit(retention.RedactMessages(here, 1, 2, "ann", "asked"))
    return here


async def test_redacted_words_are_on_the_disk_until_they_are_scrubbed_away(kept: Kept) -> None:
    here = await _told_and_redacted(kept.store, "Zanzibarland")
    await kept.store.pool.rows("CHECKPOINT")
    assert kept.found("Zanzibarland") == {"base", "pg_wal"}
    said = list[str]()
    done = await scrub.scrub_database(kept.url, said.append)
    assert (done.tables, done.left) == (scrub.TABLES, ())
    assert said[0] == "rewriting messages"
    assert kept.found("Zanzibarland") == set()
    assert await kept.store.pool.value("SHOW wal_recycle") == "on"
    page = await conversations.load_history(kept.store.pool, here)  # and the store goes on
    assert [each.content for each in page.messages] == [None, None]
    assert len(await kept.store.say(here, "still there?", epoch=1)) == 1


async def test_rows_that_an_older_transaction_may_see_are_waited_for(kept: Kept) -> None:
    older = await asyncpg.connect(kept.url, server_settings={"application_name": "an old report"})
    await older.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await older.fetchval("SELECT 1")
    await _told_and_redacted(kept.store, "Atlantis")
    with pytest.raises(errors.Conflict, match="an old report"):
        await scrub.scrub_database(kept.url, patience_s=0.1)
    scrubbing = asyncio.create_task(scrub.scrub_database(kept.url))
    await older.close()
    assert (await scrubbing).left == ()
    assert kept.found("Atlantis") == set()


async def test_an_owner_that_may_do_less_is_told_what_is_left(kept: Kept) -> None:
    await kept.store.pool.rows("CREATE ROLE small LOGIN PASSWORD 'small'")
    await kept.store.pool.rows("CREATE DATABASE small OWNER small TEMPLATE template0")
    _, _, place = databases.named(kept.url, "small").partition("@")
    url = f"postgresql://small:small@{place}"
    await migrate.apply_pending(url)
    done = await scrub.scrub_database(url)
    assert [each.partition(":")[0] for each in done.left] == [
        f"statistics of {', '.join(scrub.TABLES)}",
        "the write-ahead log",
    ]
    await kept.store.pool.rows("ALTER DATABASE small OWNER TO ccn")
    done = await scrub.scrub_database(url)
    assert [each.partition(":")[0] for each in done.left] == ["statistics", "the write-ahead log"]
    with pytest.raises(errors.NotAllowed, match="owns the tables"):
        await scrub.scrub_database(databases.named(url, "ccn"))


async def test_the_command_says_what_was_done_and_what_is_left_to_do(kept: Kept) -> None:
    here = await _told_and_redacted(kept.store, "Lemuria")
    scrubbed = ("record", "scrub", "--database-url", kept.url)
    done = await asyncio.to_thread(commands.run, *scrubbed, env=commands.environment())
    assert done.returncode == 0, done.stderr
    assert "rewriting messages" in done.stderr
    assert "Backups, archived write-ahead log and replicas hold them too" in done.stdout
    told = await asyncio.to_thread(commands.run, *scrubbed, "--json", env=commands.environment())
    assert json.loads(told.stdout) == {"scrubbed": list(scrub.TABLES), "left": []}
    assert kept.found("Lemuria") == set()
    assert (await conversations.load_conversation(kept.store.pool, here)).title == ""
