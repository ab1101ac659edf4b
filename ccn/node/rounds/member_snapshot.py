"""Who is here, as one node saw it at one moment: a value that is replaced as a whole and never changed.

    believed registrations ──┬──> seen      takes part, under the key it has in the register or the chain
                             └──> outside   was removed, or votes with another key

A reader that keeps a snapshot sees one moment, whatever happens meanwhile. Separate from presence, which
decides when there is a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ccn.core.identity.registration import Registration
from ccn.core.ids import NodeId
from ccn.etcd.election import ElectedLeader

REMEMBERED = 32
"""Nodes that are not here any more and whose doors are still known."""


@dataclass(frozen=True, slots=True)
class MemberSnapshot:
    """The nodes that are here, by name."""

    seen: Mapping[NodeId, Registration] = field(default_factory=dict)
    """Those that take part."""
    outside: Mapping[NodeId, Registration] = field(default_factory=dict)
    """Those that take no part."""
    doors: Mapping[NodeId, str] = field(default_factory=dict)
    """Where clients find those that are seen, and those that were seen last and may come back."""

    @property
    def present(self) -> Mapping[NodeId, Registration]:
        """All that are here, whether or not they take part."""
        return {**self.outside, **self.seen}

    @property
    def registered_keys(self) -> Mapping[NodeId, bytes]:
        """The keys with which nodes have registered."""
        return {node: registration.key for node, registration in self.present.items()}

    def is_rightful(self, leader: ElectedLeader) -> bool:
        """Whether a place in the election is that of a node that is seen, in its present session."""
        registration = self.seen.get(leader.node)
        return registration is not None and registration.lease == leader.lease

    def replace_members(
        self, believed: Iterable[Registration], key_of: Callable[[NodeId], bytes | None]
    ) -> MemberSnapshot:
        """The next snapshot: sort what is believed, and remember the doors of those that left."""
        present = {registration.node: registration for registration in believed}
        seen = {node: each for node, each in present.items() if key_of(node) == each.key}
        outside = {node: each for node, each in present.items() if node not in seen}
        doors = merge_doors(self.doors, {node: each.http for node, each in seen.items()})
        return MemberSnapshot(
            seen, outside, {node: http for node, http in doors.items() if key_of(node) is not None}
        )


def merge_doors(known: Mapping[NodeId, str], seen: Mapping[NodeId, str]) -> dict[NodeId, str]:
    """Add those that are seen, and keep only the last ones that left: names may come and go for ever."""
    gone = [(node, http) for node, http in known.items() if node not in seen]
    return {**dict(gone[-REMEMBERED:]), **seen}
