"""A certificate authority for etcd and its clients, made with the openssl command that Debian has."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ccn.etcd.endpoint import EtcdTls

if TYPE_CHECKING:
    from tests.support.etcd.servers import Server

    StartTls = Callable[[list[str]], Server]


class Authority:
    """A certificate authority of this test."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._request("ca", "-subj", "/CN=test authority")

    @property
    def certificate(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    def issue(self, name: str, address: str = "127.0.0.1") -> tuple[Path, Path]:
        """A certificate for `address` and its key."""
        by = ("-CA", str(self.folder / "ca.pem"), "-CAkey", str(self.folder / "ca.key"))
        extensions = (f"subjectAltName=IP:{address}", "basicConstraints=critical,CA:FALSE")
        self._request(
            name, *by, "-subj", f"/CN={name}", *(part for text in extensions for part in ("-addext", text))
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def identity(self, name: str) -> EtcdTls:
        """What a client of this authority is given."""
        certificate, key = self.issue(name)
        return EtcdTls(self.certificate, certificate.read_bytes(), key.read_bytes())

    def _request(self, name: str, *options: str) -> None:
        command = [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-keyout", str(self.folder / f"{name}.key")),
            *("-out", str(self.folder / f"{name}.pem"), *options),
        ]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()


def flags(authority: Authority, address: str = "127.0.0.1") -> list[str]:
    certificate, key = authority.issue("server", address)
    ca = str(authority.folder / "ca.pem")
    return [
        *("--cert-file", str(certificate), "--key-file", str(key)),
        *("--client-cert-auth", "--trusted-ca-file", ca),
    ]
