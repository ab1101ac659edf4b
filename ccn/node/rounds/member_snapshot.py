"""Which nodes are present, as one node saw it at one moment. A snapshot is replaced, never changed.

    believed registrations ──┬──> seen      takes part, under the key it has in the register or the chain
                             └──> outside   was removed, votes with another key or speaks another protocol

A reader that keeps a snapshot sees one moment, whatever happens meanwhile. Separate from presence, which
decides when there is a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ccn.core.chain import protocol
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import ProgramNotice, Registration
from ccn.core.ids import NodeId
from ccn.etcd.election import ElectedLeader

REMEMBERED = 32
"""Most nodes that left and whose doors are still remembered."""


@dataclass(frozen=True, slots=True)
class MemberSnapshot:
    """The nodes that are present, by name."""

    seen: Mapping[NodeId, Registration] = field(default_factory=dict)
    """Nodes that take part."""
    outside: Mapping[NodeId, Registration] = field(default_factory=dict)
    """Nodes that do not take part."""
    doors: Mapping[NodeId, str] = field(default_factory=dict)
    """The HTTP doors of nodes that are seen, and of nodes that left lately and may come back."""
    programs: Mapping[NodeId, ProgramNotice] = field(default_factory=dict)
    """What the present nodes say of their programs. Those that say nothing have an older one."""

    @property
    def present(self) -> Mapping[NodeId, Registration]:
        """Return all nodes that are present, whether or not they take part."""
        return {**self.outside, **self.seen}

    @property
    def registered_keys(self) -> Mapping[NodeId, bytes]:
        """Return the keys with which nodes have registered."""
        return {node: registration.key for node, registration in self.present.items()}

    def spoken_by(self, node: NodeId) -> ProtocolRange:
        """Return the protocols that a present node speaks."""
        notice = self.programs.get(node)
        return protocol.FIRST if notice is None else notice.spoken

    def spoken_under(self, keys: Mapping[NodeId, bytes]) -> Mapping[NodeId, ProtocolRange]:
        """Return what those nodes speak that are present under these keys."""
        registered = self.registered_keys
        return {node: self.spoken_by(node) for node, key in keys.items() if registered.get(node) == key}

    def is_rightful(self, leader: ElectedLeader) -> bool:
        """Return whether a place in the election belongs to a node that is seen, in its present session."""
        registration = self.seen.get(leader.node)
        return registration is not None and registration.lease == leader.lease

    def replace_members(
        self,
        believed: Iterable[Registration],
        key_of: Callable[[NodeId], bytes | None],
        programs: Mapping[NodeId, ProgramNotice] = MappingProxyType({}),
        in_force: int | None = None,
    ) -> MemberSnapshot:
        """Make the next snapshot: sort the believed nodes, and remember the doors of those that left.

        Without rules no protocol is in force, and nobody is outside for what it speaks.
        """
        present = {registration.node: registration for registration in believed}
        speaks = {node: programs[node].spoken if node in programs else protocol.FIRST for node in present}
        seen = {
            node: shown
            for node, shown in present.items()
            if key_of(node) == shown.key and (in_force is None or in_force in speaks[node])
        }
        outside = {node: shown for node, shown in present.items() if node not in seen}
        doors = merge_doors(self.doors, {node: shown.http for node, shown in seen.items()})
        return MemberSnapshot(
            seen,
            outside,
            {node: http for node, http in doors.items() if key_of(node) is not None},
            {node: notice for node, notice in programs.items() if node in present},
        )


def merge_doors(known: Mapping[NodeId, str], seen: Mapping[NodeId, str]) -> dict[NodeId, str]:
    """Add the doors of nodes that are seen, and keep those of the last nodes that left.

    The number kept has a limit, because nodes with new names may come and go for ever.
    """
    left = [(node, http) for node, http in known.items() if node not in seen]
    return {**dict(left[-REMEMBERED:]), **seen}
