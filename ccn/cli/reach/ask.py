"""What commands share that ask a running cluster for something: the asking, and the wait.

A request is a row in the cluster's database, which whoever may answer it sees. So a command needs the
database and nothing else, and an error that a node answers with is raised here as if it had happened here.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ccn import settings
from ccn.cli.output import printing
from ccn.cli.reach.target import DatabaseTarget
from ccn.core.ids import NodeId
from ccn.node.operators import submission
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.operators import requests
from ccn.store.rounds import terms

T = TypeVar("T")

PATIENCE_S = 30.0


def ask_cluster(
    command: str, body: Mapping[str, object], by: str, at: DatabaseTarget, *, quiet: bool = False
) -> dict[str, Any]:
    """Ask the cluster and wait for the outcome; raise what it was refused with."""
    return run_on_database(lambda pool: ask_on_database(pool, command, body, by, quiet=quiet), at)


def run_on_database(work: Callable[[Pool], Awaitable[T]], at: DatabaseTarget) -> T:
    """Do something with the cluster's database."""

    async def connect_and_work() -> T:
        async with open_database(at) as pool:
            return await work(pool)

    return asyncio.run(end_as_interrupted(connect_and_work()))


async def end_as_interrupted(work: Awaitable[T]) -> T:
    """Await it; once Ctrl-C has cancelled this task, whatever the work raises leaves as a cancellation.

    What is done while a cancellation passes (a ROLLBACK, closing connections) may fail with an error of its
    own. That would take the place of the cancellation, and the command would end with 1 and not with 130.
    """
    task = asyncio.current_task()
    try:
        return await work
    except Exception as failed:
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from failed
        raise


@contextlib.asynccontextmanager
async def open_database(at: DatabaseTarget) -> AsyncIterator[Pool]:
    """The cluster's database, with all else that the settings say about databases."""
    known = settings.load().database.model_dump() | {"url": at.url, "pool_size": 2}
    async with pool.open(settings.DatabaseSettings.model_validate(known), "ccn command") as connections:
        yield connections


async def ask_on_database(
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
    request, named = uuid.uuid4(), NodeId(node) if node else None
    await requests.add_request(pool, request, command, by, body, node=named)
    if not quiet:
        printing.say(f"asked; {await _describe_addressee(pool, command, node)}", err=True)
    try:
        return dict(await submission.wait_for_outcome(pool, request, named, patience_s))
    except asyncio.CancelledError:  # Ctrl-C
        printing.say(f"still asked; `ccn request cancel {request}` takes it back", err=True)
        raise


async def _describe_addressee(pool: Pool, command: str, node: str | None) -> str:
    if node is not None:
        return f"{node} is to answer"
    if command not in {requests.ROUND, requests.VALIDATORS}:
        return "any node may answer"
    term = await terms.load_term(pool)
    return f"{term.leader or 'nobody'} leads term {term.number}"
