"""A door in the clear opens on this machine only, unless somebody said that it may."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.gateway import exposure, readiness
from ccn.gateway.grpc.server import GrpcServer
from ccn.gateway.http import server as http_server

BEYOND = ("0.0.0.0", "::", "192.0.2.7", "", "node-1.example.org")


@pytest.mark.parametrize("host", BEYOND)
async def test_a_door_beyond_this_machine_says_what_to_set(host: str) -> None:
    with pytest.raises(errors.SettingsInvalid) as refused:
        http_server.listen_on_port(settings.HttpSettings(host=host, port=0))
    for variable in (
        "CCN_HTTP_HOST",
        "CCN_HTTP_TLS_CERTIFICATE",
        "CCN_HTTP_TLS_KEY",
        "CCN_HTTP_INSECURE=true",
    ):
        assert variable in str(refused.value)
    with pytest.raises(errors.SettingsInvalid, match="CCN_GRPC_INSECURE=true"):
        GrpcServer(readiness.Readiness({})).listen(settings.GrpcSettings(host=host, port=0))


def test_a_proxy_before_it_or_a_certificate_or_loopback_is_enough() -> None:
    doors = [
        settings.HttpSettings(host="0.0.0.0", insecure=True, port=0),
        settings.HttpSettings(host="localhost", port=0),
        settings.HttpSettings(host="127.8.0.1", port=0),
        settings.HttpSettings(host="::1", port=0),
    ]
    for door in doors[:3]:
        with contextlib.closing(http_server.listen_on_port(door)) as listening:
            assert listening.getsockname()[1]
    for door in (
        *doors,
        settings.HttpSettings(host="0.0.0.0", tls_certificate=Path("c"), tls_key=Path("k")),
    ):
        exposure.refuse_plain_door("http", door.host, door)
