"""Health checks of the cluster, as this node sees it. Each raises what is wrong.

The lack of a leader or a quorum keeps no node from serving: no block is agreed on, but messages are
answered all the same. Taking all nodes out of service for that would make a small failure large.
"""

from __future__ import annotations

from ccn import errors, metrics
from ccn.node.rounds.membership import Membership
from ccn.store.rounds import terms


async def check_leader(membership: Membership) -> None:
    """Raise unless there is a leader, and this node sees it."""
    term = await terms.load_term(membership.pool)
    if term.leader is None:
        raise errors.Unavailable("no node leads yet")
    if term.leader not in membership.presence.members.seen:
        raise errors.Unavailable(f"{term.leader}, who led term {term.number}, is not seen")


async def check_protocol(membership: Membership) -> None:
    """This node's program speaks the protocol in force. A node whose program does not is not ready."""
    metrics.set_protocol(
        membership.voting.tip.rules.parameters.protocol if membership.voting is not None else None,
        supported=not membership.unsupported,
    )
    if membership.unsupported:
        raise errors.Unavailable(membership.unsupported)


async def check_quorum(membership: Membership) -> None:
    """Raise unless this node sees as many validators as must agree."""
    if membership.voting is None:
        raise errors.Unavailable("the chain is not known yet")
    rules = membership.voting.tip.rules
    seen = sum(validator.node in membership.presence.members.seen for validator in rules.validators)
    if seen < rules.quorum:
        raise errors.Unavailable(
            f"{seen} of {len(rules.validators)} validators are seen, of {rules.quorum} needed"
        )
