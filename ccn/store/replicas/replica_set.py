"""All replicas of a node: one task looks at them once in a second, and a read takes the first that will do.

A read asks the primary how far its log is, and takes a replica that has replayed that much. So it shows
whatever anybody was told to be durable before it began: no caller has to carry a place in the log about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from ccn import errors, settings
from ccn.store.connection.pool import Pool
from ccn.store.replicas import addresses
from ccn.store.replicas.primary_log import PrimaryLog
from ccn.store.replicas.replica import SILENT, Replica, ReplicaStanding

PROBE_S = 1.0


class ReplicaSet:
    """The replicas that the settings name; there may be none."""

    def __init__(self, replicas: Sequence[Replica], primary_log: PrimaryLog, wait_s: float) -> None:
        self.replicas = tuple(replicas)
        self._log = primary_log
        self.wait_s = wait_s

    def list_standings(self) -> list[ReplicaStanding]:
        """How each of them was found last, in the order of the URL."""
        return [replica.standing for replica in self.replicas]

    def is_any_fit(self) -> bool:
        """Whether one of them was found fit last."""
        return any(not replica.standing.unfit for replica in self.replicas)

    async def find_ready(self) -> Replica | None:
        """One that has everything that was acknowledged before this call; None if none is there in time."""
        position = await self._log.ask_position()
        waits = {
            asyncio.create_task(replica.wait_until_at(position)): replica
            for replica in self.replicas
            if replica.follows(position.history)
        }
        try:
            return await self._find_first(waits)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def probe_all(self) -> None:
        """Look at all of them. While the primary is silent nobody can tell, and nothing is read."""
        if not self.replicas:
            return
        with suppress(errors.CCNError):
            position = await self._log.watch_position()
            await asyncio.gather(*(replica.probe(position) for replica in self.replicas))

    async def watch(self, stop: asyncio.Event) -> None:
        """Look at them again and again until told to stop."""
        while not stop.is_set():
            await self.probe_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await stop.wait()

    async def _find_first(self, waits: dict[asyncio.Task[None], Replica]) -> Replica | None:
        until = asyncio.get_running_loop().time() + self.wait_s
        pending = set(waits)
        while pending and (left_s := until - asyncio.get_running_loop().time()) > 0:
            done, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                failed = wait.exception()
                if failed is None:
                    return waits[wait]
                waits[wait].note_unfitness(SILENT, str(failed))
        return None


@asynccontextmanager
async def open_replicas(
    database: settings.DatabaseSettings, primary: Pool, name: str
) -> AsyncIterator[ReplicaSet]:
    """Get ready to ask the replicas of the settings. It connects to none of them yet."""
    urls = addresses.list_replica_urls(database.replica_url.get_secret_value())
    primary_log = PrimaryLog(primary)
    replicas = [Replica(place, database.with_url(url), primary_log) for place, url in enumerate(urls, 1)]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(primary_log.close)
        for replica in replicas:
            await stack.enter_async_context(replica.open(name))
        yield ReplicaSet(replicas, primary_log, database.replica_wait_s)
