"""What operators' commands read and ask: over the cluster's database, or over the HTTP door of a node.

    target.find_cluster ──> open_source ──┬── DatabaseSource   one connection pool while the block runs
                                          └── HttpSource       one request for each call

Both answer alike, so a command is written once. What a node refuses is raised as the error it stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from ccn.cli.reach import ask, remote
from ccn.cli.reach.target import DatabaseTarget, HttpTarget
from ccn.core.ids import NodeId
from ccn.node.operators import submission
from ccn.node.views import round_history
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains
from ccn.store.operators.drains import NodeLoad

T = TypeVar("T")

Fields = dict[str, Any]
"""An object as nodes answer it."""

_REQUESTS = "/api/v1/admin/requests"
_SEALED_WITHIN_S = 5.0


class Source(Protocol):
    """A cluster, as commands for operators see it."""

    def ask(
        self,
        command: str,
        body: Mapping[str, object],
        by: str,
        *,
        node: str | None = None,
        patience_s: float = ask.PATIENCE_S,
    ) -> Fields:
        """Ask the cluster for something and wait for the outcome; raise what it was refused with."""

    def list_requests(self, limit: int, *, ended: bool) -> list[Fields]:
        """The newest requests, also those with an answer if `ended`."""

    def take_back(self, request: UUID, by: str, reason: str) -> Fields:
        """Take a request back; return how it stands then."""

    def list_rounds(self, limit: int) -> list[Fields]:
        """The newest rounds."""

    def load_round(self, height: int) -> Fields:
        """One block."""

    def list_validators(self) -> list[Fields]:
        """Every node that ever ran here."""

    def load_of_node(self, node: str) -> NodeLoad:
        """What still ties a node to the cluster."""


@contextmanager
def open_source(at: DatabaseTarget | HttpTarget, *, quiet: bool) -> Iterator[Source]:
    """Connect to where a command was pointed at; unless `quiet`, say who is to answer what is asked."""
    if isinstance(at, HttpTarget):
        yield HttpSource(at)
        return
    with asyncio.Runner() as runner:
        connected = AsyncExitStack()
        try:
            pool = runner.run(connected.enter_async_context(ask.open_database(at)))
            yield DatabaseSource(runner, pool, quiet=quiet)
        finally:
            runner.run(connected.aclose())


class DatabaseSource:
    """A cluster over its database."""

    def __init__(self, runner: asyncio.Runner, pool: Pool, *, quiet: bool) -> None:
        self._runner = runner
        self._pool = pool
        self._quiet = quiet

    def ask(
        self,
        command: str,
        body: Mapping[str, object],
        by: str,
        *,
        node: str | None = None,
        patience_s: float = ask.PATIENCE_S,
    ) -> Fields:
        """Write the request down and look until it has an answer."""
        return self._run(
            ask.ask_on_database(
                self._pool, command, body, by, node=node, quiet=self._quiet, patience_s=patience_s
            )
        )

    def list_requests(self, limit: int, *, ended: bool) -> list[Fields]:
        """Read the newest requests."""
        return self._run(submission.list_newest(self._pool, limit, ended=ended))

    def take_back(self, request: UUID, by: str, reason: str) -> Fields:
        """Mark it, and wait a moment until a node has sealed that."""
        return self._run(submission.take_back(self._pool, request, by, reason, _SEALED_WITHIN_S))

    def list_rounds(self, limit: int) -> list[Fields]:
        """Read the log of rounds."""
        return self._run(round_history.load_log(self._pool, limit))

    def load_round(self, height: int) -> Fields:
        """Read one block."""
        return self._run(round_history.load_block(self._pool, height))

    def list_validators(self) -> list[Fields]:
        """Read who votes."""
        return self._run(round_history.load_voters(self._pool))

    def load_of_node(self, node: str) -> NodeLoad:
        """Count what a node leads, hosts and has yet to seal."""
        return self._run(drains.load_of_node(self._pool, NodeId(node)))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(ask.end_as_interrupted(work))


class HttpSource:
    """A cluster over the HTTP door of one of its nodes, with an admin's API key."""

    def __init__(self, at: HttpTarget) -> None:
        self._at = at

    def ask(
        self,
        command: str,
        body: Mapping[str, object],
        by: str,
        *,
        node: str | None = None,
        patience_s: float = ask.PATIENCE_S,
    ) -> Fields:
        """Have the node ask, which waits as long as it sees fit."""
        del patience_s
        asked = {"command": command, "body": dict(body), "node": node, "by": by}
        return dict(remote.post(self._at, _REQUESTS, asked)["outcome"])

    def list_requests(self, limit: int, *, ended: bool) -> list[Fields]:
        """Get the newest requests."""
        query = urlencode({"limit": limit, "ended": str(ended).lower()})
        return self._get_list(f"{_REQUESTS}?{query}", "requests")

    def take_back(self, request: UUID, by: str, reason: str) -> Fields:
        """Delete it."""
        query = urlencode({"reason": reason, "by": by})
        return remote.delete(self._at, f"{_REQUESTS}/{request}?{query}")

    def list_rounds(self, limit: int) -> list[Fields]:
        """Get the log of rounds."""
        return self._get_list(f"/api/v1/admin/rounds?limit={limit}", "rounds")

    def load_round(self, height: int) -> Fields:
        """Get one block."""
        return remote.get(self._at, f"/api/v1/admin/rounds/{height}")

    def list_validators(self) -> list[Fields]:
        """Get who votes."""
        return self._get_list("/api/v1/admin/validators", "nodes")

    def load_of_node(self, node: str) -> NodeLoad:
        """Get what still ties a node to the cluster."""
        load = remote.get(self._at, f"/api/v1/admin/nodes/{node}/load")
        return NodeLoad(load["draining"], load["leads"], load["instances"], load["unsealed"])

    def _get_list(self, path: str, key: str) -> list[Fields]:
        return list(remote.get(self._at, path)[key])
