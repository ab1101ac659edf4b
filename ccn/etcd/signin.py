"""Signs in to an etcd that asks for a user, and keeps the token that goes along with every call.

Separate from the client because a token has a life of its own. etcd forgets one that was idle for
minutes, all of them when a server starts again, and those from before its users or roles were changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog
from aetcd import rpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.etcd import endpoint
from ccn.etcd.endpoint import METADATA, Endpoint

DEADLINE_S = 5.0
"""etcd compares passwords slowly, on purpose."""
_NOT_ASKED = "etcdserver: authentication is not enabled"
_WRONG = "etcdserver: authentication failed, invalid user ID or password"
_STALE = frozenset(
    {
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
        "etcdserver: user name is empty",  # it asked nobody when this client signed in, and does now
    }
)

Metadata = tuple[tuple[str, str], ...]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EtcdUser:
    """Who this node is to etcd."""

    name: str
    password: str = field(repr=False)


class EtcdSignIn:
    """What one client shows; without a user, nothing."""

    def __init__(self, user: EtcdUser | None) -> None:
        self._user = user
        self._token: str | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def call_metadata(self) -> Metadata:
        """What goes along with a call."""
        return (*METADATA, ("token", self._token)) if self._token else METADATA

    async def ensure_token(self, server: Endpoint) -> Metadata:
        """Get a token first if one is needed, then return what goes along with a call."""
        if self._user is not None and self._token is None:
            async with self._one_at_a_time:
                if self._token is None:
                    self._token = await _request_token(server, self._user)
        return self.call_metadata

    def drop_stale_token(self, failed: errors.CCNError, metadata: Metadata) -> bool:
        """Whether etcd refused a call for its token alone. If so the next call gets another token."""
        if self._user is None or endpoint.error_detail(failed) not in _STALE:
            return False
        if metadata == self.call_metadata:
            self._token = None
        return True


async def _request_token(server: Endpoint, user: EtcdUser) -> str:
    """Get a token for the user; empty if etcd asks nobody for one."""
    request: Any = rpc.AuthenticateRequest(name=user.name, password=user.password)
    try:
        with endpoint.translate_errors():
            answer = await server.auth.Authenticate(request, timeout=DEADLINE_S, metadata=METADATA)
    except errors.CoordinationRefused as refused:
        if endpoint.error_detail(refused) == _NOT_ASKED:
            log.warning("etcd asks nobody for a password, although CCN_ETCD_USER is set")
            return ""
        if endpoint.error_detail(refused) == _WRONG:
            raise errors.CoordinationRefused(
                f"etcd does not know the user {user.name!r} with this password:"
                " look at CCN_ETCD_USER and CCN_ETCD_PASSWORD"
            ) from refused
        raise
    return str(answer.token)
