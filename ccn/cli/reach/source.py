"""What operators' commands read and ask: over the cluster's database, or over the HTTP API of a node.

    target.find_cluster ──> open_source ──┬── DatabaseSource   one connection pool while the block runs
                                          └── HttpSource       one request for each call

Both answer alike, so a command is written once. What a node refuses is raised as the error it stands for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Protocol
from uuid import UUID

from ccn.cli.reach import ask
from ccn.cli.reach.database_source import DatabaseSource
from ccn.cli.reach.fields import Fields
from ccn.cli.reach.http_source import HttpSource
from ccn.cli.reach.target import DatabaseTarget, HttpTarget
from ccn.store.operators.drains import NodeLoad


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
        """List the newest requests, also those with an answer if `ended`."""

    def take_back(self, request: UUID, by: str, reason: str) -> Fields:
        """Take a request back; return how it stands then."""

    def list_rounds(self, limit: int) -> list[Fields]:
        """List the newest rounds."""

    def load_round(self, height: int) -> Fields:
        """Load one block."""

    def list_validators(self) -> list[Fields]:
        """List every node that ever ran here."""

    def load_of_node(self, node: str) -> NodeLoad:
        """Count what still ties a node to the cluster."""

    def list_plates(self) -> list[Fields]:
        """List the characters, each with the newest version of its plate."""

    def find_host(self, named: UUID) -> tuple[UUID, str]:
        """Find an instance by its id or that of its conversation; return its id and the node it is on."""


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
