"""Load on an etcd that knows what must be there at the end."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from ccn import errors
from ccn.etcd import changes
from ccn.etcd.client import EtcdClient
from ccn.etcd.entry import WriteExecuted

TIMEOUT_S = 30.0


class Load:
    """Writes numbers one after the other, and sees them in a watch."""

    def __init__(self, caller: EtcdClient) -> None:
        self._caller = caller
        self.prefix = f"/ccn/load/{uuid4()}/"
        self.acknowledged = list[str]()
        self.unknown = list[str]()
        self.refused = 0
        """How often nothing was sent, because no server could be reached."""
        self.seen = list[str]()

    async def write(self, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = f"{self.prefix}{number:06}"
            try:
                written = await self._caller.put_entry(key, b"", lease=0, if_modified=0)
                assert isinstance(written, WriteExecuted)
                self.acknowledged.append(key)
            except errors.OutcomeUnknown:
                self.unknown.append(key)
            except errors.CoordinationUnavailable:
                self.refused += 1
                await asyncio.sleep(0.01)

    async def watch(self) -> None:
        start = (await self._caller.read_prefix(self.prefix)).revision
        async for batch in changes.watch_changes(self._caller, self.prefix, start, patience_s=TIMEOUT_S):
            self.seen += [change.key for change in batch]

    async def progress(self) -> None:
        """Wait until more is written and seen."""
        wanted = len(self.acknowledged) + 20
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.acknowledged) < wanted or self.acknowledged[wanted - 1] not in self.seen:
                await asyncio.sleep(0.01)
