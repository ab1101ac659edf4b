"""The database of a local cluster: one server, or two, of which one takes over from the other.

Separate because everything else in `ccn up` sees one database with one URL, whichever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ccn.cli.cluster.data_folder import ClusterFolder
from ccn.cli.cluster.journal import ProcessJournal
from ccn.continuity import local
from ccn.embedded.postgres import service
from ccn.embedded.postgres.pair import pair, record
from ccn.embedded.supervision import ChildEvent

_IN_STEP_S = 30.0


class ClusterDatabase(Protocol):
    """What the cluster needs of one server or of two."""

    @property
    def url(self) -> str:
        """Return the address for its owner."""

    @property
    def version(self) -> str:
        """Return the version of PostgreSQL."""

    @property
    def node_password(self) -> str:
        """Return the password of the role that nodes have."""

    def url_of(self, role: str, password: str) -> str:
        """Return the address for another role."""


@asynccontextmanager
async def run_database(
    where: ClusterFolder,
    bin_: Path | None,
    said: ProcessJournal,
    report: Callable[[ChildEvent], None],
    *,
    with_standby: bool,
) -> AsyncIterator[ClusterDatabase]:
    """Run the database until the block ends. Without a standby, the server that led last runs."""
    if not with_standby:
        data = record.find_primary_alone(where.data)
        alone = service.run_postgres(data, bin=bin_, ephemeral=where.temporary, on_event=report)
        async with alone as database:
            yield database
        return

    def report_change(change: str) -> None:
        said.add_note("postgres", "warning" if " died" in change else "info", change)

    running = pair.run_pair(
        where.data, bin=bin_, ephemeral=where.temporary, on_event=report, on_change=report_change
    )
    async with running as both:
        async with asyncio.timeout(_IN_STEP_S):
            await both.wait_until_in_step()
        yield both


def describe_database(database: ClusterDatabase, role: str, password: str) -> Mapping[str, str]:
    """The settings by which a process finds it. Of two servers each may be the one that is read from."""
    url = database.url_of(role, password)
    return {"CCN_DATABASE_URL": url, "CCN_DATABASE_REPLICA_URL": url if _names_both(url) else ""}


@dataclass(frozen=True, slots=True)
class PairRoles:
    """Which of the two servers on this machine leads, and which follows."""

    primary: str
    standby: str
    in_step: bool

    def __str__(self) -> str:
        state = "is in step" if self.in_step else "is not in step: it cannot take over"
        return f"{self.primary} leads, {self.standby} {state}"


def find_roles(data: Path | None, nodes: Sequence[str]) -> PairRoles | None:
    """Find which server leads in the cluster that runs here with these nodes; None if it has one server."""
    running = local.read_record(data)
    if running is None or [node["http"] for node in running["nodes"]] != list(nodes):
        return None
    if not _names_both(str(running["database_url"])):
        return None
    found = record.read_record(Path(str(running["data"])))
    return PairRoles(found.primary, found.standby, found.in_step)


def _names_both(url: str) -> bool:
    return "," in url.rpartition("@")[2]
