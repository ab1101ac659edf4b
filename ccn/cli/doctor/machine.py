"""What a node needs of its machine: a folder, ports, names, certificates, open files."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from ccn import settings
from ccn.certificates import identity, inspection
from ccn.cli.doctor import findings
from ccn.cli.doctor.findings import DoctorFinding
from ccn.core.identity import address
from ccn.core.ids import NodeId
from ccn.gateway import file_limit
from ccn.service import doors

_SOON_DAYS = 7
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared only


def check_machine(chosen: settings.Settings, now: datetime) -> list[DoctorFinding]:
    """Look at everything that needs no other server."""
    checks = {
        "node": lambda: _check_node(chosen),
        "ports": lambda: _check_ports(chosen),
        "names": lambda: _check_names(chosen),
        "certificates": lambda: _check_certificates(chosen, now),
        "open files": lambda: _check_files(chosen),
    }
    return [each for about, check in checks.items() for each in findings.collect_findings(about, check)]


def _check_node(chosen: settings.Settings) -> Iterator[DoctorFinding]:
    node = chosen.node
    yield findings.ok("node", f"{node.id}, a {node.role}")
    if node.role == "gateway":
        return
    if node.state_dir is None:
        yield findings.mend("node", "CCN_NODE_STATE_DIR is not set: a voter keeps its key and votes there")
        return
    place = node.state_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        yield findings.mend("node", f"CCN_NODE_STATE_DIR: this user cannot write to {place}")
    elif node.state_dir.exists() and node.state_dir.stat().st_mode & 0o022:
        yield findings.mend(
            "node", f"CCN_NODE_STATE_DIR: others can write to {node.state_dir}: chmod go-w it"
        )
    else:
        yield findings.ok("node", f"state in {node.state_dir}")


def _check_ports(chosen: settings.Settings) -> Iterator[DoctorFinding]:
    listening = {"http": (chosen.http.host, chosen.http.port), "grpc": (chosen.grpc.host, chosen.grpc.port)}
    if chosen.node.role == "voter":
        listening["peers"] = (chosen.peers.host, chosen.peers.port)
    if len({port for _, port in listening.values() if port}) < sum(
        bool(port) for _, port in listening.values()
    ):
        yield findings.mend("ports", "two doors have the same port")
    for door, (host, port) in listening.items():
        yield _try_port(f"port {door}", host, port)


def _try_port(about: str, host: str, port: int) -> DoctorFinding:
    """Listen for a moment where the door would."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as refused:
            if refused.errno == errno.EADDRINUSE:
                return findings.look(
                    about, f"somebody listens at {host}:{port} already: this node, if it runs"
                )
            return findings.mend(about, f"{host}:{port} cannot be listened at: {refused.strerror}")
    return findings.ok(about, f"{host}:{port} is free")


def _check_names(chosen: settings.Settings) -> Iterator[DoctorFinding]:
    if chosen.node.role == "voter":
        yield from _check_advertised("CCN_PEERS", chosen.peers.host, chosen.peers.advertise)
    advertised = chosen.http.advertise
    yield from _check_advertised(
        "CCN_HTTP", chosen.http.host, urlsplit(advertised).netloc if advertised else ""
    )


def _check_advertised(prefix: str, host: str, advertised: str) -> Iterator[DoctorFinding]:
    if not advertised:
        if host in _EVERYWHERE:
            yield findings.mend("names", f"{prefix}_ADVERTISE is not set, and nobody can reach {host!r}")
        return
    name = (urlsplit(f"//{advertised}").hostname) or advertised
    try:
        found = sorted(
            {str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
        )
    except OSError as unknown:
        yield findings.mend(
            "names", f"{prefix}_ADVERTISE: {name} means no address here: {unknown.strerror}"
        )
        return
    loops = [each for each in found if address.is_loopback(each)]
    if loops and not address.is_loopback(host):
        yield findings.look(
            "names", f"{prefix}_ADVERTISE: {name} is {loops[0]} here; others need another address"
        )
    else:
        yield findings.ok("names", f"{name} is {', '.join(found)}")


def _check_certificates(chosen: settings.Settings, now: datetime) -> Iterator[DoctorFinding]:
    is_gateway = chosen.node.role == "gateway"
    doors.check_doors(chosen)
    shown = identity.read_identity(chosen.tls, NodeId(chosen.node.id), now, gateway=is_gateway)
    if shown is None and (is_gateway or not address.is_loopback(chosen.peers.host)):
        named = "CCN_TLS_CA, CCN_TLS_CERTIFICATE and CCN_TLS_KEY are not set"
        yield findings.mend("certificates", f"{named}: beyond this machine nodes know each other by them")
    for variable, file in _list_certificates(chosen):
        days = (inspection.find_end(file.read_bytes()) - now).days
        says = f"{variable}: ends in {days} days"
        yield (
            findings.look("certificates", f"{says}: renew it")
            if days < _SOON_DAYS
            else findings.ok("certificates", says)
        )


def _list_certificates(chosen: settings.Settings) -> Iterable[tuple[str, Path]]:
    named = {
        "CCN_TLS_CERTIFICATE": chosen.tls.certificate,
        "CCN_HTTP_TLS_CERTIFICATE": chosen.http.tls_certificate,
        "CCN_GRPC_TLS_CERTIFICATE": chosen.grpc.tls_certificate,
        "CCN_DATABASE_CERTIFICATE": chosen.database.certificate,
        "CCN_ETCD_CERTIFICATE": chosen.etcd.certificate,
        "CCN_LIMITS_REDIS_CERTIFICATE": chosen.limits.redis_certificate,
    }
    return [(variable, file) for variable, file in named.items() if file is not None]


def _check_files(chosen: settings.Settings) -> Iterator[DoctorFinding]:
    file_limit.reserve_files(chosen)
    yield findings.ok("open files", f"{file_limit.count_needed(chosen)} at most")
