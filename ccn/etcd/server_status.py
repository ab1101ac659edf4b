"""Which etcd answers at each address: for whoever looks before a node is started.

Separate from the client, which asks whichever server answers; here each one is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aetcd import rpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.etcd import endpoint
from ccn.etcd.access import EtcdAccess
from ccn.etcd.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class EtcdServerStatus:
    """What one server said of itself, or why it said nothing."""

    address: str
    version: str = ""
    failure: str = ""


async def load_statuses(access: EtcdAccess, within_s: float = 3.0) -> list[EtcdServerStatus]:
    """Ask every server at once."""
    return await asyncio.gather(*(_load_status(access, address, within_s) for address in access.servers))


async def _load_status(access: EtcdAccess, address: str, within_s: float) -> EtcdServerStatus:
    server = Endpoint(address, access.tls)
    try:
        with endpoint.translate_errors():
            answer = await rpc.MaintenanceStub(server.channel).Status(rpc.StatusRequest(), timeout=within_s)
    except errors.CCNError as failed:
        host, _, port = address.rpartition(":")
        tls = await access.explain_failure(host.strip("[]"), int(port))
        return EtcdServerStatus(address, failure=tls or str(failed))
    finally:
        await server.channel.close()
    return EtcdServerStatus(address, version=str(answer.version))
