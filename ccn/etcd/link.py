"""How etcd is reached now, and the clients that reach it so.

A node opens a client for each session, and its certificates are renewed while one is open. Separate from
the client, which is told what to show and reads no settings.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ccn import errors
from ccn.etcd import client
from ccn.etcd.access import EtcdAccess
from ccn.etcd.client import EtcdClient


class EtcdLink:
    """One node's way to etcd."""

    def __init__(self, access: EtcdAccess) -> None:
        self.access = access
        self._opened = list[EtcdClient]()

    @contextlib.asynccontextmanager
    async def open_client(self) -> AsyncIterator[EtcdClient]:
        """Make a client that shows what is to be shown, also when that is renewed."""
        reached = self.access
        async with client.open_client(
            reached.servers, tls=reached.tls, user=reached.user, explain=self._explain_failure
        ) as opened:
            self._opened.append(opened)
            try:
                yield opened
            finally:
                self._opened.remove(opened)

    async def renew(self, access: EtcdAccess) -> None:
        """Show this from now on; `SettingsInvalid` if etcd refuses it and takes what was shown before."""
        before, self.access = self.access, access
        tls, explain = access.tls, access.explain_failure
        assert tls is not None
        try:
            await asyncio.gather(*(opened.replace_tls(tls, explain) for opened in self._opened))
        except errors.SettingsInvalid:
            self.access = before
            raise

    async def _explain_failure(self, host: str, port: int) -> str:
        return await self.access.explain_failure(host, port)
