"""Redis over TLS: whom a node takes for it, what it shows, and certificates that are exchanged meanwhile.

The tests that need Redis take `tls_redis`; where there is none they are not collected.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr
from structlog.testing import capture_logs

from ccn import errors, metrics, settings
from ccn.certificates.watch import CertificateWatches
from ccn.gateway import redis_link
from ccn.gateway.limiting import Limiter
from ccn.service import servers
from tests.support.certificates.link_authority import ENDED, LinkAuthority, Pair, serving_context
from tests.support.certificates.tls_proxy import TlsProxy
from tests.support.gateway import redis_server

WAIT_S = 60.0
ALONE = "Redis cannot be reached: this node counts requests alone"
USER = "--user default off --user ccn on >hunter2 ~* &* +@all"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LinkAuthority:
    return LinkAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> LinkAuthority:
    """An authority that nobody here trusts at first."""
    return LinkAuthority(tmp_path_factory.mktemp("stranger"))


OpenRedis = Callable[[Pair, Path], Any]


@pytest.fixture
def tls_redis() -> OpenRedis:
    """Starts a Redis that asks for certificates and a password, and speaks TLS 1.3 alone."""

    def start(pair: Pair, ca: Path) -> Any:
        shown = ("--tls-cert-file", str(pair[0]), "--tls-key-file", str(pair[1]))
        trusted = ("--tls-ca-cert-file", str(ca), "--tls-protocols", "TLSv1.3")
        return redis_server.running(*shown, *trusted, *USER.split())

    return start


def limits(
    port: int, ca: Path, pair: Pair | None = None, password: str = "hunter2"
) -> settings.LimitsSettings:
    shown = {"redis_certificate": pair[0], "redis_key": pair[1]} if pair else {}
    return settings.LimitsSettings.model_validate(
        {
            "redis_url": SecretStr(f"rediss://ccn:{password}@localhost:{port}/0"),
            "redis_timeout_s": 60.0,
            "redis_ca": ca,
            **shown,
        }
    )


@asynccontextmanager
async def watched(limiter: Limiter) -> AsyncIterator[Limiter]:
    """A limiter that keeps in touch with Redis."""
    stop = asyncio.Event()
    watching = asyncio.create_task(limiter.watch_redis(stop))
    try:
        yield limiter
    finally:
        stop.set()
        await asyncio.wait_for(watching, WAIT_S)


async def wait_until(arrived: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not arrived():
            await asyncio.sleep(0.005)


async def refusal(chosen: settings.LimitsSettings, port: int) -> str:
    """What the log says, once, about a Redis that cannot be used."""
    with capture_logs() as logs:
        async with watched(Limiter(chosen)) as limiter:
            await wait_until(lambda: any(line["event"] == ALONE for line in logs))
            assert (await limiter.count_request("ada")).allowed
    (said,) = [line["reason"] for line in logs if line["event"] == ALONE]
    assert "hunter2" not in said
    return str(said).removeprefix(f"Redis at localhost:{port} ")


async def test_nodes_count_together_over_mutual_tls_with_a_password(
    tls_redis: OpenRedis, authority: LinkAuthority
) -> None:
    async with tls_redis(authority.issue_server(), authority.ca) as server:
        chosen = limits(server.port, authority.ca, authority.issue_client("ccn"))
        async with watched(Limiter(chosen)) as one, watched(Limiter(chosen)) as other:
            await wait_until(lambda: one.shared and other.shared)
            said = [await (one, other)[n % 2].count_request("ada") for n in range(4)]
            assert [said[0].remaining - each.remaining for each in said] == [0, 1, 2, 3]
        wrong = limits(server.port, authority.ca, authority.issue_client("ccn"), password="wrong")
        assert await refusal(wrong, server.port) == "AuthenticationError"


async def test_what_redis_has_against_this_node_is_said(
    tls_redis: OpenRedis, authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    shown = {
        None: "asks for a certificate: set CCN_LIMITS_REDIS_CERTIFICATE and CCN_LIMITS_REDIS_KEY",
        stranger.issue_client(): "does not know the authority of CCN_LIMITS_REDIS_CERTIFICATE",
        authority.issue_client(since_days=ENDED): "says that CCN_LIMITS_REDIS_CERTIFICATE has ended",
        authority.issue_server(): "refuses CCN_LIMITS_REDIS_CERTIFICATE",
    }
    async with tls_redis(authority.issue_server(), authority.ca) as server:
        for pair, words in shown.items():
            assert await refusal(limits(server.port, authority.ca, pair), server.port) == words


async def test_a_server_that_is_not_the_one_is_refused_for_a_reason(
    authority: LinkAuthority, stranger: LinkAuthority
) -> None:
    older = serving_context(authority.issue_server())
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    wrong = {
        authority.issue_server("cache.example.org"): "that is not for localhost, the name in "
        "CCN_LIMITS_REDIS_URL",
        authority.issue_server(since_days=ENDED): "that has ended: renew the server's",
        stranger.issue_server(): "of an authority that is not in CCN_LIMITS_REDIS_CA",
    }
    said = {serving_context(pair): f"shows a certificate {words}" for pair, words in wrong.items()}
    said[older] = "speaks no TLS 1.3, and nothing older is agreed on"
    shows = TlsProxy("127.0.0.1:1", None)
    async with shows.running():
        for shows.context, words in said.items():
            assert await refusal(limits(shows.port, authority.ca), shows.port) == words


async def test_certificates_are_exchanged_under_load_and_no_count_is_lost(
    tls_redis: OpenRedis, authority: LinkAuthority, stranger: LinkAuthority, tmp_path: Path
) -> None:
    """Redis reads its files anew and stays up; both authorities count meanwhile."""
    old, new = authority, stranger
    ca, theirs = tmp_path / "ca.pem", tmp_path / "theirs.pem"
    pair = (tmp_path / "node.pem", tmp_path / "node.key")
    for file in (ca, theirs):
        file.write_bytes(old.ca.read_bytes())
    old.put_client(pair)
    watches, stop = CertificateWatches(look_s=0.02), asyncio.Event()
    async with tls_redis(old.issue_server(), theirs) as server:
        chosen = limits(server.port, ca, pair)
        async with watched(Limiter(chosen)) as limiter, asyncio.TaskGroup() as tasks:
            servers.watch_redis(limiter, watches)
            tasks.create_task(watches.watch_files(stop))
            await wait_until(lambda: limiter.shared)
            counted = [await limiter.count_request("ada") for _ in range(5)]
            both = old.ca.read_bytes() + new.ca.read_bytes()
            ca.write_bytes(both)
            theirs.write_bytes(both)
            await _tell_redis(chosen, "tls-ca-cert-file", str(theirs))
            certificate, key = new.issue_server()
            await _tell_redis(chosen, "tls-cert-file", str(certificate), "tls-key-file", str(key))
            new.put_client(pair)
            await _reconnect(limiter, chosen)
            counted += [await limiter.count_request("ada") for _ in range(5)]
            ca.write_bytes(new.ca.read_bytes())  # the old authority is taken out
            await _tell_redis(chosen, "tls-ca-cert-file", str(new.ca))
            await _reconnect(limiter, chosen)
            pair[1].write_bytes(b"-----BEGIN nothing")
            await wait_until(lambda: _is_refused() == 1)
            await _reconnect(limiter, chosen)
            counted += [await limiter.count_request("ada") for _ in range(5)]
            new.put_client(pair)
            await wait_until(lambda: _is_refused() == 0)
            stop.set()
        assert [counted[0].remaining - each.remaining for each in counted] == [*range(15)]


def _is_refused() -> float | None:
    return metrics.series.registry.get_sample_value("ccn_certificate_refused", {"link": "redis"})


async def _tell_redis(chosen: settings.LimitsSettings, *parameters: str) -> None:
    """Change what it shows and trusts, over a connection that shows what is good now."""
    client: Any = redis.asyncio.Redis(connection_pool=redis_link.RedisLink(chosen).open_pool())
    try:
        assert await client.execute_command("CONFIG", "SET", *parameters)
    finally:
        await client.aclose()
        await client.connection_pool.disconnect()


async def _reconnect(limiter: Limiter, chosen: settings.LimitsSettings) -> None:
    """Have Redis end all connections, and wait until the limiter counts there again."""
    assert limiter._redis is not None
    await limiter._redis.disconnect()
    await wait_until(lambda: limiter.shared)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"redis_url": "redis://cache.example.org:6379/0"}, "write rediss:// and set CCN_LIMITS_REDIS_CA"),
        ({"redis_url": "redis://cache.example.org:6379/0"}, "CCN_LIMITS_REDIS_INSECURE=true"),
        ({"redis_url": "redis://:hunter2@10.0.0.7"}, "10.0.0.7 is beyond this machine"),
        ({"redis_url": "redis://localhost", "redis_ca": "ca.pem"}, "does not begin with rediss://"),
        ({"redis_url": "rediss://a:1?ssl_cert_reqs=none"}, "certificates are always required"),
    ],
)
def test_a_way_that_may_not_be_used_is_refused_by_name(given: dict[str, str], words: str) -> None:
    with pytest.raises(errors.SettingsInvalid) as refused:
        Limiter(settings.LimitsSettings.model_validate(given))
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"redis_url": "redis://127.0.0.1:1"},
        {"redis_url": "unix:///run/redis.sock"},
        {"redis_url": "rediss://cache.example.org"},
        {"redis_url": "redis://cache.example.org", "redis_insecure": "true"},
    ],
)
def test_loopback_a_socket_and_tls_are_let_through(given: dict[str, str]) -> None:
    assert redis_link.find_link(settings.LimitsSettings.model_validate(given)) is not None


def test_a_node_does_not_start_with_a_certificate_that_has_ended(authority: LinkAuthority) -> None:
    chosen = limits(1, authority.ca, authority.issue_client(since_days=ENDED))
    with pytest.raises(errors.SettingsInvalid, match="CCN_LIMITS_REDIS_CERTIFICATE is not valid now"):
        servers.prepare_servers(settings.Settings(limits=chosen))
