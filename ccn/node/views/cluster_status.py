"""The status of the cluster as one node sees it: one page for operators.

Separate from the doors and commands that show it, so that all of them show the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.node.rounds.member_snapshot import MemberSnapshot
from ccn.node.rounds.membership import Membership
from ccn.store.operators import drains
from ccn.store.rounds import blocks, consensus_log, evidence, ledger, terms

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NodeSeat:
    """One node: whether it votes, whether it is present, and whether an operator drains it."""

    node: NodeId
    votes: bool | None
    """None while the reporting node has not read the record."""
    here: bool
    draining: bool
    address: str
    """The address of its door for clients; empty if clients should send no credential there."""
    since: datetime | None = None
    """When its process began."""
    version: str = ""
    """The release of its program; empty if it is away, or from before programs said so."""
    spoken: ProtocolRange | None = None
    """Which protocols its program speaks; None while it is away."""
    outside: bool = False
    """Whether it is here and takes no part."""


@dataclass(frozen=True, slots=True)
class LastRound:
    """The newest round in the log."""

    height: int | None
    committed: bool
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KnownContradiction:
    """A node that signed two statements of one height and term that contradict each other."""

    node: NodeId
    kind: str
    height: int
    found_by: NodeId
    at: datetime


@dataclass(frozen=True, slots=True)
class GatewaySeat:
    """A gateway that the answering node has heard of lately."""

    gateway: NodeId
    address: str
    """Where its door for clients is."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One node's view of its cluster."""

    node: NodeId
    nodes: tuple[NodeSeat, ...]
    leader: NodeId | None
    term: int
    height: int | None
    last_round: LastRound | None
    quorum: int | None
    unsealed: int
    database_mode: str
    stopped: str
    """Why this node signs nothing any more; empty while it signs."""
    evidence: tuple[KnownContradiction, ...] = ()
    led_since: datetime | None = None
    """When the leader took its term."""
    gateways: tuple[GatewaySeat, ...] = ()
    protocol: int | None = None
    """The protocol in force; None while this node does not know the rules."""


async def load_status(membership: Membership) -> ClusterStatus:
    """Load the status, from one moment of the database and one snapshot of the members."""
    node, voting, members = membership.identity.node, membership.voting, membership.presence.members
    rules = voting.tip.rules if voting else None
    async with membership.pool.open_moment() as moment:
        term = await terms.load_term(moment)
        newest = await consensus_log.load_newest(moment, command="round", limit=1)
        contradictions = await evidence.list_newest(moment)
        return ClusterStatus(
            node=node,
            nodes=_list_seats(members, rules, await drains.list_draining(moment)),
            leader=term.leader,
            term=term.number,
            height=await blocks.load_height(moment),
            last_round=_round_from_entry(newest[0]) if newest else None,
            quorum=rules.quorum if rules else None,
            unsealed=await ledger.count_waiting(moment),
            database_mode=str(await moment.value("SELECT ccn_database_mode()")),
            stopped=voting.stop_reason.detail if voting and voting.stop_reason else membership.unsupported,
            evidence=tuple(
                KnownContradiction(proof.node, proof.kind, proof.height, proof.found_by, proof.at)
                for proof in contradictions
            ),
            led_since=term.since,
            protocol=rules.parameters.protocol if rules else None,
        )


def _list_seats(
    members: MemberSnapshot, rules: Rules | None, draining: Collection[NodeId]
) -> tuple[NodeSeat, ...]:
    validators = {validator.node for validator in rules.validators} if rules else set[NodeId]()
    present = members.present
    return tuple(
        NodeSeat(
            node,
            node in validators if rules else None,
            node in present,
            node in draining,
            members.seen[node].http if node in members.seen else "",
            _datetime_from_us(present[node].since_us) if node in present else None,
            members.programs[node].version if node in members.programs else "",
            members.spoken_by(node) if node in present else None,
            node in members.outside,
        )
        for node in sorted(validators | present.keys())
    )


def _datetime_from_us(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def _round_from_entry(entry: consensus_log.LogEntry) -> LastRound:
    height = entry.data.get("height")
    reason = entry.data.get("reason", "")
    return LastRound(height if isinstance(height, int) else None, entry.committed, str(reason), entry.at)
