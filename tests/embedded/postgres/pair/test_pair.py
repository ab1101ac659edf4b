"""Two servers that are killed: what was acknowledged is there, and only one of them ever leads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ccn import errors
from ccn.embedded.postgres import control_file
from ccn.embedded.postgres.pair import pair, record
from ccn.embedded.postgres.pair.members import EmbeddedPair, PairMember
from ccn.embedded.postgres.pair.record import FIRST, SECOND, PairRecord
from ccn.embedded.supervision import Backoff

Ask = Callable[[str, str], str]
SOON = Backoff(first_s=0.01)
WRITES = "?target_session_attrs=read-write&"


@asynccontextmanager
async def _pair(data: Path, changes: list[str] | None = None) -> AsyncIterator[EmbeddedPair]:
    """The data of the template are those of the first."""
    if not (data.parent / FIRST).exists():
        data.rename(data.parent / FIRST)
    heard = changes if changes is not None else []
    async with pair.run_pair(data.parent, fsync=False, backoff=SOON, on_change=heard.append) as running:
        await asyncio.wait_for(running.wait_until_in_step(), 60)
        yield running


async def _ask(running: EmbeddedPair, ask: Ask, sql: str) -> str:
    """The answer of the one that leads. Meanwhile the pair is looked after."""
    return await asyncio.to_thread(ask, running.url.replace("?", WRITES), sql)


def _kill(member: PairMember) -> None:
    with suppress(ProcessLookupError):  # it is dead already
        os.kill(member.pid, signal.SIGKILL)


async def _replaced(running: EmbeddedPair, killed: PairMember) -> None:
    """Until somebody leads, with another process than the one that was killed."""
    before = killed.pid
    _kill(killed)
    async with asyncio.timeout(60):
        while running.primary.pid == before or not (
            running.primary.alive and control_file.leads(running.primary.server.where.pgdata)
        ):
            await asyncio.sleep(0.01)


async def test_the_standby_takes_over_and_the_dead_one_comes_back_behind_it(data: Path, ask: Ask) -> None:
    changes: list[str] = []
    async with _pair(data, changes) as running:
        await _ask(running, ask, "CREATE TABLE kept AS SELECT 1 AS number")
        for nth, leads in enumerate((SECOND, FIRST), start=2):
            await _replaced(running, running.primary)
            assert running.record.primary == leads
            await _ask(running, ask, f"INSERT INTO kept VALUES ({nth})")
            await asyncio.wait_for(running.wait_until_in_step(), 60)
        assert (
            await _ask(running, ask, "SELECT string_agg(number::text, ',' ORDER BY number) FROM kept")
            == "1,2,3"
        )
    assert [each for each in changes if "promoted" in each] == [
        f"{FIRST} died, {SECOND} was promoted and leads from now on",
        f"{SECOND} died, {FIRST} was promoted and leads from now on",
    ]
    assert record.read_record(data.parent) == PairRecord(FIRST, in_step=True, failovers=2)


async def test_without_its_standby_the_primary_goes_on_alone_and_nobody_is_promoted_meanwhile(
    data: Path, ask: Ask
) -> None:
    async with _pair(data) as running:
        await _ask(running, ask, "CREATE TABLE kept AS SELECT 1 AS number")
        _kill(running.standby)
        await _ask(running, ask, "INSERT INTO kept VALUES (2)")
        _kill(running.standby)
        await _replaced(running, running.primary)
        assert await _ask(running, ask, "SELECT sum(number) FROM kept") == "3"


async def test_commits_wait_for_the_standby_once_it_is_in_step(data: Path, ask: Ask) -> None:
    async with _pair(data) as running:
        names = await _ask(running, ask, "SHOW synchronous_standby_names")
        assert names == f'ANY 1 ("{SECOND}")'


async def test_the_next_start_goes_on_with_the_one_that_led(data: Path, ask: Ask) -> None:
    async with _pair(data) as running:
        await _replaced(running, running.primary)
        assert running.record.primary == SECOND
        await _ask(running, ask, "CREATE TABLE kept AS SELECT 1 AS number")
    assert record.find_primary_alone(data.parent) == data.parent / SECOND
    assert not record.read_record(data.parent).in_step, "what runs alone leaves the other behind"
    async with _pair(data) as running:
        assert running.record.primary == SECOND
        assert await _ask(running, ask, "SELECT number FROM kept") == "1"


async def test_a_damaged_record_is_no_reason_to_guess(place: Path) -> None:
    assert record.read_record(place) == PairRecord()
    (place / record.RECORD).write_text("{")
    with pytest.raises(errors.DataDirectoryUnusable, match="says which of postgres and postgres-2"):
        record.find_primary_alone(place)
    (place / record.RECORD).write_text(json.dumps({"primary": "other"}))
    with pytest.raises(errors.DataDirectoryUnusable, match="names other"):
        record.read_record(place)


async def test_programs_that_a_standby_needs_are_named(place: Path) -> None:
    with pytest.raises(errors.BinaryMissing, match="CCN_PG_BIN"):
        async with pair.run_pair(place, bin=place):
            pytest.fail("there are no programs")
