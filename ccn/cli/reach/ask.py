"""Asking a running cluster for something over its database, and waiting for the outcome.

A request is a row in the database, and a node that may answer it sees the row. So a command needs only the
database. An error that a node answers with is raised here as if it had happened here.
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
from ccn.store.connection import hosts, pool
from ccn.store.connection.pool import Pool
from ccn.store.operators import requests
from ccn.store.replicas import reads, replica_set
from ccn.store.replicas.reads import ReplicaReads
from ccn.store.rounds import terms

T = TypeVar("T")

PATIENCE_S = 30.0
_NAME = "ccn command"


def run_on_database(work: Callable[[Pool], Awaitable[T]], at: DatabaseTarget) -> T:
    """Do the work with a connection to the cluster's database."""

    async def connect_and_work() -> T:
        async with open_database(at) as pool:
            return await work(pool)

    return asyncio.run(end_as_interrupted(connect_and_work()))


async def end_as_interrupted(work: Awaitable[T]) -> T:
    """Await the work; if Ctrl-C has cancelled this task, raise every error as a cancellation.

    What runs during a cancellation (a ROLLBACK, closing connections) may fail with an error of its own.
    That error would replace the cancellation, and the command would end with 1 instead of 130.
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
    """Open the cluster's database with all other settings about databases."""
    values = settings.load().database.model_dump() | {"url": at.url, "pool_size": 2}
    async with pool.open(settings.DatabaseSettings.model_validate(values), _NAME) as connections:
        yield connections


@contextlib.asynccontextmanager
async def open_replica_reads(primary: Pool) -> AsyncIterator[ReplicaReads]:
    """Open the replicas that the settings name, and look at them once."""
    database = settings.load().database
    database = database.with_replica_url(
        hosts.prepare_url(database.replica_url.get_secret_value(), database)
    )
    async with (
        replica_set.open_replicas(database, primary, _NAME) as replicas,
        reads.open_reads(
            primary, replicas, _NAME, pool_size=1, patience_s=database.statement_timeout_s
        ) as opened,
    ):
        await replicas.probe_all()
        yield opened


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
    """Ask the cluster, or the node that is named, and wait for the outcome; raise a refusal as an error.

    After Ctrl-C the request stays, and the command says how to take it back.
    """
    request, addressee = uuid.uuid4(), NodeId(node) if node else None
    await requests.add_request(pool, request, command, by, body, node=addressee)
    if not quiet:
        printing.say(f"asked; {await _describe_addressee(pool, command, node)}", err=True)
    try:
        return dict(await submission.wait_for_outcome(pool, request, addressee, patience_s))
    except asyncio.CancelledError:  # Ctrl-C
        printing.say(f"the request stays; `ccn request cancel {request}` takes it back", err=True)
        raise


async def _describe_addressee(pool: Pool, command: str, node: str | None) -> str:
    if node is not None:
        return f"{node} is to answer"
    if command not in {requests.ROUND, requests.VALIDATORS}:
        return "any node may answer"
    term = await terms.load_term(pool)
    return f"{term.leader or 'nobody'} leads term {term.number}"
