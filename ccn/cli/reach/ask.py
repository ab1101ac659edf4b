"""What commands share that ask a running cluster for something: the asking, and the wait.

A request is a row in the cluster's database, which whoever may answer it sees. So a command needs the
database and nothing else, and an error that a node answers with is raised here as if it had happened here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ccn.cli.output import printing
from ccn.cli.reach.target import Database, Doors

if TYPE_CHECKING:
    from ccn.store.connection.pool import Pool

T = TypeVar("T")

PATIENCE_S = 30.0
REQUESTS = "/api/v1/admin/requests"


def ask(
    command: str,
    body: Mapping[str, object],
    by: str,
    at: Database | Doors,
    *,
    node: str | None = None,
    quiet: bool = False,
    patience_s: float = PATIENCE_S,
) -> dict[str, Any]:
    """Ask the cluster and wait for the outcome; raise what it was refused with."""
    if isinstance(at, Doors):
        from ccn.cli.reach import remote  # noqa: PLC0415 - start-up must be quick

        asks = {"command": command, "body": dict(body), "node": node, "by": by}
        return dict(remote.post(at, REQUESTS, asks)["outcome"])
    return run(
        lambda pool: asked(pool, command, body, by, node=node, quiet=quiet, patience_s=patience_s), at
    )


def read(at: Database | Doors, path: str, work: Callable[[Pool], Awaitable[Any]], key: str = "") -> Any:
    """What a node answers at a path, under a key of it; or the same from the database."""
    if isinstance(at, Database):
        return run(work, at)
    from ccn.cli.reach import remote  # noqa: PLC0415 - start-up must be quick

    found = remote.get(at, path)
    return found[key] if key else found


def run(work: Callable[[Pool], Awaitable[T]], at: Database) -> T:
    """Do something with the cluster's database."""

    async def whole() -> T:
        async with connected(at) as pool:
            return await work(pool)

    return asyncio.run(whole())


@contextlib.asynccontextmanager
async def connected(at: Database) -> AsyncIterator[Pool]:
    """The cluster's database, with all else that the settings say about databases."""
    from ccn import settings  # noqa: PLC0415 - start-up must be quick
    from ccn.store.connection import pool  # noqa: PLC0415

    known = settings.load().database.model_dump() | {"url": at.url, "pool_size": 2}
    async with pool.open(settings.Database.model_validate(known), "ccn command") as connections:
        yield connections


async def asked(
    pool: Pool,
    command: str,
    body: Mapping[str, object],
    by: str,
    *,
    node: str | None = None,
    quiet: bool = False,
    patience_s: float = PATIENCE_S,
) -> dict[str, Any]:
    """The same on an open database. Whoever gives up waiting has still asked, and is told so."""
    import uuid  # noqa: PLC0415

    from ccn.core.ids import NodeId  # noqa: PLC0415
    from ccn.node.operators import submission  # noqa: PLC0415
    from ccn.store.operators import requests  # noqa: PLC0415

    request, named = uuid.uuid4(), NodeId(node) if node else None
    await requests.ask(pool, request, command, by, body, node=named)
    if not quiet:
        printing.say(f"asked; {await _whom(pool, command, node)}", err=True)
    try:
        return dict(await submission.told(pool, request, named, patience_s))
    except asyncio.CancelledError:  # Ctrl-C
        printing.say(f"still asked; `ccn request cancel {request}` takes it back", err=True)
        raise


async def _whom(pool: Pool, command: str, node: str | None) -> str:
    from ccn.store.operators import requests  # noqa: PLC0415
    from ccn.store.rounds import terms  # noqa: PLC0415

    if node is not None:
        return f"{node} is to answer"
    if command not in {requests.ROUND, requests.VALIDATORS}:
        return "any node may answer"
    term = await terms.current(pool)
    return f"{term.leader or 'nobody'} leads term {term.number}"
