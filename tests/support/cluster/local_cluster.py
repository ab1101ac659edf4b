"""A local cluster that holds rounds quickly, asked over HTTP."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from tests.support.cluster.up import Up, eventually

QUICK = {
    "CCN_CLUSTER_INTERVAL_S": "0.5",
    "CCN_ETCD_LEASE_TTL_S": "2",
    "CCN_LIMITS_REQUESTS": "1000000",  # these tests ask for the status far more often than anybody may
}


class Local:
    """A running local cluster, asked over HTTP."""

    def __init__(self, running: Up, told: dict[str, Any]) -> None:
        self.running, self.told = running, told

    def status(self) -> dict[str, Any]:
        for node in self.told["nodes"]:
            try:
                answer = httpx.get(f"{node['http']}/status", timeout=3)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        return {"height": None, "leader": None}

    def height(self) -> int:
        return self.status()["height"] or 0

    def leader(self) -> str:
        return str(eventually(lambda: self.status()["leader"]))

    def all_here(self) -> bool:
        nodes = self.status().get("nodes", ())
        return bool(nodes) and all(node["here"] for node in nodes)

    def service(self, name: str) -> int:
        def found() -> int:
            for child in psutil.Process(self.running.process.pid).children():
                with suppress(psutil.NoSuchProcess):  # of the nodes some are on their way out
                    if child.name() == name:
                        return int(child.pid)
            return 0

        return eventually(found)

    def goes_on(self, by: int = 2) -> float:
        """Wait for so many more blocks; how long the first took."""
        began, before = time.monotonic(), self.height()
        eventually(lambda: self.height() > before)
        first_s = time.monotonic() - began
        eventually(lambda: self.height() >= before + by)
        return first_s
