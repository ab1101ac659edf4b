"""Keeps a lease alive, and fires a signal before the lease can be gone.

Separate from the client because it is the one long-running promise. A node that has a key in etcd, as a
member or as the leader, stops acting when the signal fires. A session never comes back to life; the
caller decides whether to open another.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import structlog

from ccn import errors
from ccn.etcd.client import EtcdClient

# The signal comes this share of the TTL early, so that those who wait for it have stopped in time.
MARGIN = 0.1
RETRY_S = 0.2

T = TypeVar("T")
log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_session(
    client: EtcdClient, *, ttl_s: float = 5.0, keepalive_s: float = 1.5
) -> AsyncIterator[EtcdSession]:
    """Open a session for as long as the block runs, if nothing ends it earlier. Leaving revokes the lease.

    Entering may raise `OutcomeUnknown`. Entering again is safe: a lease that nobody knows lapses.
    """
    if not 0 < keepalive_s < ttl_s:
        raise errors.SettingsInvalid(f"a lease of {ttl_s} s cannot be kept alive every {keepalive_s} s")
    sent_at = asyncio.get_running_loop().time()  # before the call: etcd counts from some moment during it
    lease, granted_s = await client.grant_lease(math.ceil(ttl_s))
    session = EtcdSession(client, lease, sent_at + granted_s * (1 - MARGIN), keepalive_s)
    keeping = asyncio.create_task(session.keep_alive(), name=f"etcd session {lease:x}")
    try:
        yield session
    finally:
        while not keeping.done():  # gRPC can swallow a cancellation that comes in the moment a call ends
            keeping.cancel()
            await asyncio.wait({keeping}, timeout=RETRY_S)
        alive = session.alive
        session.end("closed")
        if alive:
            try:
                await client.revoke_lease(lease)
            except errors.CCNError as failed:
                log.info("etcd lease left to lapse", lease=f"{lease:x}", reason=str(failed))


class EtcdSession:
    """A lease and how it ends. `ended` fires before etcd can have dropped the lease by itself.

    It fires at the `deadline`, by the loop's clock, which every answered keepalive puts off.
    """

    def __init__(self, client: EtcdClient, lease: int, deadline: float, keepalive_s: float) -> None:
        self.client = client
        self.lease = lease
        self.ended = asyncio.Event()
        self.reason = ""
        self.deadline = deadline
        self._keepalive_s = keepalive_s

    @property
    def alive(self) -> bool:
        """Whether etcd surely counts the lease, by the clock, also where the signal comes late."""
        return not self.ended.is_set() and asyncio.get_running_loop().time() < self.deadline

    def check_alive(self) -> None:
        """Raise `LeaseLost` unless alive."""
        if not self.alive:
            raise errors.LeaseLost(
                f"the etcd session ended: {self.reason or 'no keepalive was answered in time'}"
            )

    def end(self, reason: str) -> None:
        """Fire the signal. The first reason is kept."""
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()
            log.info("etcd session ended", lease=f"{self.lease:x}", reason=reason)

    async def run_while_alive(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work`. When the session ends first, stop it and raise `LeaseLost`."""
        working = asyncio.ensure_future(work)
        ending = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            self.check_alive()
            return working.result()
        finally:
            working.cancel()
            ending.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)

    async def keep_alive(self) -> None:
        """Renew the lease until it is lost, or may be. The session's own task runs this."""
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(self.deadline) as limit:
                while True:
                    sent_at, pause_s = clock(), RETRY_S
                    with contextlib.suppress(errors.CoordinationUnavailable):
                        ttl_s = await self.client.renew_lease(self.lease)
                        if ttl_s == 0:
                            break
                        # Count from sending, not from the answer: etcd may have begun to count at once.
                        self.deadline = sent_at + ttl_s * (1 - MARGIN)
                        limit.reschedule(self.deadline)
                        pause_s = self._keepalive_s
                    await asyncio.sleep(sent_at + pause_s - clock())
            self.end("etcd does not know the lease any more")
        except TimeoutError:
            self.end("no keepalive was answered in time")
        except Exception as failed:  # noqa: BLE001 the root of a task: whatever stops it ends the session
            self.end(f"{type(failed).__name__}: {failed}")
