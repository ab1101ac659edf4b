"""TimescaleDB in Docker for the store tests: used where an engine has the image, else left out aloud.

`scripts/timescale-image` makes both. CCN_TEST_TIMESCALE_IMAGE and CCN_TEST_TIMESCALE_TSL_IMAGE name other
images, with the conventions of the official ones; CCN_TEST_TIMESCALE=required makes it an error to leave
the first one out.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from tests.support import ports

if TYPE_CHECKING:
    import docker  # type: ignore[import-untyped]  # the library ships no types, here and below

LABEL = "ccn.tests"
READY_TIMEOUT_S = 120.0
ENGINE_TIMEOUT_S = 10

# Background workers would hold on to the template database, which cannot be cloned then.
SERVER = [
    "-c",
    "listen_addresses=127.0.0.1",
    "-c",
    "timescaledb.max_background_workers=0",
    "-c",
    "fsync=off",
]


@dataclass(frozen=True, slots=True)
class Offer:
    """The images to test against, by the mode that the schema must find there, and what is missing."""

    images: Mapping[str, str]
    left_out: str


@cache
def offer() -> Offer:
    """Ask the Docker engine, once a session."""
    wanted = {"apache": os.environ.get("CCN_TEST_TIMESCALE_IMAGE", "ccn-timescaledb")}
    if licensed := os.environ.get("CCN_TEST_TIMESCALE_TSL_IMAGE"):
        wanted["tsl"] = licensed
    if not _listens():
        return Offer({}, "no Docker engine answers")
    import docker  # here and below: most runs have no engine, and do not wait for the library
    from docker.errors import DockerException  # type: ignore[import-untyped]

    try:
        with closing(docker.from_env(timeout=ENGINE_TIMEOUT_S)) as engine:
            missing = {mode: image for mode, image in wanted.items() if not _has(engine, image)}
            _remove_orphans(engine)
    except DockerException:
        return Offer({}, "no Docker engine answers")
    found = {mode: image for mode, image in wanted.items() if mode not in missing}
    return Offer(found, ", ".join(f"no image {image}" for image in missing.values()))


@asynccontextmanager
async def running(image: str) -> AsyncIterator[str]:
    """The URL of a server in a container of its own, reached over loopback on the host's own network."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    testcontainers_config.ryuk_disabled = True  # an image that would have to be pulled; see _remove_orphans
    with ports.reserve_port() as port:
        container = (
            DockerContainer(image)
            .with_env("PGPORT", str(port))
            .with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_command(SERVER)
            .with_kwargs(network_mode="host", labels={LABEL: str(os.getpid())})
        )
        with container:
            url = f"postgresql://postgres@{ports.HOST}:{port}/postgres"
            await _answers(url)
            yield url


async def _answers(url: str) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            connection = await asyncpg.connect(url, timeout=5)
        except (OSError, asyncpg.CannotConnectNowError):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.05)
        else:
            await connection.close()
            return


def _listens() -> bool:
    """Whether it is worth asking; the library leaves a socket open when nobody answers."""
    place = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not place.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(place.removeprefix("unix://")) == 0


def _has(engine: docker.DockerClient, image: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        engine.images.get(image)
    except ImageNotFound:
        return False
    return True


def _remove_orphans(engine: docker.DockerClient) -> None:
    """Containers whose test run was killed before it could remove them."""
    for container in engine.containers.list(all=True, filters={"label": LABEL}):
        if not Path("/proc", container.labels[LABEL]).exists():
            container.remove(force=True, v=True)
