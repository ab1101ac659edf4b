"""An etcd that demands TLS 1.3 of whoever calls it: used where there is one, else left out aloud.

The one that CCN brings along cannot. CCN_TEST_ETCD_BIN names one that can, as `scripts/newer-etcd` prints
it and `.ci/run` sets it; then it is an error if that one cannot. Else the `etcd` of the machine is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.etcd.servers import Server, servers_in

if TYPE_CHECKING:
    from tests.support.certificates.link_authority import Pair

_OPTION = "--tls-min-version"


def _find_reason() -> str:
    """Why there is none; empty if there is."""
    if not PROGRAM:
        return "an etcd that demands TLS 1.3, because CCN_TEST_ETCD_BIN is not set and there is no etcd"
    try:
        told = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=False, timeout=60)
    except OSError as failed:
        return f"an etcd that demands TLS 1.3, because {PROGRAM} cannot be run: {failed.strerror}"
    if _OPTION in told.stdout + told.stderr:
        return ""
    return f"an etcd that demands TLS 1.3, because {PROGRAM} knows no {_OPTION}"


PROGRAM = os.environ.get("CCN_TEST_ETCD_BIN") or shutil.which("etcd") or ""
LEFT_OUT = _find_reason()


@contextmanager
def run_server(folder: Path, shown: Pair, clients: Path) -> Iterator[Server]:
    """Run one that shows this pair, which it reads anew for each connection, and wants certificates."""
    tls = [
        *("--cert-file", str(shown[0]), "--key-file", str(shown[1]), "--trusted-ca-file", str(clients)),
        *("--client-cert-auth", _OPTION, "TLS1.3"),
    ]
    quick = ["--bcrypt-cost", "4"]
    with servers_in(folder, ["encrypting"], tls, quick, Path(PROGRAM)) as servers:
        yield servers[0]
