"""Generated services are typed: what a caller sends and gets is checked before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import stubs

PROTO = """
syntax = "proto3";
package ccn.v1;
import "google/protobuf/empty.proto";
message Ping { message Inner { string word = 1; } Inner inner = 1; }
service Peer {
  rpc Ask(Ping) returns (Ping.Inner);
  rpc Follow(Ping) returns (stream Ping);
  rpc Push(stream Ping) returns (google.protobuf.Empty);
}
"""


@pytest.fixture
def stub(tmp_path: Path) -> str:
    """The stub of a service with one method of each kind."""
    (tmp_path / "ccn/pb").mkdir(parents=True)
    (tmp_path / "ccn/pb/peer.proto").write_text(PROTO)
    made = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python")]
    described = ["--include_imports", f"--descriptor_set_out={tmp_path}/descriptors"]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(tmp_path), *made, *described]
    subprocess.run([*command, "ccn/pb/peer.proto"], check=True, timeout=200)
    stubs.main(tmp_path / "descriptors", tmp_path)
    (written,) = tmp_path.glob("ccn/pb/*.pyi")
    assert written.name == "peer_pb2_grpc.pyi"
    return written.read_text()


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("def Ask(self, request: ccn.pb.peer_pb2.Ping, *", "-> _OneResponse[ccn.pb.peer_pb2.Ping.Inner]"),
        ("def Follow(self, request: ccn.pb.peer_pb2.Ping, *", "-> _ManyResponses[ccn.pb.peer_pb2.Ping]"),
        ("def Push(self, requests: AsyncIterable[ccn", "-> _OneResponse[google.protobuf.empty_pb2.Empty]"),
        ("async def Ask(self, request: ccn.pb.peer_pb2.Ping, c", "-> ccn.pb.peer_pb2.Ping.Inner"),
        ("def Follow(self, request: ccn.pb.peer_pb2.Ping, c", "-> AsyncIterator[ccn.pb.peer_pb2.Ping]"),
    ],
)
def test_every_kind_of_method_says_what_it_takes_and_gives(stub: str, method: str, answer: str) -> None:
    (line,) = [line for line in stub.splitlines() if line.lstrip().startswith(method)]
    assert line.endswith(f"{answer}: ...")


def test_a_stub_imports_the_modules_it_names_and_no_more(stub: str) -> None:
    imports = [line for line in stub.splitlines() if line.startswith("import ")]
    assert imports == ["import ccn.pb.peer_pb2", "import google.protobuf.empty_pb2"]
