"""A crowd at the gRPC door: connections have an end, and a number for each address, and calls a message."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection,
    reflection_pb2,
    reflection_pb2_grpc,
)

from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.grpc import server
from ccn.gateway.grpc.slow_callers import SlowCallers

Code = grpc.StatusCode
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""What every HTTP/2 connection begins with, and an empty frame of settings."""
CHECK = health_pb2.HealthCheckRequest()
ASK = "/grpc.health.v1.Health/Check"


class Idle:
    """A connection that calls nothing."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        self._socket.sendall(HTTP2)
        self._socket.setblocking(False)

    @property
    def open(self) -> bool:
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        return False

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def served(**chosen: object) -> AsyncIterator[int]:
    """The port of a door that has nothing behind it but health and reflection."""
    stop, door = asyncio.Event(), server.GrpcServer(readiness.Readiness({}))
    port = door.listen(settings.GrpcSettings.model_validate({"port": 0, **chosen}))
    serving = asyncio.create_task(door.serve(stop, 0.1))
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(serving, 60)


@asynccontextmanager
async def idle(port: int, number: int, source: str = "127.0.0.1") -> AsyncIterator[list[Idle]]:
    made = [Idle(port, source) for _ in range(number)]
    try:
        yield made
    finally:
        for each in made:
            each.close()


async def healthy(port: int) -> bool:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(CHECK, timeout=60, wait_for_ready=True)
        return bool(answer.status == health_pb2.HealthCheckResponse.NOT_SERVING)


async def until_open(connections: list[Idle], number: int) -> None:
    async with asyncio.timeout(60):
        while sum(each.open for each in connections) != number:
            await asyncio.sleep(0.02)


async def test_an_address_keeps_no_more_connections_than_its_share_and_others_keep_theirs() -> None:
    async with served(address_limit=5) as port, AsyncExitStack() as held:
        before = await held.enter_async_context(idle(port, 5, "127.0.0.2"))
        flood = await held.enter_async_context(idle(port, 60))
        await until_open(flood, 5)
        assert await healthy(port)
        assert all(each.open for each in before)


async def test_a_door_has_so_many_connections_and_refuses_further_ones() -> None:
    async with served(connection_limit=8) as port:
        async with idle(port, 20) as flood:
            await until_open(flood, 8)
        assert await healthy(port)


async def test_a_connection_over_which_nobody_calls_ends_and_one_with_a_stream_does_not() -> None:
    async with (
        served(idle_s=0.3) as port,
        idle(port, 3) as silent,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        seen = health_pb2_grpc.HealthStub(channel).Watch(CHECK)
        assert (await anext(aiter(seen))).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await until_open(silent, 0)
        assert not seen.done()
        seen.cancel()


@asynccontextmanager
async def patient() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that waits a moment for messages, and gives an address two streams."""
    made = grpc.aio.server(interceptors=(SlowCallers(patience_s=0.2, address_limit=2),))
    health_pb2_grpc.add_HealthServicer_to_server(server.HealthService(("known",)), made)
    reflection.enable_server_reflection(("known",), made)
    port = made.add_insecure_port("127.0.0.1:0")
    await made.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await made.stop(0.1)


async def test_a_call_whose_message_does_not_come_ends() -> None:
    async with patient() as channel, asyncio.timeout(60):
        half = channel.stream_unary(ASK)()
        assert (await half.code(), await half.details()) == (
            Code.DEADLINE_EXCEEDED,
            "no message came within 0.2 s",
        )
        empty = channel.stream_unary(ASK)()
        await empty.done_writing()
        assert await empty.code() is Code.INVALID_ARGUMENT
        assert (await health_pb2_grpc.HealthStub(channel).Check(CHECK)).status == 1
        unknown = channel.unary_unary("/nobody.Knows/This")(b"")
        assert await unknown.code() is Code.UNIMPLEMENTED


async def test_an_address_has_so_many_streams_of_what_asks_nobody_s_name() -> None:
    async with patient() as channel, asyncio.timeout(60):
        health = health_pb2_grpc.HealthStub(channel)
        one = health.Watch(CHECK)
        two = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await anext(aiter(one))
        await two.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert await two.read()
        three = health.Watch(CHECK)
        assert await three.code() is Code.RESOURCE_EXHAUSTED
        one.cancel()
        two.cancel()
        while not await watches(channel):
            await asyncio.sleep(0.02)


async def watches(channel: grpc.aio.Channel) -> bool:
    seen = health_pb2_grpc.HealthStub(channel).Watch(CHECK)
    try:
        await anext(aiter(seen))
    except grpc.aio.AioRpcError:
        return False
    seen.cancel()
    return True


async def test_nothing_is_kept_of_services_that_there_are_not() -> None:
    async with patient() as channel, asyncio.timeout(60):
        asked = health_pb2.HealthCheckRequest(service="x" * 1_000)
        answers = [each async for each in health_pb2_grpc.HealthStub(channel).Watch(asked)]
        assert [each.status for each in answers] == [health_pb2.HealthCheckResponse.SERVICE_UNKNOWN]


FEW_FILES = """
import resource
from ccn import errors, settings
from ccn.gateway import file_limit

needed = file_limit.count_needed(settings.Settings())
for hard in (needed, 1024):
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        file_limit.reserve_files(settings.Settings())
    except errors.SettingsInvalid as refused:
        print(refused)
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard)
http = settings.HttpSettings(connection_limit=150)
few = {"http": http, "grpc": settings.GrpcSettings(connection_limit=150)}
file_limit.reserve_files(settings.Settings().model_copy(update=few))
"""


def test_a_node_whose_limits_need_more_files_than_it_may_open_does_not_start() -> None:
    told = subprocess.run([sys.executable, "-c", FEW_FILES], capture_output=True, text=True, check=False)
    raised, refused, also_raised = told.stdout.splitlines()
    assert (raised, also_raised) == ("True", "True")
    assert "this process may open 1024 files" in refused
    assert "CCN_GRPC_CONNECTION_LIMIT (1024)" in refused
    assert told.returncode == 0, told.stderr
