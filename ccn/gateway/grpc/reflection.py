"""Tells tools which services there are and how their messages look, under both names that tools ask for.

The library knows only the older name. The two versions differ in their name alone. So one servicer answers
both, and the newer description is the older one with another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import descriptor_pool, text_format  # type: ignore[import-untyped]
from google.protobuf.descriptor_pb2 import FileDescriptorProto  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]

_OLDER, _NEWER = "v1alpha", "v1"
_NEW_NAME = reflection.SERVICE_NAME.replace(_OLDER, _NEWER)

NAMES: tuple[str, str] = (_NEW_NAME, reflection.SERVICE_NAME)


def add_reflection(names: Sequence[str], server: Any) -> None:
    """Add reflection to `server`, which then describes the services with these names."""
    _describe_newer()
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(_NEW_NAME, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))


def _describe_newer() -> None:
    """Register the description of the newer service: tools ask for it when they describe all services."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(_NEW_NAME)
    except KeyError:
        older = FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(older)
        newer = text_format.MessageToString(older).replace(_OLDER, _NEWER)
        pool.Add(text_format.Parse(newer, FileDescriptorProto()))
