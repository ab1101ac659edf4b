"""One etcd server as gRPC sees it: its channel and stubs, whether it is connected, what its errors mean.

Separate from the client because everything here concerns a single server. The client decides which server
to ask, and what may be asked twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from aetcd import rpc  # type: ignore[import-untyped]

from ccn import cancellation, errors

# A server that lost its leader must say so at once, instead of answering from the past or not at all.
METADATA = (("hasleader", "true"),)


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """PEM texts: whom to trust and, where etcd asks for it, who we are."""

    ca: bytes | None
    """Without one, gRPC trusts the authorities that it brings along."""
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


class Endpoint:
    """A channel to one server, with the stubs we use."""

    def __init__(self, address: str, tls: EtcdTls | None) -> None:
        if "://" in address or ":" not in address:
            raise errors.SettingsInvalid(f"etcd endpoint {address!r} must be host:port, without a scheme")
        self.address = address
        self.plain = tls is None
        self.channel: Any = _open_channel(address, tls)
        self.kv: Any = rpc.KVStub(self.channel)
        self.lease: Any = rpc.LeaseStub(self.channel)
        self.watch: Any = rpc.WatchStub(self.channel)
        self.auth: Any = rpc.AuthStub(self.channel)

    async def connect(self, within_s: float) -> bool:
        """Try to connect for at most `within_s`. Return whether the connection stands."""
        with contextlib.suppress(TimeoutError, errors.CoordinationUnavailable), translate_errors():
            async with asyncio.timeout(within_s):
                while (
                    state := self.channel.get_state(try_to_connect=True)
                ) != grpc.ChannelConnectivity.READY:
                    if state == grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        return False
                    await self.channel.wait_for_state_change(state)
                return True
        return False


# gRPC's own back-off grows to two minutes, and an etcd server is back in a second, so reconnecting is
# bounded. Proxies and service configurations found in the environment or DNS must not change whom we talk
# to. A retry hidden in the transport would break the promise about writes.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    # etcd takes pings that come sooner than every 5 s for abuse. gRPC 1.85 does not heed
    # keepalive_timeout_ms, and would wait a minute for a server that is silently gone.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
)


def _open_channel(address: str, tls: EtcdTls | None) -> Any:
    if tls is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


_Code = grpc.StatusCode
MEANING: Mapping[Any, type[errors.CCNError]] = MappingProxyType(
    {
        _Code.UNAVAILABLE: errors.CoordinationUnavailable,
        _Code.DEADLINE_EXCEEDED: errors.CoordinationUnavailable,
        _Code.UNKNOWN: errors.CoordinationUnavailable,
        _Code.INTERNAL: errors.CoordinationUnavailable,
        _Code.CANCELLED: errors.CoordinationUnavailable,
        _Code.ABORTED: errors.CoordinationUnavailable,
        _Code.RESOURCE_EXHAUSTED: errors.CoordinationUnavailable,
        _Code.DATA_LOSS: errors.CoordinationUnavailable,
        _Code.NOT_FOUND: errors.LeaseLost,
        _Code.INVALID_ARGUMENT: errors.CoordinationRefused,
        _Code.FAILED_PRECONDITION: errors.CoordinationRefused,
        _Code.OUT_OF_RANGE: errors.CoordinationRefused,
        _Code.ALREADY_EXISTS: errors.CoordinationRefused,
        _Code.PERMISSION_DENIED: errors.CoordinationRefused,
        _Code.UNAUTHENTICATED: errors.CoordinationRefused,
        _Code.UNIMPLEMENTED: errors.CoordinationRefused,
    }
)

# What etcd says before it lets a write into its log. Any other failure may hide an executed write.
_NOT_EXECUTED = frozenset(
    {
        "etcdserver: no leader",
        "etcdserver: too many requests",
        "etcdserver: mvcc: database space exceeded",
    }
)


# What an operator can do about an error, where etcd's own words do not say so.
_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "etcdserver: user name is empty": "it asks for a user: set CCN_ETCD_USER and CCN_ETCD_PASSWORD",
        "etcdserver: permission denied": "grant this user to read and write the keys under /ccn/",
    }
)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what gRPC raises into the error tree, and a closed channel's cancellation into an error."""
    try:
        with cancellation.keep_cancellation():
            yield
    except grpc.aio.AioRpcError as failed:
        words = failed.details() or failed.code().name
        advice = f" ({_ADVICE[words]})" if words in _ADVICE else ""
        raise MEANING[failed.code()](f"etcd: {words}{advice}") from failed
    except (grpc.aio.BaseError, asyncio.InvalidStateError) as closed:
        raise errors.CoordinationUnavailable("the connection to etcd is closed") from closed
    except asyncio.CancelledError as ended:
        # A channel that closes under a call cancels it, which looks like somebody cancelling this task.
        if cancellation.is_requested():
            raise
        raise errors.CoordinationUnavailable("the connection to etcd was closed during a call") from ended


def certainly_not_executed(failed: errors.CoordinationUnavailable) -> bool:
    """Whether etcd itself said that it refused before executing anything."""
    return error_detail(failed) in _NOT_EXECUTED


def error_detail(failed: errors.CCNError) -> str:
    """Return etcd's own words; empty if there are none."""
    cause = failed.__cause__
    return cause.details() or "" if isinstance(cause, grpc.aio.AioRpcError) else ""
