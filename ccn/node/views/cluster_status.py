"""How the cluster is, as one node sees it: for operators, who want one page before they act."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ccn.core.ids import NodeId
from ccn.node.rounds.membership import Membership
from ccn.store.operators import drains
from ccn.store.rounds import blocks, evidence, ledger, terms

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NodeSeat:
    """One node: whether it votes, whether it is here, and whether an operator drains it."""

    node: NodeId
    votes: bool | None
    """None while this node has not read the record, and so does not know."""
    here: bool
    draining: bool
    address: str
    """Where its door for clients is; empty if no credential should go there."""
    since: datetime | None = None
    """When its process began."""


@dataclass(frozen=True, slots=True)
class LastRound:
    """The newest round in the log."""

    height: int | None
    committed: bool
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class KnownContradiction:
    """A node that signed two things of one height (and term) that no honest node signs."""

    node: NodeId
    kind: str
    height: int
    found_by: NodeId
    at: datetime


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
    """Why this node signs nothing any more; empty while it does."""
    evidence: tuple[KnownContradiction, ...] = ()
    led_since: datetime | None = None
    """When the leader took its term."""


async def load_status(membership: Membership) -> ClusterStatus:
    """Ask the database, and remember who was seen."""
    pool, voting = membership.pool, membership.voting
    term = await terms.load_term(pool)
    log = await blocks.load_log(pool, command="round", limit=1)
    rules = voting.tip.rules if voting else None
    validators = {each.node for each in rules.validators} if rules else set()
    here, drained = (
        {**membership.presence.outside, **membership.presence.seen},
        await drains.list_draining(pool),
    )
    return ClusterStatus(
        node=membership.identity.node,
        nodes=tuple(
            NodeSeat(
                node,
                node in validators if rules else None,
                node in here,
                node in drained,
                membership.presence.seen[node].http if node in membership.presence.seen else "",
                _datetime_from_us(here[node].since_us) if node in here else None,
            )
            for node in sorted(validators | here.keys())
        ),
        leader=term.leader,
        term=term.number,
        height=await blocks.load_height(pool),
        last_round=_round_from_entry(log[0]) if log else None,
        quorum=rules.quorum if rules else None,
        unsealed=await ledger.count_waiting(pool),
        database_mode=str(await pool.value("SELECT ccn_database_mode()")),
        stopped=voting.stop_reason.detail if voting and voting.stop_reason else "",
        evidence=tuple(
            KnownContradiction(each.node, each.kind, each.height, each.found_by, each.at)
            for each in await evidence.list_newest(pool)
        ),
        led_since=term.since,
    )


def _datetime_from_us(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def _round_from_entry(entry: blocks.LogEntry) -> LastRound:
    height = entry.data.get("height")
    reason = entry.data.get("reason", "")
    return LastRound(height if isinstance(height, int) else None, entry.committed, str(reason), entry.at)
