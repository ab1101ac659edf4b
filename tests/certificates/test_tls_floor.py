"""gRPC agrees on nothing older than TLS 1.3, whoever starts a server of ours, and not only `ccn`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ccn.certificates import tls_floor

SERVE = """
import socket, ssl
from concurrent import futures
from datetime import UTC, datetime

import grpc

from ccn.certificates import issuing
from ccn.certificates.identity import TlsIdentity
from ccn.gateway.grpc.door_credentials import DoorCredentials

now = datetime.now(UTC)
authority = issuing.issue_authority(now)
made = issuing.issue_link_certificate(authority, "door", ("localhost",), issuing.LinkUse.SERVER, now, 1)
server = grpc.server(futures.ThreadPoolExecutor(1))
credentials = DoorCredentials(TlsIdentity(None, made.certificate, made.key)).make_credentials()
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
            print(connection.version())
    except OSError:
        print("refused")
server.stop(0)
"""


def run(first: str) -> subprocess.CompletedProcess[str]:
    """Serve in a process of its own that inherits nothing about it, and begins with these imports."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    return subprocess.run(
        [sys.executable, "-c", first + SERVE],
        capture_output=True,
        text=True,
        timeout=120,
        env=inherited,
        check=False,
    )


@pytest.mark.parametrize("package", ["ccn.gateway.grpc", "ccn.peers.client", "ccn.etcd.client"])
def test_a_program_that_opens_a_door_without_the_command_line_takes_no_tls_1_2(package: str) -> None:
    done = run(f"import {package}")
    assert done.stdout.split() == ["refused", "TLSv1.3"], done.stderr


def test_a_door_does_not_open_where_grpc_was_imported_too_early() -> None:
    done = run("import grpc")
    assert done.returncode != 0
    assert "SettingsInvalid: this program imported grpc before ccn" in done.stderr


def test_it_holds_for_these_tests() -> None:
    tls_floor.check_floor()
