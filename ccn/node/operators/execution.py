"""What this node does for operators: requests that are for any node, or for this one by name.

A request is claimed, so that one node at a time is at it, and the claim is extended while the work goes on.
If the node dies, the claim runs out and another node begins again: so whatever is asked for must come out
the same when it is done twice. What cannot be done is answered with its reason, and is in the record too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import structlog

from ccn import errors
from ccn.core.ids import CharacterId, ConversationId, InstanceId
from ccn.core.prompts import plate as plates
from ccn.node.character.restoration import Restoring
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import Answer, Body, Request
from ccn.store.rounds import blocks
from ccn.store.upkeep import retention
from ccn.store.upkeep.retention import Redact
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

Handler = Callable[[Body, str], Awaitable[Body]]
"""From what was asked, and by whom, to what came of it; a CCNError is an answer too."""

PLATE = "plate"
"""Import a version of a character's plate: `character`, `name`, `content`."""
REDACT = "redact"
"""Take the content of messages out: `conversation`, `reason`, and a range from `first` to `last`.

`with_recollections`: and all that was said in later conversations whose prompts held these words."""
DRAIN = "drain"
"""Take nothing new and lead nothing; with `undo`, take part again. For a node by name."""
RELEASE = "release"
"""Let a quarantined `instance` speak again, for a `reason`. For the node that hosts it, by name."""

LOOK_S = 0.25
"""How often a node looks for something to do."""
CLAIM_S = 10.0
"""How long a request is left to a node that says nothing more."""
_NEWEST = 2**53 - 1


async def operate(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    takes_on: Callable[[], Awaitable[bool]],
    stop: asyncio.Event,
) -> None:
    """Do what is asked, one request after the other; what is for anybody only while it `takes_on`."""
    while not stop.is_set():
        try:
            done = await once(pool, writer, handlers, anybodys=await takes_on())
        except errors.CCNError as refused:
            log.warning("request not answered", error=type(refused).__name__, reason=str(refused))
            done = False
        if not done:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_S)


async def once(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    claim_s: float = CLAIM_S,
    *,
    anybodys: bool = True,
) -> bool:
    """Claim the oldest request for this node, carry it out and answer it; whether there was one."""
    claimed = await requests.claim(pool, writer.node, list(handlers), claim_s, anybodys=anybodys)
    if claimed is None:
        return False
    log.info("request taken", command=claimed.command, by=claimed.by, request=str(claimed.id))
    if claimed.taken_back_by:
        outcome = requests.withdrawn(claimed)
    else:
        outcome = await _outcome(pool, writer, claimed, handlers[claimed.command], claim_s)
    await writer.submit(Answer(claimed, outcome))
    log.info(
        "request answered", command=claimed.command, request=str(claimed.id), error=outcome.get("error")
    )
    return True


def handlers(pool: Pool, writer: Writer) -> dict[str, Handler]:
    """What every node can be asked for."""

    async def plate(body: Body, by: str) -> Body:
        plates.read(text(body, "content"))  # whoever asked may have looked less closely
        made = await characters.import_plate(
            pool,
            writer,
            CharacterId(text(body, "character")),
            text(body, "name"),
            text(body, "content"),
            by,
        )
        return {"character": made.character, "version": made.version, "hash": made.hash.hex()}

    async def redact(body: Body, by: str) -> Body:
        here, reason = _conversation(body), text(body, "reason")
        first, last = number(body, "first", 1), number(body, "last", _NEWEST)
        reached = await writer.submit(Redact(here, first, last, by, reason))
        later = await retention.recollections(pool, here, first, reached)
        told = {"conversation": str(here), "first": first, "last": reached}
        if body.get("with_recollections") is not True:
            return told | {"recollected": [str(each) for each in later]}
        for each in later:
            why = f"{reason} (prompts here held words of {here})"
            await writer.submit(Redact(each, 1, _NEWEST, by, why))
        further = [await retention.recollections(pool, each, 1, _NEWEST) for each in later]
        beyond = dict.fromkeys(each for some in further for each in some if each not in {here, *later})
        return told | {
            "recollected": [str(each) for each in later],
            "further": [str(each) for each in beyond],
        }

    async def drain(body: Body, by: str) -> Body:
        if body.get("undo") is True:
            await drains.end(pool, writer.node)
        else:
            tip = await blocks.tip(pool)
            voting = [each.node for each in tip.rules.validators] if tip else []
            await drains.begin(pool, writer.node, by, voting)
        return {"node": writer.node, "draining": body.get("undo") is not True}

    async def note(body: Body, by: str) -> Body:
        """Done already, and left to be sealed."""
        del by
        return {"action": text(body, "action")}

    async def loss(body: Body, by: str) -> Body:
        """The same: the node itself has gone on meanwhile."""
        del by
        return {"node": text(body, "node"), "kept": number(body, "kept", 0)}

    noted = dict.fromkeys((requests.ACCOUNT, requests.ACCESS), note) | {requests.LOSS: loss}
    return {PLATE: plate, REDACT: redact, DRAIN: drain, **noted}


def releasing(restoring: Restoring) -> Handler:
    """What the host of a quarantined instance can be asked for."""

    async def release(body: Body, by: str) -> Body:
        try:
            named = InstanceId(UUID(text(body, "instance")))
        except ValueError:
            raise errors.InputInvalid("the instance is not named by its id") from None
        released = await restoring.release(named, by, text(body, "reason"))
        return {"instance": str(released.id), "status": released.status.value, "node": released.host}

    return release


def text(body: Body, name: str) -> str:
    """A text that a request must have."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise errors.InputInvalid(f"the request has no {name}")
    return value


def number(body: Body, name: str, otherwise: int) -> int:
    """A whole number that a request may have."""
    value = body.get(name, otherwise)
    if type(value) is not int:
        raise errors.InputInvalid(f"{name} is not a whole number")
    return value


def _conversation(body: Body) -> ConversationId:
    try:
        return ConversationId(UUID(text(body, "conversation")))
    except ValueError:
        raise errors.InputInvalid("the conversation is not named by its id") from None


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
