"""Health checks of the cluster, as this node sees it. Each raises what is wrong.

Neither of them keeps a node from serving. Without a leader or a quorum no block is agreed on, but messages
are answered all the same. Taking all nodes out of service for that would make a small failure large.
"""

from __future__ import annotations

from ccn import errors
from ccn.node.rounds.membership import Membership
from ccn.store.rounds import terms


async def check_leader(membership: Membership) -> None:
    """Raise unless there is a leader, and this node sees it."""
    term = await terms.load_term(membership.pool)
    if term.leader is None:
        raise errors.Unavailable("no node leads yet")
    if term.leader not in membership.presence.members.seen:
        raise errors.Unavailable(f"{term.leader}, who led term {term.number}, is not seen")


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
