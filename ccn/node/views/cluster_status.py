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
class Seat:
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
class Round:
    """The newest round in the log."""

    height: int | None
    committed: bool
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A node that signed two things of one height (and term) that no honest node signs."""

    node: NodeId
    kind: str
    height: int
    found_by: NodeId
    at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """One node's view of its cluster."""

    node: NodeId
    nodes: tuple[Seat, ...]
    leader: NodeId | None
    term: int
    height: int | None
    last_round: Round | None
    quorum: int | None
    unsealed: int
    database_mode: str
    stopped: str
    """Why this node signs nothing any more; empty while it does."""
    evidence: tuple[Contradiction, ...] = ()
    led_since: datetime | None = None
    """When the leader took its term."""


async def tell(membership: Membership) -> Status:
    """Ask the database, and remember who was seen."""
    pool, voting = membership.pool, membership.voting
    term = await terms.current(pool)
    log = await blocks.log(pool, command="round", limit=1)
    rules = voting.tip.rules if voting else None
    validators = {each.node for each in rules.validators} if rules else set()
    here, drained = {**membership.presence.outside, **membership.presence.seen}, await drains.draining(pool)
    return Status(
        node=membership.identity.node,
        nodes=tuple(
            Seat(
                node,
                node in validators if rules else None,
                node in here,
                node in drained,
                membership.presence.seen[node].http if node in membership.presence.seen else "",
                _moment(here[node].since_us) if node in here else None,
            )
            for node in sorted(validators | here.keys())
        ),
        leader=term.leader,
        term=term.number,
        height=await blocks.height(pool),
        last_round=_round(log[0]) if log else None,
        quorum=rules.quorum if rules else None,
        unsealed=await ledger.waiting(pool),
        database_mode=str(await pool.value("SELECT ccn_database_mode()")),
        stopped=voting.stopped.detail if voting and voting.stopped else "",
        evidence=tuple(
            Contradiction(each.node, each.kind, each.height, each.found_by, each.at)
            for each in await evidence.newest(pool)
        ),
        led_since=term.since,
    )


def _moment(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def _round(entry: blocks.Entry) -> Round:
    height = entry.data.get("height")
    reason = entry.data.get("reason", "")
    return Round(height if isinstance(height, int) else None, entry.committed, str(reason), entry.at)
