"""What this node does for operators: requests that are for any node, or for this one by name.

A request is claimed, so that one node at a time is at it, and the claim is extended while the work goes on.
If the node dies, the claim runs out and another node begins again: so whatever is asked for must come out
the same when it is done twice. What cannot be done is answered with its reason, and is in the record too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import structlog

from ccn import errors
from ccn.core.ids import CharacterId
from ccn.store import characters, requests
from ccn.store.pool import Pool
from ccn.store.requests import Answer, Body, Request
from ccn.store.writer import Writer

log = structlog.get_logger(__name__)

Handler = Callable[[Body, str], Awaitable[Body]]
"""From what was asked, and by whom, to what came of it; a CCNError is an answer too."""

PLATE = "plate"
"""Import a version of a character's plate: `character`, `name`, `content`."""

LOOK_S = 0.25
"""How often a node looks for something to do."""
CLAIM_S = 10.0
"""How long a request is left to a node that says nothing more."""


async def operate(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    stop: asyncio.Event,
    claim_s: float = CLAIM_S,
) -> None:
    """Do what is asked, one request after the other, until told to stop."""
    while not stop.is_set():
        try:
            done = await once(pool, writer, handlers, claim_s)
        except errors.CCNError as refused:
            log.warning("request not answered", error=type(refused).__name__, reason=str(refused))
            done = False
        if not done:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_S)


async def once(
    pool: Pool, writer: Writer, handlers: Mapping[str, Handler], claim_s: float = CLAIM_S
) -> bool:
    """Claim the oldest request for this node, carry it out and answer it; whether there was one."""
    claimed = await requests.claim(pool, writer.node, list(handlers), claim_s)
    if claimed is None:
        return False
    log.info("request taken", command=claimed.command, by=claimed.by, request=str(claimed.id))
    outcome = await _outcome(pool, writer, claimed, handlers[claimed.command], claim_s)
    await writer.submit(Answer(claimed, outcome))
    log.info(
        "request answered", command=claimed.command, request=str(claimed.id), error=outcome.get("error")
    )
    return True


def handlers(pool: Pool, writer: Writer) -> dict[str, Handler]:
    """What every node can be asked for."""

    async def plate(body: Body, by: str) -> Body:
        made = await characters.import_plate(
            pool,
            writer,
            CharacterId(text(body, "character")),
            text(body, "name"),
            text(body, "content"),
            by,
        )
        return {"character": made.character, "version": made.version, "hash": made.hash.hex()}

    return {PLATE: plate}


def text(body: Body, name: str) -> str:
    """A text that a request must have."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise errors.InputInvalid(f"the request has no {name}")
    return value


async def _outcome(
    pool: Pool, writer: Writer, claimed: Request, handler: Handler, claim_s: float
) -> dict[str, object]:
    if claimed.claims > requests.TRIES:
        tries = f"{requests.TRIES} nodes took this up and none of them came to its end"
        return requests.failed(errors.NodeFailed(tries))
    working = asyncio.ensure_future(handler(claimed.body, claimed.by))
    try:
        while not (await asyncio.wait({working}, timeout=claim_s / 3))[0]:
            if not await requests.extend(pool, writer.node, claimed, claim_s):
                raise errors.Conflict("another node took the request up")
        return dict(working.result())
    except errors.ShuttingDown:
        raise  # no answer: it is for the next node
    except errors.CCNError as refused:
        return requests.failed(refused)
    except Exception as defect:  # a request that meets a defect would otherwise stop node after node
        log.critical("a request met a defect", command=claimed.command, exc_info=True)
        return requests.failed(errors.NodeFailed(f"a defect, see the log: {type(defect).__name__}"))
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
