"""A node that gets what `ccn keys init` makes calls PostgreSQL, etcd and Redis by mutual TLS.

It needs Redis, so it takes `tls_redis`; where there is none it is not collected.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ccn import settings
from ccn.embedded import etcd
from tests.support import ports
from tests.support.certificates.link_authority import serving_context
from tests.support.certificates.tls_proxy import DatabaseProxy, TlsProxy
from tests.support.cli import commands
from tests.support.gateway import redis_server

_DEADLINE_S = 120.0
_COUNTS_TOGETHER = re.compile(r"^ccn_rate_limits_degraded 0\.0$", re.MULTILINE)
_DAYS_LEFT = re.compile(r'^ccn_certificate_days_left\{link="(\w+)"\} (\S+)$', re.MULTILINE)
StartRedis = Callable[[Path], AbstractAsyncContextManager[redis_server.Redis]]


@dataclass
class Servers:
    """What stands before PostgreSQL and etcd, and a Redis with TLS of its own."""

    database: DatabaseProxy
    etcd: TlsProxy
    redis: redis_server.Redis


@pytest.fixture
def tls_redis() -> StartRedis:
    """Starts a Redis with the files of a folder."""

    def start(files: Path) -> AbstractAsyncContextManager[redis_server.Redis]:
        return redis_server.running(
            *("--tls-cert-file", str(files / "server.pem"), "--tls-key-file", str(files / "server.key")),
            *("--tls-ca-cert-file", str(files / "ca.pem"), "--tls-protocols", "TLSv1.3"),
        )

    return start


def make_keys(folder: Path) -> None:
    arguments = ("keys", "init", "--node", "node-1", "--dir", str(folder))
    done = commands.run(*arguments, cwd=folder.parent, env=commands.environment())
    assert done.returncode == 0, done.stderr


def shown_by(keys: Path, server: str) -> ssl.SSLContext:
    place = keys / "tls" / server
    return serving_context((place / "server.pem", place / "server.key"), place / "ca.pem")


@asynccontextmanager
async def serving(keys: Path, database: str, tls_redis: StartRedis) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        coordination = await stack.enter_async_context(etcd.run_etcd())
        redis = await stack.enter_async_context(tls_redis(keys / "tls" / "redis"))
        first = DatabaseProxy(database, shown_by(keys, "postgres"))
        over_http2 = shown_by(keys, "etcd")
        over_http2.set_alpn_protocols(["h2"])
        second = TlsProxy(coordination.endpoints[0], over_http2)
        await stack.enter_async_context(first.running())
        await stack.enter_async_context(second.running())
        yield Servers(first, second, redis)


def name_files(prefix: str, shown: Path, name: str) -> dict[str, str]:
    return {
        f"{prefix}_CA": str(shown / "ca.pem"),
        f"{prefix}_CERTIFICATE": str(shown / f"{name}.pem"),
        f"{prefix}_KEY": str(shown / f"{name}.key"),
    }


def describe_node(keys: Path, servers: Servers, http: int, grpc: int) -> dict[str, str]:
    shown = keys / "tls" / "node-1"
    return settings.child_environment(
        {
            "CCN_NODE_ID": "node-1",
            "CCN_NODE_STATE_DIR": str(keys / "node-1"),
            "CCN_DATABASE_URL": servers.database.url(""),
            "CCN_ETCD_ENDPOINTS": servers.etcd.endpoint,
            "CCN_LIMITS_REDIS_URL": f"rediss://localhost:{servers.redis.port}/0",
            "CCN_LIMITS_REDIS_TIMEOUT_S": "20",
            "CCN_CLUSTER_SIZE": "1",
            "CCN_CLUSTER_INTERVAL_S": "0.5",
            "CCN_HTTP_PORT": str(http),
            "CCN_GRPC_PORT": str(grpc),
            "CCN_PEERS_PORT": "0",
            **name_files("CCN_DATABASE", shown, "database"),
            **name_files("CCN_ETCD", shown, "etcd"),
            **name_files("CCN_LIMITS_REDIS", shown, "redis"),
        }
    )


async def is_ready(door: httpx.AsyncClient) -> bool:
    try:
        return (await door.get("/ready")).status_code == 200
    except httpx.TransportError:
        return False


async def counts_with_redis(door: httpx.AsyncClient) -> bool:
    return _COUNTS_TOGETHER.search((await door.get("/metrics")).text) is not None


@pytest.mark.timeout(400)
async def test_all_servers_of_a_node_are_called_by_mutual_tls(
    database: settings.DatabaseSettings, tmp_path: Path, tls_redis: StartRedis
) -> None:
    keys = tmp_path / "keys"
    make_keys(keys)
    with ports.reserve_port() as http, ports.reserve_port() as grpc, (tmp_path / "log").open("ab") as log:
        async with (
            serving(keys, database.url.get_secret_value(), tls_redis) as servers,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{http}", timeout=30) as door,
        ):
            environ = describe_node(keys, servers, http, grpc)
            streams = (os.open(os.devnull, os.O_RDONLY), log.fileno(), log.fileno())
            node = commands.begin(("node", "run"), environ, streams, name="node-1")
            try:
                async with asyncio.timeout(_DEADLINE_S):
                    while not await is_ready(door) or not await counts_with_redis(door):
                        assert node.poll() is None, (tmp_path / "log").read_text()
                        await asyncio.sleep(0.1)
                metrics = (await door.get("/metrics")).text
            finally:
                node.kill()
                os.close(streams[0])
    lasting = {link for link, days in _DAYS_LEFT.findall(metrics) if 29 < float(days) <= 30}
    assert lasting == {"database", "etcd", "redis"}
    for proxy in (servers.database, servers.etcd):
        assert {*proxy.versions} == {"TLSv1.3"}
        assert None not in proxy.shown
