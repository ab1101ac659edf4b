"""What this node does for operators: requests that are for any node, or for this one by name.

A request is claimed, so that one node at a time is at it, and the claim is extended while the work goes on.
If the node dies, the claim runs out and another node begins again: so whatever is asked for must come out
the same when it is done twice. What cannot be done is answered with its reason, and is in the record too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import structlog

from ccn import errors
from ccn.core.ids import CharacterId, ConversationId, InstanceId
from ccn.core.prompts import plate as plates
from ccn.node.character.restoration import Restorer
from ccn.node.pacing import pause
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import AnswerRequest, Body, OperatorRequest
from ccn.store.rounds import blocks
from ccn.store.upkeep import retention
from ccn.store.upkeep.retention import RedactMessages
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


async def run_requests(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    takes_on: Callable[[], Awaitable[bool]],
    stop: asyncio.Event,
) -> None:
    """Do what is asked, one request after the other; what is for anybody only while it `takes_on`."""
    while not stop.is_set():
        try:
            done = await run_oldest(pool, writer, handlers, anybodys=await takes_on())
        except errors.CCNError as refused:
            log.warning("request not answered", error=type(refused).__name__, reason=str(refused))
            done = False
        if not done:
            await pause(LOOK_S, stop)


async def run_oldest(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    claim_s: float = CLAIM_S,
    *,
    anybodys: bool = True,
) -> bool:
    """Claim the oldest request for this node, carry it out and answer it; whether there was one."""
    claimed = await requests.claim_request(pool, writer.node, list(handlers), claim_s, any_node=anybodys)
    if claimed is None:
        return False
    log.info("request taken", command=claimed.command, by=claimed.by, request=str(claimed.id))
    if claimed.taken_back_by:
        outcome = requests.withdrawal_to_outcome(claimed)
    else:
        outcome = await _run_handler(pool, writer, claimed, handlers[claimed.command], claim_s)
    await writer.submit(AnswerRequest(claimed, outcome))
    log.info(
        "request answered", command=claimed.command, request=str(claimed.id), error=outcome.get("error")
    )
    return True


def node_handlers(pool: Pool, writer: Writer) -> dict[str, Handler]:
    """What every node can be asked for."""

    async def import_plate(body: Body, by: str) -> Body:
        plates.parse_plate(require_text(body, "content"))  # whoever asked may have looked less closely
        made = await characters.import_plate(
            pool,
            writer,
            CharacterId(require_text(body, "character")),
            require_text(body, "name"),
            require_text(body, "content"),
            by,
        )
        return {"character": made.character, "version": made.version, "hash": made.hash.hex()}

    async def redact_messages(body: Body, by: str) -> Body:
        here, reason = _read_conversation(body), require_text(body, "reason")
        first, last = read_number(body, "first", 1), read_number(body, "last", _NEWEST)
        reached = await writer.submit(RedactMessages(here, first, last, by, reason))
        later = await retention.find_recollections(pool, here, first, reached)
        told = {"conversation": str(here), "first": first, "last": reached}
        if body.get("with_recollections") is not True:
            return told | {"recollected": [str(each) for each in later]}
        for each in later:
            why = f"{reason} (prompts here held words of {here})"
            await writer.submit(RedactMessages(each, 1, _NEWEST, by, why))
        further = [await retention.find_recollections(pool, each, 1, _NEWEST) for each in later]
        beyond = dict.fromkeys(each for some in further for each in some if each not in {here, *later})
        return told | {
            "recollected": [str(each) for each in later],
            "further": [str(each) for each in beyond],
        }

    async def drain_node(body: Body, by: str) -> Body:
        if body.get("undo") is True:
            await drains.end_drain(pool, writer.node)
        else:
            tip = await blocks.load_tip(pool)
            voting = [each.node for each in tip.rules.validators] if tip else []
            await drains.begin_drain(pool, writer.node, by, voting)
        return {"node": writer.node, "draining": body.get("undo") is not True}

    async def answer_note(body: Body, by: str) -> Body:
        """Done already, and left to be sealed."""
        del by
        return {"action": require_text(body, "action")}

    async def answer_loss(body: Body, by: str) -> Body:
        """The same: the node itself has gone on meanwhile."""
        del by
        return {"node": require_text(body, "node"), "kept": read_number(body, "kept", 0)}

    noted = dict.fromkeys((requests.ACCOUNT, requests.ACCESS), answer_note) | {requests.LOSS: answer_loss}
    return {PLATE: import_plate, REDACT: redact_messages, DRAIN: drain_node, **noted}


def release_handler(restoring: Restorer) -> Handler:
    """What the host of a quarantined instance can be asked for."""

    async def release_instance(body: Body, by: str) -> Body:
        try:
            named = InstanceId(UUID(require_text(body, "instance")))
        except ValueError:
            raise errors.InputInvalid("the instance is not named by its id") from None
        released = await restoring.release_instance(named, by, require_text(body, "reason"))
        return {"instance": str(released.id), "status": released.status.value, "node": released.host}

    return release_instance


def require_text(body: Body, name: str) -> str:
    """A text that a request must have."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise errors.InputInvalid(f"the request has no {name}")
    return value


def read_number(body: Body, name: str, otherwise: int) -> int:
    """A whole number that a request may have."""
    value = body.get(name, otherwise)
    if type(value) is not int:
        raise errors.InputInvalid(f"{name} is not a whole number")
    return value


def _read_conversation(body: Body) -> ConversationId:
    try:
        return ConversationId(UUID(require_text(body, "conversation")))
    except ValueError:
        raise errors.InputInvalid("the conversation is not named by its id") from None


async def _run_handler(
    pool: Pool, writer: Writer, claimed: OperatorRequest, handler: Handler, claim_s: float
) -> dict[str, object]:
    if claimed.claims > requests.TRIES:
        tries = f"{requests.TRIES} nodes took this up and none of them came to its end"
        return requests.error_to_outcome(errors.NodeFailed(tries))
    working = asyncio.ensure_future(handler(claimed.body, claimed.by))
    try:
        while not (await asyncio.wait({working}, timeout=claim_s / 3))[0]:
            if not await requests.extend_claim(pool, writer.node, claimed, claim_s):
                raise errors.Conflict("another node took the request up")
        return dict(working.result())
    except errors.ShuttingDown:
        raise  # no answer: it is for the next node
    except errors.CCNError as refused:
        return requests.error_to_outcome(refused)
    except Exception as defect:  # a request that meets a defect would otherwise stop node after node
        log.critical("a request met a defect", command=claimed.command, exc_info=True)
        return requests.error_to_outcome(
            errors.NodeFailed(f"a defect, see the log: {type(defect).__name__}")
        )
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
