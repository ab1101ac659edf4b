"""The descriptions of the gRPC services say where their code goes in languages that ask for it."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import FileDescriptor  # type: ignore[import-untyped]

from ccn.pb import cluster_pb2, instances_pb2, peer_pb2

FILES = (cluster_pb2.DESCRIPTOR, instances_pb2.DESCRIPTOR, peer_pb2.DESCRIPTOR)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_description_says_where_generated_code_goes(file: FileDescriptor) -> None:
    said = file.GetOptions()
    assert (said.go_package, said.csharp_namespace) == ("ccn/v1;ccnv1", "Ccn.V1")
    assert (said.java_package, said.java_multiple_files) == ("ccn.v1", True)
    assert said.objc_class_prefix == "CCN"
