"""Two embedded PostgreSQL servers side by side: a primary, and a standby that takes over when it dies.

    async with pair.run_pair(folder) as database:
        ... connect to database.url, which names both hosts ...

    the primary dies, the other is in step     the other is promoted; the dead one comes back behind it
    the standby dies                           the primary goes on alone, once it is written down that the
                                               standby is not in step; back again, it catches up
    both die                                   the primary comes back as such

Commits wait for the standby while it is in step, so it has all that was acknowledged. Both servers are
children of this process, which is the only one that promotes: when it does, the other has ended for
certain, its last process included. The order of every change is the same: what would be wrong to believe
after a crash is taken back on the disk first.

Separate from `standby`, which knows how one server follows another. Here it is decided who leads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ccn import errors
from ccn.embedded import ports
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.postgres import ephemeral as mayfly
from ccn.embedded.postgres import layout, replication, service, sockets, standby
from ccn.embedded.postgres.layout import DataLayout
from ccn.embedded.postgres.pair import decisions
from ccn.embedded.postgres.pair import record as pair_record
from ccn.embedded.postgres.pair.members import EmbeddedPair, PairMember
from ccn.embedded.postgres.pair.record import FIRST, SECOND
from ccn.embedded.postgres.server import PostgresServer
from ccn.embedded.supervision import (
    USUAL,
    Backoff,
    ChildEvent,
    ChildExited,
    ChildStarted,
    SupervisedChild,
)

_PROGRAMS = ("pg_basebackup", "pg_rewind", "psql")


@asynccontextmanager
async def run_pair(
    place: Path,
    *,
    bin: Path | None = None,  # noqa: A002 - the name of the setting
    ephemeral: bool = False,
    fsync: bool = True,
    synchronous: bool = True,
    backoff: Backoff = USUAL,
    on_event: Callable[[ChildEvent], None] = lambda _: None,
    on_change: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[EmbeddedPair]:
    """Run both below `place` until the block ends.

    `on_change` is told in words who leads from now on. Without `synchronous` no commit waits for the
    standby, and a promotion can lose what was acknowledged: that is for showing that nodes notice.
    """
    async with AsyncExitStack() as stack:
        record = pair_record.read_record(place)
        wheres = [await _open_folder(stack, place / name, ephemeral) for name in (FIRST, SECOND)]
        where = wheres[0 if record.primary == FIRST else 1]
        programs = await asyncio.to_thread(service.find_programs, where, bin)
        _check_programs(programs)
        password = await service.prepare_data(where, programs)
        node_password = layout.ensure_password(where.node_password)
        for each in wheres:
            _share_passwords(each, where, password)
        listening = [stack.enter_context(sockets.socket_folder(each)) for each in wheres]

        @asynccontextmanager
        async def serve_ports(*chosen: int) -> AsyncIterator[EmbeddedPair]:
            members = {
                name: PairMember(name, PostgresServer(each, programs, port, socket, fsync))
                for name, each, port, socket in zip((FIRST, SECOND), wheres, chosen, listening, strict=True)
            }
            pair = EmbeddedPair(place, members, record, password, node_password, synchronous, on_change)
            pair.write_record(replace(record, in_step=False))
            async with AsyncExitStack() as running:
                for member in (pair.primary, pair.standby):
                    member.supervised = await running.enter_async_context(
                        _supervise_member(pair, member, backoff, on_event)
                    )
                yield pair

        pair = await ports.serve_on_free_ports(stack, 2, serve_ports)
        await stack.enter_async_context(_in_background(decisions.govern_pair(pair), "govern the pair"))
        yield pair


@asynccontextmanager
async def _supervise_member(
    pair: EmbeddedPair, member: PairMember, backoff: Backoff, on_event: Callable[[ChildEvent], None]
) -> AsyncIterator[SupervisedChild]:
    def note_event(event: ChildEvent) -> None:
        if isinstance(event, ChildStarted | ChildExited):
            member.alive = isinstance(event, ChildStarted)
            pair.changed.set()
        on_event(event)

    async def prepare() -> None:
        await decisions.decide_roles(pair)  # before it starts again: perhaps the other leads by now
        pair.assign_roles()
        await standby.prepare_data(member.server)

    supervising = service.supervise_server(member.name, member.server, backoff, note_event, prepare)
    async with supervising as supervised, standby.watch_in_background(member.server, supervised):
        yield supervised


async def _open_folder(stack: AsyncExitStack, data: Path, ephemeral: bool) -> DataLayout:
    where = stack.enter_context(layout.open_layout(data, ephemeral=ephemeral))
    await service.wait_for_predecessor(where)
    stack.enter_context(mayfly.temporary_data(where) if ephemeral else mayfly.lasting_data(where))
    return where


def _share_passwords(where: DataLayout, primary: DataLayout, password: str) -> None:
    if where is not primary:
        standby.copy_passwords(where, primary.data)
    replication.write_passfile(where, password)


def _check_programs(programs: PostgresPrograms) -> None:
    missing = [name for name in _PROGRAMS if not os.access(programs.bin / name, os.X_OK)]
    if missing:
        raise errors.BinaryMissing(
            f"a standby needs {', '.join(missing)}, which {programs.bin} does not have. Point CCN_PG_BIN "
            "at a whole installation, or run without a standby."
        )


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
