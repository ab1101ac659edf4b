"""Who says that it is here: each node's registration, under its lease.

Separate from the election because every node registers and at most one leads. What is registered is only
shown. Whoever can write to etcd can show anything, so readers believe a registration for its signature
alone, which `ccn/core/identity/registration.py` decides. Who may vote is written in the log and never
read from here.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
import structlog

from ccn import errors
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import ProgramNotice, Registration, ShownRegistration
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.etcd import changes
from ccn.etcd.client import EtcdClient
from ccn.etcd.entry import EtcdEntry, EtcdSnapshot, WriteRefused
from ccn.etcd.session import EtcdSession

PREFIX = "/ccn/nodes/"
ATTEMPTS = 3
VALUE_LIMIT = 4_096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

log = structlog.get_logger(__name__)


async def register_node(
    session: EtcdSession,
    registration: Signed[Registration],
    believed: Callable[[ShownRegistration], bool],
    *,
    program: Signed[ProgramNotice] | None = None,
    prefix: str = PREFIX,
) -> None:
    """Show a registration until the session ends.

    It replaces what the node's former life left behind, and whatever is not `believed` anyway. Where
    another node is believed under the same name, raises `NodeIdTaken`. After `OutcomeUnknown`, register
    again.
    """
    client = session.client
    node = registration.statement.node
    for _ in range(ATTEMPTS):
        session.check_alive()
        entry = await client.get_entry(f"{prefix}{node}")
        shown = _shown_from_entry(entry, prefix) if entry else None
        if shown is not None:
            if (shown.said, shown.program, shown.lease) == (registration, program, session.lease):
                return
            _check_ours(shown, registration.statement, believed)
        with contextlib.suppress(errors.OutcomeUnknown):
            modified = entry.modified if entry else 0
            value = registration_to_bytes(registration, program)
            result = await client.put_entry(
                f"{prefix}{node}", value, lease=session.lease, if_modified=modified
            )
            if not isinstance(result, WriteRefused):
                return
    raise errors.OutcomeUnknown(f"node {node} may or may not be registered")


async def find_registration(
    client: EtcdClient, node: NodeId, *, prefix: str = PREFIX
) -> ShownRegistration | None:
    """Return what is shown under the name of a node."""
    entry = await client.get_entry(f"{prefix}{node}")
    return _shown_from_entry(entry, prefix) if entry else None


async def read_registrations(client: EtcdClient, *, prefix: str = PREFIX) -> tuple[ShownRegistration, ...]:
    """Return what is shown at this moment, ordered by name."""
    return _registrations_from_snapshot(await client.read_prefix(prefix), prefix)


async def watch_registrations(
    client: EtcdClient, *, prefix: str = PREFIX
) -> AsyncGenerator[tuple[ShownRegistration, ...]]:
    """Yield what is shown now, and again after every change."""
    before = None
    async with contextlib.aclosing(changes.watch_snapshots(client, prefix)) as snapshots:
        async for snapshot in snapshots:
            shown = _registrations_from_snapshot(snapshot, prefix)
            if shown != before:
                before = shown
                yield shown


def _check_ours(
    shown: ShownRegistration, own: Registration, believed: Callable[[ShownRegistration], bool]
) -> None:
    other = shown.said.statement
    if other.key != own.key and believed(shown):
        raise errors.NodeIdTaken(f"node {own.node} is registered with another key, at {other.grpc}")


def _registrations_from_snapshot(snapshot: EtcdSnapshot, prefix: str) -> tuple[ShownRegistration, ...]:
    return tuple(shown for found in snapshot.entries if (shown := _shown_from_entry(found, prefix)))


def registration_to_bytes(
    registration: Signed[Registration], program: Signed[ProgramNotice] | None = None
) -> bytes:
    """Write a registration as JSON. Programs from before some of its fields read those that they know."""
    own = registration.statement
    return orjson.dumps(
        {
            "node": own.node,
            "http": own.http,
            "grpc": own.grpc,
            "key": own.key.hex(),
            "since": _EPOCH + own.since_us * _MICROSECOND,
            "cluster": str(own.cluster),
            "life": str(own.life),
            "lease": f"{own.lease:016x}",
            "signature": registration.signature.hex(),
            **({} if program is None else {"program": _program_to_json(program)}),
        }
    )


def _program_to_json(program: Signed[ProgramNotice]) -> dict[str, object]:
    own = program.statement
    return {
        "version": own.version,
        "protocol": [own.spoken.lowest, own.spoken.highest],
        "signature": program.signature.hex(),
    }


def _shown_from_entry(entry: EtcdEntry, prefix: str) -> ShownRegistration | None:
    """Read what is shown. None for what no version of CCN signed: a stranger's key must not stop a node."""
    try:
        fields = _parse_fields(entry.value)
        said = _registration_from_fields(fields)
        name = entry.key.removeprefix(prefix)
        return ShownRegistration(name, entry.lease, said, _program_from_fields(fields, said.statement))
    except (ValueError, KeyError, TypeError, errors.InputInvalid) as strange:
        _log_once(entry.key[:200], str(strange)[:200])
        return None


@lru_cache(maxsize=256)  # and not again with every change of something else
def _log_once(key: str, reason: str) -> None:
    log.info("etcd registration not readable", key=key, reason=reason)


def _parse_fields(value: bytes) -> Mapping[str, Any]:
    if len(value) > VALUE_LIMIT:
        raise errors.InputInvalid(f"a registration has at most {VALUE_LIMIT} bytes")
    fields: Mapping[str, Any] = orjson.loads(value)
    return fields


def _program_from_fields(fields: Mapping[str, Any], own: Registration) -> Signed[ProgramNotice] | None:
    """Read what a node says of its program. What cannot be read is as if it said nothing."""
    try:
        told = fields["program"]
        lowest, highest = told["protocol"]
        spoken = ProtocolRange(lowest, highest)
        notice = ProgramNotice(own.cluster, own.node, own.life, own.lease, told["version"], spoken)
        return Signed(notice, bytes.fromhex(told["signature"]))
    except (ValueError, KeyError, TypeError, errors.InputInvalid):
        return None


def _registration_from_fields(fields: Mapping[str, Any]) -> Signed[Registration]:
    own = Registration(
        UUID(fields["cluster"]),
        NodeId(fields["node"]),
        bytes.fromhex(fields["key"]),
        fields["http"],
        fields["grpc"],
        UUID(fields["life"]),
        int(fields["lease"], 16),
        (datetime.fromisoformat(fields["since"]) - _EPOCH) // _MICROSECOND,
    )
    return Signed(own, bytes.fromhex(fields["signature"]))
