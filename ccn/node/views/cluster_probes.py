"""What this node sees of its cluster, as probes that raise what is wrong.

Neither of them keeps a node from serving: without a leader or a quorum no block is agreed on, and people
are answered all the same. To take all nodes out of service for that would make a small failure large.
"""

from __future__ import annotations

from ccn import errors
from ccn.node.rounds.membership import Membership
from ccn.store.rounds import terms


async def check_leader(membership: Membership) -> None:
    """Whoever leads is known, and here."""
    term = await terms.load_term(membership.pool)
    if term.leader is None:
        raise errors.Unavailable("nobody leads yet")
    if term.leader not in membership.presence.members.seen:
        raise errors.Unavailable(f"{term.leader}, who led term {term.number}, is not seen")


async def check_quorum(membership: Membership) -> None:
    """As many validators are here as must agree."""
    if membership.voting is None:
        raise errors.Unavailable("the chain is not known yet")
    rules = membership.voting.tip.rules
    here = sum(each.node in membership.presence.members.seen for each in rules.validators)
    if here < rules.quorum:
        raise errors.Unavailable(
            f"{here} of {len(rules.validators)} validators are seen, of {rules.quorum} needed"
        )
