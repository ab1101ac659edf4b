"""What this node does for operators: requests for any node, or for this one by name.

A node claims a request, so that one node at a time works on it, and extends the claim while the work goes
on. If the node dies, the claim runs out and another node begins again. So doing a request twice must have
the same outcome as doing it once. A request that cannot be done is answered with the reason, and is in the
record too.
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
"""Turns the body of a request, and who asked, into its outcome. A CCNError is an outcome too."""

PLATE = "plate"
"""Import a version of a character's plate: `character`, `name`, `content`."""
REDACT = "redact"
"""Redact messages: `conversation`, `reason`, and a range from `first` to `last`.

With `with_recollections`, redact also later conversations whose prompts had these words."""
DRAIN = "drain"
"""Drain a node by name: it takes nothing new and does not lead. With `undo`, it takes part again."""
RELEASE = "release"
"""Let a quarantined `instance` speak again, for a `reason`. For the node that hosts it, by name."""

REQUEST_POLL_S = 0.25
"""How often a node looks for requests."""
CLAIM_S = 10.0
"""How long a claim lasts if the node does not extend it."""
_NEWEST = 2**53 - 1


async def run_requests(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    accepts_work: Callable[[], Awaitable[bool]],
    stop: asyncio.Event,
) -> None:
    """Do one request after the other; those for any node only while this one `accepts_work`."""
    while not stop.is_set():
        try:
            done = await run_oldest(pool, writer, handlers, for_any_node=await accepts_work())
        except errors.CCNError as refused:
            log.warning("request not answered", error=type(refused).__name__, reason=str(refused))
            done = False
        if not done:
            await pause(REQUEST_POLL_S, stop)


async def run_oldest(
    pool: Pool,
    writer: Writer,
    handlers: Mapping[str, Handler],
    claim_s: float = CLAIM_S,
    *,
    for_any_node: bool = True,
) -> bool:
    """Claim the oldest request, carry it out and answer it. Return whether there was one.

    Requests for any node are claimed too, if `for_any_node`.
    """
    claimed = await requests.claim_request(
        pool, writer.node, list(handlers), claim_s, any_node=for_any_node
    )
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
    """Make the handlers of requests that every node can do."""

    async def import_plate(body: Body, by: str) -> Body:
        plates.parse_plate(require_text(body, "content"))  # the door may have checked less
        version = await characters.import_plate(
            pool,
            writer,
            CharacterId(require_text(body, "character")),
            require_text(body, "name"),
            require_text(body, "content"),
            by,
        )
        return {"character": version.character, "version": version.version, "hash": version.hash.hex()}

    async def redact_messages(body: Body, by: str) -> Body:
        conversation, reason = _read_conversation(body), require_text(body, "reason")
        first, last = read_number(body, "first", 1), read_number(body, "last", _NEWEST)
        reached = await writer.submit(RedactMessages(conversation, first, last, by, reason))
        later = await retention.find_recollections(pool, conversation, first, reached)
        outcome = {"conversation": str(conversation), "first": first, "last": reached}
        outcome |= {"recollected": [str(other) for other in later]}
        if body.get("with_recollections") is not True:
            return outcome
        for other in later:
            why = f"{reason} (prompts here held words of {conversation})"
            await writer.submit(RedactMessages(other, 1, _NEWEST, by, why))
        done = {conversation, *later}
        found = [await retention.find_recollections(pool, other, 1, _NEWEST) for other in later]
        further = dict.fromkeys(other for several in found for other in several if other not in done)
        return outcome | {"further": [str(other) for other in further]}

    async def drain_node(body: Body, by: str) -> Body:
        if body.get("undo") is True:
            await drains.end_drain(pool, writer.node)
        else:
            tip = await blocks.load_tip(pool)
            validators = [validator.node for validator in tip.rules.validators] if tip else []
            await drains.begin_drain(pool, writer.node, by, validators)
        return {"node": writer.node, "draining": body.get("undo") is not True}

    async def answer_note(body: Body, by: str) -> Body:
        """Answer a request that was done before it was noted, so that it gets sealed."""
        del by
        return {"action": require_text(body, "action")}

    async def answer_loss(body: Body, by: str) -> Body:
        """Answer that a loss was accepted. The node itself has gone on already."""
        del by
        return {"node": require_text(body, "node"), "kept": read_number(body, "kept", 0)}

    noted = dict.fromkeys((requests.ACCOUNT, requests.ACCESS), answer_note) | {requests.LOSS: answer_loss}
    return {PLATE: import_plate, REDACT: redact_messages, DRAIN: drain_node, **noted}


def release_handler(restoring: Restorer) -> Handler:
    """Make the handler with which the host of a quarantined instance releases it."""

    async def release_instance(body: Body, by: str) -> Body:
        try:
            instance = InstanceId(UUID(require_text(body, "instance")))
        except ValueError:
            raise errors.InputInvalid("the instance is not named by its id") from None
        released = await restoring.release_instance(instance, by, require_text(body, "reason"))
        return {"instance": str(released.id), "status": released.status.value, "node": released.host}

    return release_instance


def require_text(body: Body, name: str) -> str:
    """Return a text that a request must have."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise errors.InputInvalid(f"the request has no {name}")
    return value


def read_number(body: Body, name: str, otherwise: int) -> int:
    """Return a whole number that a request may have."""
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
        raise  # without an answer, so that the next node takes the request up
    except errors.CCNError as refused:
        return requests.error_to_outcome(refused)
    except Exception as defect:  # otherwise a request that meets a defect would stop one node after another
        log.critical("a request met a defect", command=claimed.command, exc_info=True)
        return requests.error_to_outcome(
            errors.NodeFailed(f"a defect, see the log: {type(defect).__name__}")
        )
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
