"""What nodes ask each other beside the statements of a round, as values for the node and the doors.

Separate from `wire`, so that code that answers a question needs no generated type. Each question has the
name of the node that asks. The door believes it only with that node's certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ccn.core.ids import InstanceId, NodeId
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.core.rounds.readback import ShownBlock


@dataclass(frozen=True, slots=True)
class Greeting:
    """A node asks another who it is."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class NodeIntroduction:
    """A node introduces itself: its Ed25519 key, its version, the last block it knows."""

    node: NodeId
    key: bytes
    version: str
    height: int
    block: bytes
    timeline: DatabaseTimeline | None = None
    """The newest timeline of the database that it has seen."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """The leader opens the round for a height and term, on top of the previous block."""

    node: NodeId
    height: int
    term: int
    previous: bytes
    timeline: DatabaseTimeline | None = None
    """The newest timeline of the database that the leader has seen."""


@dataclass(frozen=True, slots=True)
class CommitNotice:
    """The leader says which block it has committed. That is a hint to look, not a proof."""

    node: NodeId
    height: int
    term: int
    block: bytes


@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """A node was away and asks for the blocks from this height on."""

    node: NodeId
    first: int


@dataclass(frozen=True, slots=True)
class BlockPage:
    """Some of these blocks in a row, and the height up to which there are more."""

    blocks: tuple[ShownBlock, ...]
    height: int


@dataclass(frozen=True, slots=True)
class ForwardedRequest:
    """A client's request for an instance that another node hosts. Only the two doors read its body."""

    node: NodeId
    instance: InstanceId
    method: str
    body: bytes


@dataclass(frozen=True, slots=True)
class GatewayQuestion:
    """A gateway, `node`, asks in the name of a client, whose credential the voter checks."""

    node: NodeId
    method: str
    credential: str = field(repr=False)
    reason: str = field(repr=False)
    body: bytes = field(repr=False)
