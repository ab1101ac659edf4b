"""Real etcd servers for the tests: one that is left in peace, one to be harmed, and three together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from ccn.etcd import client
from ccn.etcd.client import EtcdClient
from tests.support import ports
from tests.support.etcd.servers import PATIENT_S, Proxy, Server, servers_in


@pytest.fixture(scope="session")
def calm_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server shared by the tests that leave it in peace."""
    with servers_in(tmp_path_factory.mktemp("calm etcd"), ["calm"], []) as servers:
        yield servers[0]


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Server]:
    """One server of the test's own, to be harmed."""
    with servers_in(tmp_path, ["alone"], []) as servers:
        yield servers[0]


class Clusters:
    """Three servers at a time, used again until a test kills one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._servers: list[Server] = []

    def whole(self) -> list[Server]:
        if not self._servers or not all(server.running for server in self._servers):
            self.close()
            folder = self._folder / str(uuid4())
            folder.mkdir()
            self._servers = self._stack.enter_context(servers_in(folder, ["one", "two", "three"], []))
        for server in self._servers:
            server.thaw()
        for server in self._servers:
            server.wait_until_healthy()
        return self._servers

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    kept = Clusters(tmp_path_factory.mktemp("clusters"))
    yield kept
    kept.close()


@pytest.fixture
def cluster(clusters: Clusters) -> list[Server]:
    """Three servers, the leader first. They may be killed, or frozen and left so."""
    return sorted(clusters.whole(), key=lambda server: not server.leads())


@pytest.fixture
async def calm(calm_etcd: Server) -> AsyncIterator[EtcdClient]:
    """A client of that server which waits for it, however busy the machine is."""
    async with client.open_client([calm_etcd.endpoint], deadline_s=PATIENT_S) as opened:
        yield opened


@pytest.fixture
def proxy_to() -> Callable[[Server], contextlib.AbstractAsyncContextManager[Proxy]]:
    return lambda server: Proxy(server.endpoint).running()


@pytest.fixture
def prefix() -> str:
    """Keys of this test only."""
    return f"/test/{uuid4()}/"


@pytest.fixture
def closed_endpoint() -> Iterator[str]:
    """Where nobody listens."""
    with ports.reserve_port() as port:
        yield f"{ports.HOST}:{port}"
