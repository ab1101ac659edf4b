"""The connections to Redis: by TLS 1.3 where the address says `rediss://`, with the name compared.

We make their context and not the library, which would read the files once a connection and take older
versions of TLS. Separate from the limits, which only count through them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis.asyncio
import redis.exceptions
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ccn import errors, settings
from ccn.certificates.client_link import ClientLink
from ccn.certificates.identity import LinkFiles
from ccn.core.identity import address

PREFIX = "CCN_LIMITS_REDIS"
_ADDRESS = f"{PREFIX}_URL"
_PORT = 6379


class RedisLink:
    """Where Redis is, and what is shown to it. Connections that are made from now on use it."""

    def __init__(self, limits: settings.LimitsSettings) -> None:
        self._url = limits.redis_url.get_secret_value()
        parts = urlsplit(self._url)
        self._host, self._port = parts.hostname or "localhost", parts.port or _PORT
        self.tls = _find_tls(limits, parts.scheme)
        if self.tls is None and not limits.redis_insecure and not self._is_here(parts.scheme):
            raise errors.SettingsInvalid(
                f"{_ADDRESS}: {self._host} is beyond this machine, where others could read along or "
                f"pretend to be it: write rediss:// and set {PREFIX}_CA to its authority; "
                f"{PREFIX}_INSECURE=true if the network between encrypts"
            )
        _refuse_query(parse_qs(parts.query))

    def open_pool(self, **options: Any) -> redis.asyncio.ConnectionPool:
        """Make a pool of connections, none of which is open yet; the options are the library's."""
        try:
            known: dict[str, Any] = {**parse_url(self._url)}
        except ValueError as invalid:
            raise errors.SettingsInvalid(f"{_ADDRESS}: {invalid}") from None
        if self.tls is not None:
            known |= {"connection_class": _TlsConnection, "tls": self.tls}
        # The circuit of the limits decides when to try again.
        return redis.asyncio.BlockingConnectionPool(**known, **options, retry=Retry(NoBackoff(), 0))

    async def find_failure(self, within_s: float) -> str:
        """Ask Redis once; say why it does not answer, or nothing."""
        connections = self.open_pool(
            max_connections=1, socket_connect_timeout=within_s, socket_timeout=within_s
        )
        try:
            await redis.asyncio.Redis(connection_pool=connections).ping()
        except (redis.exceptions.RedisError, OSError) as failed:
            return await self.explain_failure() or str(failed)
        finally:
            await connections.aclose()
        return ""

    async def explain_failure(self) -> str:
        """Say what TLS has against a connection that failed; nothing if that was not TLS."""
        return "" if self.tls is None else await self.tls.explain_failure(self._host, self._port)

    def _is_here(self, scheme: str) -> bool:
        return scheme == "unix" or address.is_loopback(self._host)


def find_link(limits: settings.LimitsSettings) -> RedisLink | None:
    """Return the link that the settings describe; None if they name no Redis."""
    return RedisLink(limits) if limits.redis_url.get_secret_value() else None


def _find_tls(limits: settings.LimitsSettings, scheme: str) -> ClientLink | None:
    files = LinkFiles("redis", PREFIX, limits.redis_ca, limits.redis_certificate, limits.redis_key)
    named = [variable for variable, file in files.by_variable().items() if file is not None]
    if scheme == "rediss":
        return ClientLink("Redis", files, _ADDRESS)
    if named:
        raise errors.SettingsInvalid(f"{named[0]} is set, but {_ADDRESS} does not begin with rediss://")
    return None


def _refuse_query(query: Mapping[str, object]) -> None:
    if asked := next((name for name in query if name.startswith("ssl")), ""):
        raise errors.SettingsInvalid(
            f"{_ADDRESS}: {asked} has no place there: certificates are always required and names compared; "
            f"{PREFIX}_CA, {PREFIX}_CERTIFICATE and {PREFIX}_KEY name files"
        )


class _TlsConnection(redis.asyncio.Connection):
    """A connection that uses what its link has when it is made."""

    def __init__(self, *, tls: ClientLink, **known: Any) -> None:
        super().__init__(**known)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls.context}
