"""A standby beside an embedded PostgreSQL: it follows, takes over, and comes back to follow."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from ccn import errors
from ccn.embedded.postgres import service, standby
from ccn.embedded.postgres.replication import ServerReplication
from ccn.embedded.supervision import Backoff, ChildEvent, ChildStarted

Ask = Callable[[str, str], str]
Until = Callable[[Callable[[], bool]], Any]
SOON = Backoff(first_s=0.01)
STREAMS = "SELECT state, sync_state FROM pg_stat_replication"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def _leads() -> ServerReplication:
    return ServerReplication(standbys=(standby.NAME,))


async def test_it_has_what_is_committed_and_takes_no_writes(data: Path, ask: Ask, until: Until) -> None:
    other = data.parent / 'it\'s "another"'
    async with service.run_postgres(data, fsync=False, replication=_leads()) as primary:
        ask(primary.url, "CREATE TABLE kept AS SELECT 1 AS number")
        async with standby.run_standby(primary, other, fsync=False) as copy:
            await until(lambda: ask(primary.url, STREAMS) == "streaming|async")
            ask(primary.url, "INSERT INTO kept VALUES (2)")
            await until(lambda: ask(copy.url, "SELECT sum(number) FROM kept") == "3")
            with pytest.raises(AssertionError, match="read-only transaction"):
                ask(copy.url, "INSERT INTO kept VALUES (3)")
            assert stat.S_IMODE((other / "passfile").stat().st_mode) == 0o600
            assert (other / "password").read_text() == (data / "password").read_text()
            assert (data / "password").read_text().strip() not in (other / "ccn.conf").read_text()


async def test_a_commit_waits_for_it_where_it_is_synchronous(data: Path, ask: Ask, until: Until) -> None:
    async with (
        service.run_postgres(data, fsync=False, replication=_leads()) as primary,
        standby.run_standby(primary, data.parent / "other", fsync=False) as copy,
    ):
        await until(lambda: ask(primary.url, STREAMS) == "streaming|async")
        primary.server.replication.synchronous = True
        primary.server.reload_settings(primary.pid)
        await until(lambda: ask(primary.url, STREAMS) == "streaming|quorum")
        receiver = _find_receiver(copy.pid)
        receiver.suspend()
        command: list[str | Path] = [
            copy.server.programs.bin / "psql",
            "-c",
            "CREATE TABLE waits AS SELECT 1",
            primary.url,
        ]
        writing = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        await until(lambda: ask(primary.url, WAITS) == "1")
        assert writing.poll() is None
        receiver.resume()
        assert writing.wait(60) == 0


async def test_killed_it_comes_back_and_catches_up(data: Path, ask: Ask, until: Until) -> None:
    events: list[ChildEvent] = []
    async with service.run_postgres(data, fsync=False, replication=_leads()) as primary:
        following = standby.run_standby(
            primary, data.parent / "other", fsync=False, backoff=SOON, on_event=events.append
        )
        async with following as copy:
            os.kill(copy.pid, signal.SIGKILL)
            ask(primary.url, "CREATE TABLE kept AS SELECT 7 AS number")
            await until(lambda: sum(isinstance(event, ChildStarted) for event in events) == 2)
            await until(lambda: ask(copy.url, "SELECT to_regclass('kept')") == "kept")
            assert ask(copy.url, "SELECT number FROM kept") == "7"


async def test_promoted_it_takes_writes_and_the_other_comes_back_without_what_it_never_had(
    data: Path, ask: Ask, until: Until
) -> None:
    other = data.parent / "other"
    async with service.run_postgres(data, fsync=False, replication=_leads()) as primary:
        ask(primary.url, "CREATE TABLE kept AS SELECT 1 AS number")
        async with standby.run_standby(primary, other, fsync=False) as copy:
            await until(lambda: ask(primary.url, STREAMS) == "streaming|async")
            await until(lambda: ask(copy.url, "SELECT to_regclass('kept')") == "kept")
            await copy.promote()
            ask(copy.url, "INSERT INTO kept VALUES (2)")
            ask(primary.url, "INSERT INTO kept VALUES (100)")  # what two primaries do
    async with service.run_postgres(other, fsync=False, replication=_leads()) as primary:
        ask(primary.url, "INSERT INTO kept VALUES (3)")
        async with standby.run_standby(primary, data, fsync=False) as copy:
            await until(lambda: ask(copy.url, "SELECT count(*) FROM kept") == "3")
            assert ask(copy.url, "SELECT sum(number), pg_is_in_recovery() FROM kept") == "6|t"
    assert "Done!" in (data / "copy.log").read_text(), "rewound, not copied as a whole"


async def test_one_that_was_away_too_long_is_copied_anew(data: Path, ask: Ask, until: Until) -> None:
    other = data.parent / "other"
    async with service.run_postgres(data, fsync=False) as primary:  # it keeps no log for anybody
        async with standby.run_standby(primary, other, fsync=False):
            pass
        for _ in range(3):
            ask(primary.url, "SELECT pg_logical_emit_message(true, 'ccn', ''), pg_switch_wal()")
        ask(primary.url, "CREATE TABLE kept AS SELECT 5 AS number")
        ask(primary.url, "CHECKPOINT")
        async with standby.run_standby(primary, other, fsync=False, backoff=SOON) as copy:
            before = copy.pid
            await until(lambda: copy.pid != before)
            await until(lambda: ask(primary.url, STREAMS) == "streaming|async")
            await until(lambda: ask(copy.url, "SELECT to_regclass('kept')") == "kept")


async def test_data_that_a_killed_rewind_left_are_copied_anew(data: Path, ask: Ask) -> None:
    other = data.parent / "other"
    async with service.run_postgres(data, fsync=False, replication=_leads()) as primary:
        async with standby.run_standby(primary, other, fsync=False):
            pass
        (other / "pgdata" / "pg_filenode.map").unlink(missing_ok=True)
        (other / "pgdata" / "global" / "pg_filenode.map").unlink()
        (other / "rewinding").touch()
        async with standby.run_standby(primary, other, fsync=False) as copy:
            assert ask(copy.url, "SELECT pg_is_in_recovery()") == "t"
        assert not (other / "rewinding").exists()


async def test_an_ephemeral_one_leaves_nothing(data: Path) -> None:
    other = data.parent / "other"
    async with service.run_postgres(data, fsync=False, replication=_leads()) as primary:
        async with standby.run_standby(primary, other, ephemeral=True, fsync=False):
            assert other.is_dir()
        assert not other.exists()


async def test_without_a_server_to_copy_it_says_which_and_why(data: Path) -> None:
    async with service.run_postgres(data, fsync=False) as primary:
        pass
    with pytest.raises(
        errors.EmbeddedFailed, match=rf"(?s)port {primary.port} could not be copied.*refused"
    ):
        async with standby.run_standby(primary, data.parent / "other", fsync=False):
            pytest.fail("there was nothing to follow")


def _find_receiver(postmaster: int) -> psutil.Process:
    """The process that takes in the log, of the server with this pid."""
    family = psutil.Process(postmaster).children()
    return next(each for each in family if "walreceiver" in " ".join(each.cmdline()))
