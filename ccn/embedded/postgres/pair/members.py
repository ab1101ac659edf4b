"""The two servers of a pair, seen as one database, and what each is started with.

Separate from what is decided about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ccn.embedded.postgres import service
from ccn.embedded.postgres.pair import record as pair_record
from ccn.embedded.postgres.pair.record import PairRecord
from ccn.embedded.postgres.replication import ServerReplication, Upstream
from ccn.embedded.postgres.server import PostgresServer
from ccn.embedded.supervision import SupervisedChild


@dataclass(slots=True)
class PairMember:
    """One of the two servers."""

    name: str
    server: PostgresServer
    supervised: SupervisedChild | None = None
    alive: bool = False

    @property
    def pid(self) -> int:
        """The process id of its server, now or the last one."""
        return self.supervised.pid if self.supervised is not None else 0


@dataclass(slots=True)
class EmbeddedPair:
    """The two that run, seen as one database."""

    place: Path
    members: dict[str, PairMember]
    record: PairRecord
    password: str = field(repr=False)
    node_password: str = field(repr=False)
    synchronous: bool
    on_change: Callable[[str], None]
    promoted_s: float = 0.0
    """How long the last promotion took, from the certain death to the first write that is possible."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    in_step: asyncio.Event = field(default_factory=asyncio.Event)
    deciding: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def url(self) -> str:
        """The address for its owner."""
        return self.url_of("ccn", self.password)

    def url_of(self, role: str, password: str) -> str:
        """The address for a role: both hosts, of which one takes writes."""
        return service.database_url(
            role, password, *(member.server.port for member in self.members.values())
        )

    @property
    def version(self) -> str:
        """Of both."""
        return self.primary.server.programs.version

    @property
    def primary(self) -> PairMember:
        """The one that leads, or is about to."""
        return self.members[self.record.primary]

    @property
    def standby(self) -> PairMember:
        """The other."""
        return self.members[self.record.standby]

    async def wait_until_in_step(self) -> None:
        """Wait until the standby has all that is acknowledged from then on."""
        await self.in_step.wait()

    def write_record(self, record: PairRecord) -> None:
        """Believe this from now on. It is on the disk first."""
        pair_record.write_record(self.place, record)
        self.record = record
        self.in_step.set() if record.in_step else self.in_step.clear()

    def assign_roles(self) -> None:
        """Set what each is started with from now on."""
        primary, other = self.primary.server, self.standby.server
        synchronous = self.synchronous and self.record.in_step
        primary.replication = ServerReplication(None, (self.standby.name,), synchronous)
        upstream = Upstream(primary.port, other.where.passfile, self.standby.name)
        other.replication = ServerReplication(upstream, (self.primary.name,))
