"""A reader of a replica never sees less than anybody was told to be durable, whatever befalls the replica.

A real primary and a real standby, shared by the file, which starts both once. The last test promotes the
standby, so no test comes after it.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import metrics, settings
from ccn.cli import verify
from ccn.cli.commands import record
from ccn.core.ids import ConversationId, NodeId
from ccn.core.message import Role
from ccn.embedded import scratch
from ccn.node.rounds.voter_news import HeardNews
from ccn.service import served_gateway
from ccn.store.connection import roles
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations, search
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.replicas.reads import ReplicaReads
from ccn.store.rounds import export
from ccn.store.upkeep.retention import RedactMessages
from tests.cli.conftest import ADA, new_id
from tests.support import databases
from tests.support.gateway import http_door
from tests.support.node import node_world
from tests.support.speakers import ANN
from tests.support.store import replica_pair
from tests.support.store.replica_pair import PATIENT_S, ReplicaPair, name_server, probe_until


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair() -> AsyncIterator[ReplicaPair]:
    with scratch.scratch_folder("test-replicas", databases.place()) as folder:
        Path(folder).chmod(0o755)
        async with replica_pair.run_pair(folder) as made:
            yield made


async def begin(pair: ReplicaPair) -> ConversationId:
    here = ConversationId(new_id())
    await pair.world.writer.submit(conversations.BeginConversation(here, ADA))
    return here


async def say(pair: ReplicaPair, here: ConversationId, words: str) -> None:
    await pair.world.writer.submit(AppendMessage(here, Role.USER, words, ANN))


async def read_history(reads: ReplicaReads, here: ConversationId) -> tuple[str, list[str | None]]:
    """Who answered, and the words of the conversation."""

    async def work(connections: Pool) -> tuple[str, list[str | None]]:
        page = await conversations.load_history(connections, here)
        return await name_server(connections), [each.content for each in page.messages]

    return await reads.read(work)


@contextmanager
def count_outcome(outcome: str, times: int) -> Iterator[None]:
    before = outcomes().get(outcome, 0)
    yield
    assert outcomes().get(outcome, 0) - before == times


def outcomes() -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in metrics.series.registry.collect()
        if family.name == "ccn_replica_reads"
        for sample in family.samples
        if sample.name == "ccn_replica_reads_total"
    }


async def test_what_was_just_written_is_read_from_the_replica(pair: ReplicaPair) -> None:
    here, said = await begin(pair), list[str | None]()
    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        with count_outcome("replica", 30):
            for number in range(30):
                said.append(f"word {number}")
                await say(pair, here, f"word {number}")
                assert await read_history(reads, here) == ("copy", said)


async def test_many_readers_at_once_ask_the_primary_a_few_times(pair: ReplicaPair) -> None:
    here = await begin(pair)
    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        await say(pair, here, "one for all")
        statements = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        await pair.world.pool.value("SELECT pg_stat_force_next_flush()")
        before = await pair.world.pool.value(statements)
        found = await asyncio.gather(*(read_history(reads, here) for _ in range(40)))
        await pair.world.pool.value("SELECT pg_stat_force_next_flush()")
        asked = await pair.world.pool.value(statements) - before
    assert found == [("copy", ["one for all"])] * 40
    assert asked < 20


async def test_while_the_replica_is_behind_a_reader_sees_its_own_words_on_the_primary(
    pair: ReplicaPair,
) -> None:
    here = await begin(pair)
    async with pair.open_reads() as reads:
        async with pair.hold_replay():
            await say(pair, here, "already here?")
            with count_outcome("late", 1):
                assert await read_history(reads, here) == ("primary", ["already here?"])
        await probe_until(reads.replicas, reads.replicas.is_any_fit)


async def test_what_was_redacted_comes_back_from_no_late_replica(pair: ReplicaPair) -> None:
    here = await begin(pair)
    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        await say(pair, here, "qwxrtz")
        assert await read_history(reads, here) == ("copy", ["qwxrtz"])
        reads.replicas.wait_s = 0.02
        async with pair.hold_replay():
            await pair.world.writer.submit(RedactMessages(here, 1, 1, "ann", "asked by its owner"))
            seen = "SELECT content FROM messages WHERE conversation_id = $1"
            assert await read_history(reads, here) == ("primary", [None])
            assert not await reads.read(
                lambda each: search.find_messages(each, "qwxrtz", conversation=here)
            )
            assert (await pair.on_copy(seen.replace("$1", f"'{here}'"))) == "qwxrtz", "it was there to read"


async def test_a_replica_beyond_the_bound_is_not_asked_until_it_has_caught_up(pair: ReplicaPair) -> None:
    here = await begin(pair)
    async with pair.open_reads(replica_lag_s=0.2, replica_wait_s=PATIENT_S) as reads:
        async with pair.hold_replay():
            await say(pair, here, "first")
            await probe_until(reads.replicas, lambda: not reads.replicas.is_any_fit())
            (standing,) = reads.replicas.list_standings()
            assert standing.unfit == "is more than 0.2 s behind"
            assert (standing.lag_s or 0) > 0.2
            with count_outcome("none", 1):
                assert await read_history(reads, here) == ("primary", ["first"])
        await probe_until(reads.replicas, reads.replicas.is_any_fit)
        assert reads.replicas.list_standings()[0].lag_s == 0
        assert await read_history(reads, here) == ("copy", ["first"])


async def test_an_idle_primary_makes_no_replica_late(pair: ReplicaPair) -> None:
    async with pair.open_reads(replica_lag_s=0.2, replica_wait_s=PATIENT_S) as reads:
        assert await reads.read(name_server) == "copy"
        await asyncio.sleep(0.4)
        await reads.replicas.probe_all()
        assert reads.replicas.list_standings()[0].lag_s == 0


async def test_a_read_that_the_log_cancels_is_done_on_the_primary_once(pair: ReplicaPair) -> None:
    await pair.world.pool.rows("CREATE TABLE kept AS SELECT 1 AS number")
    await pair.on_copy("ALTER SYSTEM SET max_standby_streaming_delay = '10ms'")
    await pair.on_copy("SELECT pg_reload_conf()")
    tried = list[str]()

    async def work(connections: Pool) -> object:
        tried.append(await name_server(connections))
        if tried[-1] == "primary":
            return await connections.value("SELECT sum(number) FROM kept")
        reading = asyncio.create_task(connections.value("SELECT sum(number), pg_sleep(30) FROM kept"))
        while not await pair.on_copy("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            await asyncio.sleep(0.005)
        await pair.world.pool.rows("ALTER TABLE kept ADD COLUMN more int")
        return await reading

    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        with count_outcome("conflict", 1):
            assert await reads.read(work) == 1
        assert tried == ["copy", "primary"]
        assert reads.replicas.is_any_fit(), "it does well otherwise"


async def test_search_finds_on_the_replica_what_was_just_said(pair: ReplicaPair) -> None:
    here = await begin(pair)
    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        with count_outcome("replica", 2):
            await say(pair, here, "the lighthouse of Ar-Men")
            for _ in range(2):  # without a document, and with one
                hits = await reads.read(
                    lambda each: search.find_messages(each, "lighthouse", conversation=here)
                )
                assert [hit.seq for hit in hits] == [1]
                await search.index_messages(pair.world.pool)


async def test_an_export_from_the_replica_is_whole_and_verifies(pair: ReplicaPair) -> None:
    async def write(connections: Pool) -> tuple[str, bytes]:
        file = io.BytesIO()
        await export.export_record(connections, file)
        return await name_server(connections), file.getvalue()

    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        answered, written = await reads.read(write)
    assert (answered, written) == ("copy", (await write(pair.world.pool))[1])
    found = verify.verify(io.BytesIO(written))
    assert (found.code, found.findings.contradictions, found.chain.height) == (verify.VERIFIED, [], 4)


async def test_the_command_exports_from_the_replica_that_the_settings_name(
    pair: ReplicaPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCN_DATABASE_REPLICA_URL", pair.copy.url)
    monkeypatch.setenv("CCN_DATABASE_REPLICA_WAIT_S", f"{PATIENT_S}")
    file = tmp_path / "record"
    with count_outcome("replica", 1):
        await record.export_record(pair.world.pool, file)
    with file.open("rb") as written:
        assert verify.verify(written).code == verify.VERIFIED


async def test_a_door_answers_from_the_replica_and_says_so(pair: ReplicaPair) -> None:
    world = await node_world.found_world(pair.empty)
    async with world.node("node-1") as node, http_door.door(node) as door:
        key = await http_door.key(node)
        async with door.client(key) as client:
            begun = await client.post("/api/v1/conversation/start", json={"character": "ada"})
            here = f"/api/v1/conversation/{begun.json()['session_id']}"
            await client.post(f"{here}/messages", json={"content": "a lighthouse"})
            with count_outcome("replica", 4):
                said = (await client.get(f"{here}/messages")).json()["messages"]
                found = (await client.get("/api/v1/search?q=lighthouse")).json()["found"]
                listed = (await client.get("/api/v1/conversations")).json()["conversations"]
                shown = (await client.get(here)).json()
    assert said[0]["content"] == "a lighthouse"
    assert 1 in [hit["seq"] for hit in found]
    assert [each["opening"] for each in listed] == ["a lighthouse"]
    assert shown["session_id"] == begun.json()["session_id"]


async def test_a_gateway_answers_from_the_replica_under_its_role_and_misses_nothing(
    pair: ReplicaPair,
) -> None:
    """What a gateway consists of, opened as its process does; its role may read and nothing else."""
    primary = pair.database.url.get_secret_value()
    await roles.grant_roles(primary, {roles.GATEWAY: "read"})
    named = {"url": _as_gateway(primary), "replica_url": _as_gateway(pair.copy.url)}
    chosen = settings.Settings(
        node=settings.NodeSettings(id="gateway-1"),
        database=pair.database.model_copy(update={**named, "replica_wait_s": PATIENT_S}),
        etcd=settings.EtcdSettings(endpoints=("http://127.0.0.1:1",)),
    )
    here, fence = await begin(pair), Fence(NodeId("gateway-1"))
    async with served_gateway.open_gateway(chosen, asyncio.Event(), HeardNews(), fence) as gateway:
        with count_outcome("replica", 10):
            for number in range(1, 11):
                await say(pair, here, f"number {number}")
                server, said = await read_history(gateway.behind.reading.history, here)
                assert (server, len(said)) == ("copy", number)


def _as_gateway(url: str) -> SecretStr:
    at = urlsplit(url)
    return SecretStr(at._replace(netloc=f"{roles.GATEWAY}:read@{at.netloc.rpartition('@')[2]}").geturl())


async def test_another_cluster_s_database_is_refused(pair: ReplicaPair, plain_server: str) -> None:
    here = await begin(pair)
    await say(pair, here, "mine")
    async with pair.open_reads(replica_url=SecretStr(plain_server)) as reads:
        (standing,) = reads.replicas.list_standings()
        assert standing.unfit == "is another database: its system identifier is not that of the primary"
        assert await read_history(reads, here) == ("primary", ["mine"])


async def test_of_two_replicas_the_one_that_is_there_answers(pair: ReplicaPair, plain_server: str) -> None:
    both = pair.copy.url.replace("@", f"@{plain_server.rpartition('@')[2].partition('/')[0]},")
    async with pair.open_reads(replica_url=SecretStr(both), replica_wait_s=PATIENT_S) as reads:
        assert [bool(each.unfit) for each in reads.replicas.list_standings()] == [True, False]
        assert await reads.read(name_server) == "copy"


async def test_the_primary_itself_is_no_replica(pair: ReplicaPair) -> None:
    async with pair.open_reads(replica_url=pair.database.url) as reads:
        assert reads.replicas.list_standings()[0].unfit.startswith("follows no primary any more")


async def test_without_replicas_the_primary_answers_and_nothing_is_counted(pair: ReplicaPair) -> None:
    before = outcomes()
    async with replica_pair.open_reads(pair.database, pair.world.pool) as reads:
        assert await reads.read(name_server) == "primary"
    assert outcomes() == before


async def test_killed_under_a_read_the_primary_answers_and_it_is_used_again_when_it_is_back(
    pair: ReplicaPair,
) -> None:
    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        tried = list[str]()

        async def work(connections: Pool) -> object:
            tried.append(await name_server(connections))
            if tried[-1] == "copy":
                os.kill(pair.copy.pid, signal.SIGKILL)
                return await connections.value("SELECT pg_sleep(30)")
            return "answered"

        with count_outcome("lost", 1):
            assert await reads.read(work) == "answered"
        assert tried == ["copy", "primary"]
        with count_outcome("none", 1):
            assert await reads.read(name_server) == "primary"
        await probe_until(reads.replicas, reads.replicas.is_any_fit)
        assert await reads.read(name_server) == "copy"


async def test_promoted_it_answers_no_more_from_the_next_read_on(pair: ReplicaPair) -> None:
    here = await begin(pair)
    async with pair.open_reads(replica_wait_s=PATIENT_S) as reads:
        await say(pair, here, "before")
        assert await read_history(reads, here) == ("copy", ["before"])
        await pair.copy.promote()
        await pair.on_copy(f"UPDATE conversations SET title = 'astray' WHERE id = '{here}'")
        with count_outcome("replica", 0):
            assert await read_history(reads, here) == ("primary", ["before"])
        await reads.replicas.probe_all()
        assert reads.replicas.list_standings()[0].unfit.startswith("follows no primary any more")
