"""Health checks of the cluster, as this node sees it. Each raises what is wrong.

The lack of a leader or a quorum keeps no node from serving: no block is agreed on, but messages are
answered all the same. Taking all nodes out of service for that would make a small failure large.
"""

from __future__ import annotations

from collections.abc import Callable

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
    metrics.process.set_protocol(
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


_PATIENCE = 3
"""After how many intervals without a quorum a node serves although it has cosigned nothing."""


class Arrival:
    """Whether this node counts again since it started: it has cosigned a block.

    Whoever restarts one node after the other waits for that, so that never two of them are missing. A node
    that has arrived stays arrived. Where no quorum is seen no block can come, so after a while the node
    serves without one.
    """

    def __init__(self, membership: Membership, now_s: Callable[[], float]) -> None:
        self._membership, self._now_s = membership, now_s
        self._since_s, self._arrived = now_s(), False

    async def check(self) -> None:
        """Raise until this node has cosigned a block, or has waited in vain for a quorum."""
        if not self._arrived:
            await self._refuse_too_early()
            self._arrived = True

    async def _refuse_too_early(self) -> None:
        membership = self._membership
        if membership.voting is not None and membership.voting.cosignature is not None:
            return
        try:
            await check_quorum(membership)
        except errors.Unavailable as alone:
            waited_s = self._now_s() - self._since_s
            if waited_s > _PATIENCE * membership.cluster.interval_s:
                return
            raise errors.Unavailable(f"no block cosigned since the start: {alone}") from None
        raise errors.Unavailable("no block cosigned since the start")
