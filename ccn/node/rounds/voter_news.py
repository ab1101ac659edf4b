"""What voters tell a gateway about the cluster, again and again: who votes, and which block they stand on.

A gateway has no chain of its own. It believes a voter whom the cluster's authority has certified: a voter
could sign tokens for anybody anyway. Of several it believes what most of them say, so that one that is
behind, or lies, changes nothing.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ccn import errors
from ccn.core.chain import rules
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NumberedHash
from ccn.node.rounds.membership import Membership


@dataclass(frozen=True, slots=True)
class VoterNews:
    """What one voter tells now."""

    node: NodeId
    validators: str = ""
    """The rules as the record keeps them, in hexadecimal; empty before the founding."""
    parameters: str = ""
    height: int = 0
    block: str = ""
    doors: tuple[str, ...] = ()
    """Where clients find nodes and gateways."""

    @property
    def rules(self) -> Rules | None:
        """Who votes, as this voter has verified it."""
        if not self.validators:
            return None
        return rules.parse_rules(bytes.fromhex(self.validators), bytes.fromhex(self.parameters))

    def check_readable(self) -> None:
        """Raise InputInvalid for what this version cannot read: such a voter counts as silent."""
        try:
            _ = self.rules, self.tip
        except ValueError as strange:
            raise errors.InputInvalid(f"{self.node} tells what cannot be read: {strange}") from None

    @property
    def tip(self) -> NumberedHash | None:
        """The block that it stands on."""
        return NumberedHash(self.height, bytes.fromhex(self.block)) if self.height else None


async def tell_news(membership: Membership, gateways: tuple[str, ...]) -> VoterNews:
    """What this node tells."""
    doors = (*gateways, *membership.presence.list_doors())
    agreed, voting = await membership.load_voters(), membership.voting
    if agreed is None or voting is None:
        return VoterNews(membership.identity.node, doors=doors)
    return VoterNews(
        membership.identity.node,
        agreed.validators_body().hex(),
        agreed.parameters_body().hex(),
        voting.tip.height,
        voting.tip.hash.hex(),
        doors,
    )


@dataclass(slots=True)
class HeardNews:
    """What a gateway has heard last, of all that answered."""

    rules: Rules | None = None
    tip: NumberedHash | None = None
    """A block that the database has to show; the highest there ever was."""
    doors: tuple[str, ...] = ()
    answering: frozenset[NodeId] = field(default_factory=frozenset)

    def hear(self, told: Mapping[NodeId, VoterNews]) -> None:
        """Take what was told in one round of questions; nobody answered if it is empty."""
        self.answering = frozenset(told)
        self.doors = (
            tuple(dict.fromkeys(each for news in told.values() for each in news.doors)) or self.doors
        )
        known = [agreed for news in told.values() if (agreed := news.rules) is not None]
        if known:
            by_hash = {each.hash(): each for each in known}
            (most, _), *_ = Counter(each.hash() for each in known).most_common(1)
            self.rules = by_hash[most]
        tips = [tip for news in told.values() if (tip := news.tip) is not None]
        if tips:
            middle = statistics.median_low(tip.number for tip in tips)
            tip = next(each for each in tips if each.number == middle)
            if self.tip is None or tip.number > self.tip.number:
                self.tip = tip
