"""A registration: what a node says about itself in etcd, signed, and when another node believes it.

etcd is trusted only to say who is alive. Whoever can write there can show anything, also an old
registration of a node. So a registration is signed with the key that the node votes with, and it names the
cluster, the lease it stands under and the life of the node. A life is a random name that the database draws
each time a node enrols. Only the newest counts, so an old address cannot be shown again.

The chain says which key belongs to a node that votes; for other nodes the register in the database does.

What a node's program is and speaks stands beside the registration, signed by itself: programs from before
check the bytes of a registration as they know them, and pass over what they do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ccn import errors
from ccn.core import ids
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.rules import Rules
from ccn.core.identity.revocation import Revocation
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment, signed
from ccn.core.ledger.signed import Check, Signed

ADDRESS_LIMIT = 300
_KEY_BYTES = 32
_HTTP = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+")
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,60}")
_GRPC = re.compile(r"[A-Za-z0-9._-]+:\d{1,5}|\[[0-9A-Fa-f:.]+\]:\d{1,5}")


@dataclass(frozen=True, slots=True)
class Registration:
    """A node in one session with etcd: where its doors are, its Ed25519 key, and since when it runs."""

    cluster: UUID
    node: NodeId
    key: bytes
    http: str
    grpc: str
    life: UUID
    lease: int
    since_us: int
    """When its process began, by its own clock."""

    def __post_init__(self) -> None:
        """Refuse what no node says."""
        ids.check_name(self.node, "node")
        if len(self.key) != _KEY_BYTES:
            raise errors.InputInvalid(f"an Ed25519 public key has {_KEY_BYTES} bytes")
        if not 0 <= self.since_us <= commitment.INTEGER_LIMIT or not 0 <= self.lease < 1 << 63:
            raise errors.InputInvalid("a time or a lease is out of range")
        if max(len(self.http), len(self.grpc)) > ADDRESS_LIMIT:
            raise errors.InputInvalid(f"an address has at most {ADDRESS_LIMIT} characters")
        if not _HTTP.fullmatch(self.http) or not _GRPC.fullmatch(self.grpc):
            raise errors.InputInvalid("the doors of a node are at http://host:port and host:port")

    def signed_bytes(self) -> bytes:
        """What is signed."""
        return signed.statement_bytes(
            "registration",
            {
                "cluster": str(self.cluster),
                "grpc": self.grpc,
                "http": self.http,
                "key": self.key.hex(),
                "lease": f"{self.lease:016x}",
                "life": str(self.life),
                "node": self.node,
                "since": self.since_us,
            },
        )


@dataclass(frozen=True, slots=True)
class ProgramNotice:
    """What a node says of its program, for one registration: which release it is, and what it speaks."""

    cluster: UUID
    node: NodeId
    life: UUID
    lease: int
    version: str
    spoken: ProtocolRange

    def __post_init__(self) -> None:
        """Refuse what no node says."""
        ids.check_name(self.node, "node")
        if not _VERSION.fullmatch(self.version):
            raise errors.InputInvalid("this is not the version of a program")

    def signed_bytes(self) -> bytes:
        """What is signed."""
        return signed.statement_bytes(
            "program",
            {
                "cluster": str(self.cluster),
                "highest": self.spoken.highest,
                "lease": f"{self.lease:016x}",
                "life": str(self.life),
                "lowest": self.spoken.lowest,
                "node": self.node,
                "version": self.version,
            },
        )


@dataclass(frozen=True, slots=True)
class ShownRegistration:
    """A registration as it stands in etcd: under whose name, guarded by which lease, and what it claims."""

    name: str
    lease: int
    said: Signed[Registration]
    program: Signed[ProgramNotice] | None = None
    """None if it says nothing of its program, or what cannot be read."""


@dataclass(frozen=True, slots=True)
class EnrolledNode:
    """A node in the register: the key and the life that count, and whether an operator removed it."""

    key: bytes
    life: UUID
    removed: bool = False


@dataclass(frozen=True, slots=True)
class NodeRegister:
    """The nodes that enrolled in the database of a cluster, and certificates that count no more."""

    cluster: UUID
    nodes: Mapping[NodeId, EnrolledNode] = field(default_factory=dict)
    revoked: frozenset[Revocation] = frozenset()


def find_doubt(shown: ShownRegistration, register: NodeRegister, check: Check) -> str:
    """Say why this is not what a node of the register says now, or nothing if it is."""
    registration = shown.said.statement
    enrolled = register.nodes.get(registration.node)
    if enrolled is None:
        return "no such node has enrolled in the database"
    reasons = {
        "it stands under another name": shown.name == registration.node,
        "it stands under another lease": shown.lease == registration.lease,
        "it is of another cluster": registration.cluster == register.cluster,
        "the node enrolled with another key": registration.key == enrolled.key,
        "it is not of the node's present life": registration.life == enrolled.life,
    }
    for reason, holds in reasons.items():
        if not holds:
            return reason
    return "" if shown.said.is_signed_by(enrolled.key, check) else "its signature is false"


def find_program(shown: ShownRegistration, check: Check) -> ProgramNotice | None:
    """Return what a node that is believed says of its program, if it says so now and with the same key."""
    registration, notice = shown.said.statement, shown.program
    if notice is None or not notice.is_signed_by(registration.key, check):
        return None
    said = notice.statement
    own = said.cluster, said.node, said.life, said.lease
    is_own = own == (registration.cluster, registration.node, registration.life, registration.lease)
    return said if is_own else None


def key_of(node: NodeId, register: NodeRegister, rules: Rules | None) -> bytes | None:
    """Return the key under which a node takes part now, or None if it may not.

    The chain says so for those that vote, whatever the database shows; before the founding nobody votes.
    """
    voting = rules.key_of(node) if rules is not None else None
    enrolled = register.nodes.get(node)
    if voting is not None or enrolled is None or enrolled.removed:
        return voting
    return enrolled.key
