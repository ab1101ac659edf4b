"""Writes the type stubs of the gRPC services, which protoc leaves out: a .pyi beside every _pb2_grpc.py.

`scripts/proto` calls it with a descriptor set and the folder that protoc wrote to. The stubs speak of the
asynchronous API, the only one CCN uses. Calls and contexts are grpc's own and untyped; messages are not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]  # the library ships no types
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

HEAD = """from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import Any, Protocol, TypeVar

{imports}

_Response = TypeVar("_Response", covariant=True)

class _Call(Protocol):
    def cancel(self) -> bool: ...
    async def code(self) -> Any: ...
    async def details(self) -> str: ...
    async def initial_metadata(self) -> Any: ...
    async def trailing_metadata(self) -> Any: ...
    async def wait_for_connection(self) -> None: ...

class _OneResponse(_Call, Awaitable[_Response], Protocol[_Response]): ...
class _ManyResponses(_Call, AsyncIterable[_Response], Protocol[_Response]): ...
"""
OPTIONS = (
    "timeout: float | None = ..., metadata: Sequence[tuple[str, str | bytes]] | None = ..., "
    "wait_for_ready: bool | None = ..."
)


def main(descriptors: Path, folder: Path) -> None:
    """Write one stub file for every proto file with services."""
    files = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    messages = {name: where for file in files for name, where in _messages(file)}
    for file in files:
        stem = folder / file.name.removesuffix(".proto")
        if stem.with_name(f"{stem.name}_pb2_grpc.py").exists():
            stem.with_name(f"{stem.name}_pb2_grpc.pyi").write_text(_stub(file, messages))


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Map each message of a file, as gRPC names it, to how Python reaches it."""
    module = file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
    todo = [(message, message.name) for message in file.message_type]
    for message, path in todo:
        yield f".{file.package}.{path}", f"{module}.{path}"
        todo += [(inner, f"{path}.{inner.name}") for inner in message.nested_type]


def _stub(file: FileDescriptorProto, messages: Mapping[str, str]) -> str:
    body = "".join(_service(service, messages) for service in file.service)
    modules = {where.rpartition("_pb2.")[0] + "_pb2" for where in messages.values()}
    used = sorted(module for module in modules if f"{module}." in body)
    return HEAD.format(imports="\n".join(f"import {module}" for module in used)) + body


def _service(service: ServiceDescriptorProto, messages: Mapping[str, str]) -> str:
    client = "".join(_called(method, messages) for method in service.method)
    server = "".join(_served(method, messages) for method in service.method)
    return f"""
class {service.name}Stub:
    def __init__(self, channel: Any) -> None: ...
{client}
class {service.name}Servicer:
{server}
def add_{service.name}Servicer_to_server(servicer: {service.name}Servicer, server: Any) -> None: ...
"""


def _called(method: MethodDescriptorProto, messages: Mapping[str, str]) -> str:
    asked, answered = messages[method.input_type], messages[method.output_type]
    argument = (
        f"requests: AsyncIterable[{asked}] | None = ..." if method.client_streaming else f"request: {asked}"
    )
    result = "_ManyResponses" if method.server_streaming else "_OneResponse"
    return f"    def {method.name}(self, {argument}, *, {OPTIONS}) -> {result}[{answered}]: ...\n"


def _served(method: MethodDescriptorProto, messages: Mapping[str, str]) -> str:
    asked, answered = messages[method.input_type], messages[method.output_type]
    argument = f"requests: AsyncIterator[{asked}]" if method.client_streaming else f"request: {asked}"
    if method.server_streaming:
        return f"    def {method.name}(self, {argument}, context: Any) -> AsyncIterator[{answered}]: ...\n"
    return f"    async def {method.name}(self, {argument}, context: Any) -> {answered}: ...\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
