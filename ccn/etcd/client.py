"""A small etcd client: a read goes to whichever server answers, a write is sent once or not at all.

Separate from `endpoint.py`, which knows one server. This module chooses among several, keeps the promise
about writes, and recognises an etcd that is not the one we knew.

* A read that fails goes to the next server, once around.
* A write goes to one connected server and is never repeated. If etcd may have executed it, the caller gets
  `OutcomeUnknown`: read again, then decide. `CoordinationUnavailable` means certainly not executed.
* Once etcd answers from another cluster, or from an older term or revision than it already showed, every
  call raises `CoordinationReplaced`: open a new client. A wiped etcd that has already overtaken what this
  client saw looks the same to it; the session still ends, because its lease is unknown there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import grpc.aio  # type: ignore[import-untyped]
import structlog
from aetcd import rpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.etcd import endpoint, entry
from ccn.etcd.endpoint import Endpoint, EtcdTls
from ccn.etcd.entry import EtcdEntry, EtcdSnapshot, WriteExecuted, WriteRefused
from ccn.etcd.signin import EtcdSignIn, EtcdUser, Metadata

ExplainFailure = Callable[[str, int], Awaitable[str]]
"""Says what TLS has against a connection to a host and port; empty if it is not about TLS."""
RETIRING_S = 1.0
"""How long calls over connections may take that show what is not shown any more."""
_WANTS_TLS = " (if it wants TLS, write https:// or set CCN_ETCD_CA)"

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_client(
    endpoints: Sequence[str],
    *,
    tls: EtcdTls | None = None,
    user: EtcdUser | None = None,
    deadline_s: float = 0.6,
    explain: ExplainFailure | None = None,
) -> AsyncIterator[EtcdClient]:
    """Make a client for the servers at `endpoints` (host:port). Its first call connects.

    `explain` finds out what TLS has against a connection that does not come about.
    """
    if not endpoints:
        raise errors.SettingsInvalid("etcd needs at least one endpoint, host:port")
    servers = [Endpoint(address, tls) for address in endpoints]
    opened = EtcdClient(servers, deadline_s, EtcdSignIn(user), explain)
    try:
        yield opened
    finally:
        await opened.close()


@dataclass(frozen=True, slots=True)
class _EtcdProgress:
    """How far etcd had come when it last answered."""

    cluster: int = 0
    term: int = 0
    revision: int = 0


_NOTHING = _EtcdProgress()


class EtcdClient:
    """Reads, guarded writes and leases. Calls may run side by side."""

    def __init__(
        self,
        servers: Sequence[Endpoint],
        deadline_s: float,
        sign_in: EtcdSignIn,
        explain: ExplainFailure | None,
    ) -> None:
        self.deadline_s = deadline_s
        self._sign_in = sign_in
        self._explain = explain
        self._servers = servers
        self._first = 0
        self._seen = _NOTHING
        self._replaced = ""

    async def read_prefix(self, prefix: str) -> EtcdSnapshot:
        """Read all keys that begin with `prefix`, as of a moment after this call began."""
        request = rpc.RangeRequest(**entry.prefix_range(prefix))
        answer = await self._ask_in_turn(lambda server, **limits: server.kv.Range(request, **limits))
        return EtcdSnapshot(tuple(entry.entry_from_pb(kv) for kv in answer.kvs), answer.header.revision)

    async def get_entry(self, key: str) -> EtcdEntry | None:
        """Read the key as it is now, or None."""
        request = rpc.RangeRequest(key=key.encode())
        answer = await self._ask_in_turn(lambda server, **limits: server.kv.Range(request, **limits))
        return entry.entry_from_pb(answer.kvs[0]) if answer.kvs else None

    async def put_entry(
        self, key: str, value: bytes, *, lease: int, if_modified: int
    ) -> WriteExecuted | WriteRefused:
        """Write the key if its last change was at revision `if_modified`; 0 means it must not exist."""
        put = rpc.PutRequest(key=key.encode(), value=value, lease=lease)
        return await self._write_guarded(key, if_modified, rpc.RequestOp(request_put=put))

    async def delete_entry(self, key: str, *, if_modified: int) -> WriteExecuted | WriteRefused:
        """Delete the key if its last change was at revision `if_modified`."""
        delete = rpc.DeleteRangeRequest(key=key.encode())
        return await self._write_guarded(key, if_modified, rpc.RequestOp(request_delete_range=delete))

    async def grant_lease(self, ttl_s: int) -> tuple[int, int]:
        """Get a new lease and the seconds etcd granted. A lease of unknown outcome lapses by itself."""
        request = rpc.LeaseGrantRequest(TTL=ttl_s)
        answer = await self._write_once(lambda server, **limits: server.lease.LeaseGrant(request, **limits))
        return answer.ID, answer.TTL

    async def renew_lease(self, lease: int) -> int:
        """Renew the lease. Return the seconds it has from now on, 0 if etcd does not know it any more."""

        async def send_keepalive(server: Endpoint, **limits: Any) -> Any:
            stream = server.lease.LeaseKeepAlive(**limits)
            try:
                await stream.write(rpc.LeaseKeepAliveRequest(ID=lease))
                answer = await stream.read()
            finally:
                stream.cancel()
            if answer is grpc.aio.EOF:
                raise errors.CoordinationUnavailable("etcd ended the keepalive without an answer")
            return answer

        # Its header is written before the request reaches the leader, so it may lag behind.
        answer = await self._ask_in_turn(send_keepalive, may_lag=True)
        return int(answer.TTL)

    async def revoke_lease(self, lease: int) -> None:
        """End the lease and delete the keys it guards."""
        request = rpc.LeaseRevokeRequest(ID=lease)
        await self._write_once(lambda server, **limits: server.lease.LeaseRevoke(request, **limits))

    async def replace_tls(self, tls: EtcdTls, explain: ExplainFailure) -> None:
        """Show this to etcd from now on. Calls under way have time to end; watches resume by themselves.

        `SettingsInvalid` says why if etcd refuses it, but takes what was shown before: then that stays.
        """
        new = [Endpoint(server.address, tls) for server in self._servers]
        if not await self._any_connects(new) and await self._any_connects(self._servers):
            await _close_servers(new)
            raise errors.SettingsInvalid(
                f"etcd refuses what is to be shown from now on: {await self._find_reason(explain)}"
            )
        retiring, self._servers, self._explain = self._servers, new, explain
        try:
            await asyncio.sleep(RETIRING_S)
        finally:
            await _close_servers(retiring)

    async def close(self) -> None:
        """Close the connections, and with them every call."""
        await _close_servers(self._servers)

    @property
    def call_metadata(self) -> Metadata:
        """What goes along with a call."""
        return self._sign_in.call_metadata

    async def find_server(self) -> Endpoint:
        """Return a server we are connected to. Whatever failed until then was certainly not sent."""
        for server in self._servers_in_order():
            if await server.connect(self.deadline_s):
                return server
            self.leave_server(server, "not connected")
        raise errors.CoordinationUnavailable(
            f"no etcd server can be reached: {await self._explain_unreachable()}"
        )

    def leave_server(self, server: Endpoint, reason: object) -> None:
        """Prefer the next server from now on, unless another call already moved on."""
        if len(self._servers) > 1 and self._servers[self._first] is server:
            self._first = (self._first + 1) % len(self._servers)
            log.info("etcd server left", endpoint=server.address, reason=str(reason))

    def recognise_etcd(self, header: Any, floor: _EtcdProgress = _NOTHING) -> None:
        """Refuse an answer from another etcd than before, or from one that fell behind `floor`."""
        if self._seen.cluster not in (0, header.cluster_id):
            self._replaced = f"cluster {header.cluster_id:x} answers in place of {self._seen.cluster:x}"
        elif 0 < header.raft_term < floor.term:
            self._replaced = f"the Raft term went back from {floor.term} to {header.raft_term}"
        elif header.revision < floor.revision:
            self._replaced = f"the revision went back from {floor.revision} to {header.revision}"
        self._check_not_replaced()
        self._seen = _EtcdProgress(
            header.cluster_id,
            max(self._seen.term, header.raft_term),
            max(self._seen.revision, header.revision),
        )

    async def _write_guarded(self, key: str, if_modified: int, write: Any) -> WriteExecuted | WriteRefused:
        unchanged = rpc.Compare(
            key=key.encode(), target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=if_modified
        )
        look = rpc.RequestOp(request_range=rpc.RangeRequest(key=key.encode()))
        request = rpc.TxnRequest(compare=[unchanged], success=[write], failure=[look])
        return entry.outcome_from_pb(
            await self._write_once(lambda server, **limits: server.kv.Txn(request, **limits))
        )

    async def _ask_in_turn(self, call: Callable[..., Any], *, may_lag: bool = False) -> Any:
        last = None
        for server in self._servers_in_order():
            # Taken before the call: another call may show a later revision while this one is under way, and
            # this answer may be older than that although nothing went back.
            floor = _NOTHING if may_lag else self._seen
            try:
                answer = await self._ask_signed_in(server, call)
            except errors.CoordinationUnavailable as failed:
                self.leave_server(server, failed)
                last = failed
            else:
                self.recognise_etcd(answer.header, floor)
                return answer
        raise errors.CoordinationUnavailable(f"no etcd server answers; the last one: {last}") from last

    async def _write_once(self, call: Callable[..., Any]) -> Any:
        server = await self.find_server()
        await self._sign_in.ensure_token(server)
        floor = self._seen  # before the call, as for reads
        try:
            answer = await self._ask_signed_in(server, call)
        except errors.CoordinationUnavailable as failed:
            self.leave_server(server, failed)
            if endpoint.certainly_not_executed(failed):
                raise
            raise errors.OutcomeUnknown(f"etcd may have executed a write: {failed}") from failed
        self.recognise_etcd(answer.header, floor)
        return answer

    async def _ask_signed_in(self, server: Endpoint, call: Callable[..., Any]) -> Any:
        """Ask once, and again if the token was too old: then nothing was executed."""
        self._check_not_replaced()
        metadata = await self._sign_in.ensure_token(server)
        try:
            return await self._ask_once(server, call, metadata)
        except errors.CCNError as failed:
            if not self._sign_in.drop_stale_token(failed, metadata):
                raise
        return await self._ask_once(server, call, await self._sign_in.ensure_token(server))

    async def _ask_once(self, server: Endpoint, call: Callable[..., Any], metadata: Metadata) -> Any:
        with endpoint.translate_errors():
            return await call(server, timeout=self.deadline_s, metadata=metadata)

    async def _explain_unreachable(self) -> str:
        """Say what keeps us from the next server: a connection does not say why it does not come."""
        request, server = rpc.RangeRequest(key=b"/"), self._servers_in_order()[0]
        with contextlib.suppress(errors.CoordinationRefused):
            try:
                await self._ask_once(
                    server, lambda server, **limits: server.kv.Range(request, **limits), ()
                )
            except errors.CoordinationUnavailable as failed:
                words = str(failed)
                if not server.plain and self._explain and (why := await self._find_reason(self._explain)):
                    return why
                hung_up = server.plain and ("closed" in words or "reset" in words)
                return words + (_WANTS_TLS if hung_up else "")
        return "it was away for a moment"

    async def _any_connects(self, servers: Sequence[Endpoint]) -> bool:
        return any(await asyncio.gather(*(server.connect(self.deadline_s) for server in servers)))

    async def _find_reason(self, explain: ExplainFailure) -> str:
        """Return what the server that is to be asked next and this node have against each other."""
        parts = urlsplit(f"//{self._servers_in_order()[0].address}")
        return await explain(parts.hostname or "", parts.port or 0)

    def _check_not_replaced(self) -> None:
        if self._replaced:
            raise errors.CoordinationReplaced(f"etcd was wiped, restored or exchanged: {self._replaced}")

    def _servers_in_order(self) -> list[Endpoint]:
        return [*self._servers[self._first :], *self._servers[: self._first]]


async def _close_servers(servers: Sequence[Endpoint]) -> None:
    await asyncio.gather(*(server.channel.close() for server in servers))
