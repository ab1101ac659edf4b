"""The gRPC door: health that follows readiness, reflection, and one owner of a port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from ccn import errors, settings
from ccn.gateway import readiness
from ccn.gateway.grpc import server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def served(ready: readiness.Readiness) -> AsyncIterator[grpc.aio.Channel]:
    stop = asyncio.Event()
    door = server.GrpcServer(ready)
    port = door.listen(settings.GrpcSettings(port=0))
    serving = asyncio.create_task(door.serve(stop, 1.0))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await asyncio.wait_for(channel.channel_ready(), 60)
            yield channel
    finally:
        stop.set()
        await asyncio.wait_for(serving, 60)


async def test_health_follows_readiness_and_watchers_are_told() -> None:
    passes = False

    async def probe() -> None:
        if not passes:
            raise errors.DatabaseUnavailable("not yet")

    ready = readiness.Readiness({"database": probe}, interval_s=0.01)
    watching = asyncio.create_task(ready.watch_probes())
    async with served(ready) as channel, asyncio.timeout(60):
        health = health_pb2_grpc.HealthStub(channel)
        seen = health.Watch(health_pb2.HealthCheckRequest())
        while (await seen.read()).status != NOT_SERVING:
            pass
        passes = True
        while (await seen.read()).status != SERVING:
            pass
        named = health_pb2.HealthCheckRequest(service="grpc.health.v1.Health")
        assert (await health.Check(named)).status == SERVING
        ready.stop()
        while (await seen.read()).status != NOT_SERVING:
            pass
        seen.cancel()
    await watching


async def test_reflection_lists_the_services() -> None:
    async with served(readiness.Readiness({})) as channel, asyncio.timeout(60):
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        listed = {service.name for service in (await answers.read()).list_services_response.service}
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= listed


async def test_reflection_is_also_found_under_the_name_that_newer_tools_ask_by() -> None:
    name = "grpc.reflection.v1.ServerReflection"
    wishes = [{"list_services": ""}, {"file_containing_symbol": "grpc.health.v1.Health"}]
    wishes += [{"file_containing_symbol": name}]
    async with served(readiness.Readiness({})) as channel, asyncio.timeout(60):
        call = channel.stream_stream(f"/{name}/ServerReflectionInfo")
        asked = [reflection_pb2.ServerReflectionRequest(**wish).SerializeToString() for wish in wishes]
        told = [
            reflection_pb2.ServerReflectionResponse.FromString(each) async for each in call(iter(asked))
        ]
    assert name in {service.name for service in told[0].list_services_response.service}
    assert [first_service(each) for each in told[1:]] == ["grpc.health.v1.Health", name]


def first_service(told: reflection_pb2.ServerReflectionResponse) -> str:
    """The full name of the first service of the file that was told."""
    file = FileDescriptorProto.FromString(told.file_descriptor_response.file_descriptor_proto[0])
    return f"{file.package}.{file.service[0].name}"


async def test_health_lists_how_every_service_is() -> None:
    async with served(readiness.Readiness({})) as channel, asyncio.timeout(60):
        health = health_pb2_grpc.HealthStub(channel)
        listed = (await health.List(health_pb2.HealthListRequest())).statuses
        checked = {
            name: await health.Check(health_pb2.HealthCheckRequest(service=name)) for name in dict(listed)
        }
    assert dict(listed) == checked
    assert {"", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= set(checked)


async def test_a_port_that_somebody_listens_on_is_refused_by_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(errors.SettingsInvalid, match=f"CCN_GRPC_PORT: 127.0.0.1:{port} is in use"):
            server.GrpcServer(readiness.Readiness({})).listen(settings.GrpcSettings(port=port))


async def test_two_nodes_cannot_share_a_port() -> None:
    first = server.GrpcServer(readiness.Readiness({}))
    port = first.listen(settings.GrpcSettings(port=0))
    stop = asyncio.Event()
    serving = asyncio.create_task(first.serve(stop, 1.0))
    with pytest.raises(errors.SettingsInvalid):
        server.GrpcServer(readiness.Readiness({})).listen(settings.GrpcSettings(port=port))
    stop.set()
    await serving
