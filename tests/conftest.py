"""What many tests share: one PostgreSQL server a session, one migrated database a test.

Every test that needs a database gets one of the embedded server. The tests of the store run once more on
each TimescaleDB that Docker offers.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio
import structlog

from ccn import settings
from ccn.certificates import tls_floor
from ccn.embedded import scratch
from ccn.embedded.postgres import service
from ccn.store.connection import migrate
from tests.support import databases, processes
from tests.support.cli import nursery
from tests.support.deploy import compose_cluster
from tests.support.etcd import encrypting
from tests.support.gateway import browser, redis_server
from tests.support.store import timescale

# Everything here talks to this machine alone. Each HTTP client would first read the certificates of all
# authorities of the internet, which takes longer than most tests.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
# Nor do the settings of whoever runs the tests.
os.environ["XDG_CONFIG_HOME"] = str(Path(__file__).parent)

gc.disable()  # until everything is imported and collected: all of it stays

# How long an example takes, or is looked for, says something about this machine and nothing about a rule.
hypothesis.settings.register_profile(
    "rules",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    max_examples=30,
    print_blob=True,
)
hypothesis.settings.load_profile("rules")

# gRPC's handlers around fork() can end a child before it becomes PostgreSQL or etcd. A node talks gRPC and
# starts nothing, `ccn up` starts children and talks no gRPC; only a test process does both. gRPC reads this
# when it is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
tls_floor.demand_tls_1_3()

# What a test provokes is logged with its traceback; in frames and colours it costs more than the test.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(),
    ]
)

_TESTS = Path(__file__).parent
_STORE = _TESTS / "store"
_WAITING = (
    "deploy/test_compose.py",
    "cluster/test_",
    "cluster/chaos/",
    "embedded/postgres/",
    "packaging/test_proofs.py",
    "store/writing/test_durability.py",
)
"""Files whose tests mostly wait for processes, timers and the disk."""


def pytest_report_header() -> str:
    """Say which servers are tested, and what had to stay out."""
    offered = timescale.offer()
    used = [
        "embedded PostgreSQL",
        *(f"TimescaleDB ({mode}) in {image}" for mode, image in offered.images.items()),
    ]
    left_out = f"; left out: TimescaleDB, {offered.left_out}" if offered.left_out else ""
    without = "".join(f"; left out: {each}" for each in _left_out().values())
    return f"store tests run on: {', '.join(used)}{left_out}{without}"


def pytest_configure(config: pytest.Config) -> None:
    """Offer all workers one nursery. What a run was promised, it does not quietly go without."""
    if hasattr(config, "workerinput"):
        processes.die_with(os.getppid())
    nursery.offer()
    if os.environ.get("CCN_TEST_TIMESCALE") == "required" and "apache" not in timescale.offer().images:
        raise pytest.UsageError(f"TimescaleDB is required here, but {timescale.offer().left_out}")
    if os.environ.get("CCN_TEST_REDIS") == "required" and redis_server.LEFT_OUT:
        raise pytest.UsageError("Redis is required here, but there is no redis-server")
    if os.environ.get("CCN_TEST_BROWSER") == "required" and browser.LEFT_OUT:
        raise pytest.UsageError("a browser is required here, but there is no chromium")
    if os.environ.get("CCN_TEST_COMPOSE") == "required" and (missing := compose_cluster.left_out()):
        raise pytest.UsageError(f"a cluster of containers is required here, but {missing}")
    if os.environ.get("CCN_TEST_ETCD_BIN") and encrypting.LEFT_OUT:
        raise pytest.UsageError(f"an etcd with TLS 1.3 is required here: {encrypting.LEFT_OUT}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a program that is not here, as the head of the output said; spread the rest."""
    missing = _left_out().keys()
    if needy := [item for item in items if missing & {*getattr(item, "fixturenames", ())}]:
        config.hook.pytest_deselected(items=needy)
        items[:] = [item for item in items if item not in needy]
    items[:] = _spread_waiting(items)


def _spread_waiting(items: list[pytest.Item]) -> list[pytest.Item]:
    """Put the files that wait between the others, in the first half: if all workers wait, cores are idle.

    Every worker collects the tests for itself, so the order may depend on nothing but their names.
    """
    files = dict[Path, list[pytest.Item]]()
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [file for file in files if str(file.relative_to(_TESTS)).startswith(_WAITING)]
    others = [file for file in files if file not in waiting]
    apart = max(1, len(others) // (2 * len(waiting) or 1))
    for place, file in enumerate(waiting):
        others.insert(place * (apart + 1), file)
    return [item for file in others for item in files[file]]


def pytest_collection_finish() -> None:
    """What stays until the end is not looked through by every collection of garbage."""
    gc.freeze()
    gc.enable()


def _left_out() -> dict[str, str]:
    """Fixtures that cannot be had on this machine, and why."""
    redis = dict.fromkeys(("redis", "tls_redis"), redis_server.LEFT_OUT)
    found = redis | {
        "browser": browser.LEFT_OUT,
        "compose_cluster_here": compose_cluster.left_out(),
        "tls_etcd": encrypting.LEFT_OUT,
        "systemd_analyze": "" if shutil.which("systemd-analyze") else "units: no systemd-analyze",
    }
    return {fixture: why for fixture, why in found.items() if why}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Name the servers a test runs on by the mode that the schema has there."""
    if "database_mode" in metafunc.fixturenames:
        store = _STORE in metafunc.definition.path.parents
        modes = ["plain", *(timescale.offer().images if store else ())]
        metafunc.parametrize("database_mode", modes, scope="module")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain_server() -> AsyncIterator[str]:
    """Embedded PostgreSQL.

    Not below pytest's own folder: as root the server runs as another user, and every pytest that starts
    makes that folder private again, also while this one is at work.
    """
    with scratch.scratch_folder("test-server", databases.place()) as folder:
        folder.chmod(0o755)
        async with service.run_postgres(folder / "postgres", ephemeral=True, fsync=False) as embedded:
            yield await _with_template(embedded.url, "plain")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def apache_server() -> AsyncIterator[str]:
    """TimescaleDB of the Apache licence."""
    async with timescale.running(timescale.offer().images["apache"]) as url:
        yield await _with_template(url, "apache")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tsl_server() -> AsyncIterator[str]:
    """TimescaleDB of the Timescale licence."""
    async with timescale.running(timescale.offer().images["tsl"]) as url:
        yield await _with_template(url, "tsl")


@pytest_asyncio.fixture
async def redis() -> AsyncIterator[redis_server.Redis]:
    """A Redis with nothing in it."""
    async with redis_server.running() as server:
        yield server


@pytest.fixture(scope="module")
def database_server(database_mode: str, request: pytest.FixtureRequest) -> str:
    """The address of a server whose template database has the newest schema."""
    url: str = request.getfixturevalue(f"{database_mode}_server")
    return url


@pytest.fixture
async def database(database_server: str) -> AsyncIterator[settings.DatabaseSettings]:
    """A fresh database, cloned from the template."""
    async with databases.cloned(database_server) as clone:
        yield clone


async def _with_template(url: str, mode: str) -> str:
    template = databases.named(url, databases.TEMPLATE)
    await databases.execute(url, f"CREATE DATABASE {databases.TEMPLATE}")
    await migrate.apply_pending(template)
    found = await databases.execute(template, "SELECT ccn_database_mode()")
    assert found == mode, f"the schema took {url} for {found}, not {mode}"
    return url
