"""What operators ask for, from the asking to the answer. A row waits until somebody who may answers it.

    asked ──> taken by the leader, under its term ─────────────┐
      ├─────> claimed by a node, for a while, again and again ─┼──> answered, once, with a leaf
      └─────> taken back, while nobody is at it ───────────────┘

Asking writes a row, so nobody needs to know where the leader is, and a request outlives whoever was about
to answer it. Every answer is in the record: who asked what and what came of it, or why nothing did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import LeafKind
from ccn.store.connection.pool import Pool, Record
from ccn.store.rounds import terms
from ccn.store.writing.batch import Batch, Write, micros

Body = Mapping[str, object]
"""What a request says, and what comes of it: a JSON object without floats."""

ROUND = "round"
"""Hold a round now: for the leader."""
VALIDATORS = "validators"
"""Change who votes: for the leader."""
LEADING = (ROUND, VALIDATORS)
ACCOUNT = "account"
"""A change of who may come in: written by the database itself with the change, and left to be sealed."""
ACCESS = "access"
"""What an admin did in somebody else's conversation, reading it above all: done when it is asked, too."""
LOSS = "accept-loss"
"""What an operator accepted as lost of what a node acknowledged, before that node goes on."""
DONE = (ACCOUNT, ACCESS, LOSS)
"""What is done when it is written down: nobody asks for it."""
BY_LIMIT = 200
WHY_LIMIT = 2_000
TRIES = 3
"""How often a request is claimed by a node that then does not answer."""


@dataclass(frozen=True, slots=True)
class OperatorRequest:
    """Something an operator asked for; `claims` counts who took it up so far."""

    id: UUID
    command: str
    body: Body = field(hash=False)
    by: str
    node: NodeId | None
    asked_at: datetime
    claims: int = 0
    taken_back_by: str = ""
    taken_back_why: str = ""


@dataclass(frozen=True, slots=True)
class RequestState:
    """A request as it stands: who is at it just now, or what came of it."""

    request: OperatorRequest
    at_it: NodeId | None
    answered_at: datetime | None
    outcome: Body | None = field(hash=False)


@dataclass(frozen=True, slots=True)
class AnswerRequest(Write[None]):
    """What came of a request, under a leader's term or a node's claim; refused when that is over."""

    request: OperatorRequest
    outcome: Body = field(hash=False)
    term: int | None = None

    def prepare(self, batch: Batch) -> None:
        """Add the fence, the leaf and the answer in one transaction."""
        request, error = self.request, self.outcome.get("error")
        leaf = batch.add_leaf(
            LeafKind.OPERATOR,
            {
                "asked": micros(request.asked_at),
                "at": micros(batch.now),
                "body": commitment.hash_document(request.body).hex(),
                "by": request.by,
                "command": request.command,
                "error": None if error is None else str(error),
                "for": request.node,
                "outcome": commitment.hash_document(self.outcome).hex(),
                "request": str(request.id),
            },
        )
        if self.term is not None:
            batch.add_row(_FENCE, terms.FENCE, self.term)
        claim = request.claims if self.term is None else None
        batch.add_row(
            _ANSWER, request.id, claim, dict(self.outcome), batch.now, batch.node, leaf.number,
            every_row=True,
        )  # fmt: skip


async def add_request(
    pool: Pool,
    request: UUID,
    command: str,
    by: str,
    body: Body | None = None,
    *,
    node: NodeId | None = None,
) -> None:
    """Ask; the same request again changes nothing."""
    _check_asker(by)
    commitment.hash_document(body or {})  # what cannot be committed to is not asked
    if node is not None and node not in await list_nodes(pool):
        raise errors.NotFound(f"no node {node} ever ran here, only {', '.join(await list_nodes(pool))}")
    await pool.rows(_ASK, request, command, by, dict(body or {}), node)


async def list_waiting(pool: Pool, *commands: str) -> list[OperatorRequest]:
    """List the requests that have no answer yet, the oldest first."""
    return [_request_from_row(row) for row in await pool.rows(_WAITING, commands)]


async def list_taken_back(pool: Pool, *commands: str) -> list[OperatorRequest]:
    """List the requests that were taken back and have no answer yet, the oldest first."""
    return [_request_from_row(row) for row in await pool.rows(_TAKEN_BACK, commands)]


async def take_back_request(pool: Pool, request: UUID, by: str, why: str = "") -> None:
    """Let nobody begin it any more, or Conflict: somebody did. Taking it back again changes nothing."""
    _check_asker(by)
    if len(why) > WHY_LIMIT:
        raise errors.InputInvalid(f"a reason has at most {WHY_LIMIT} characters")
    if await pool.rows(_TAKE_BACK, request, by, why, DONE):
        return
    state = await request_state(pool, request)
    if state.request.taken_back_by:
        return
    if state.request.command == ACCOUNT:
        raise errors.Conflict("a change of accounts is done when it is asked for: change it again instead")
    if state.request.command == ACCESS:
        raise errors.Conflict("whoever opened a conversation has opened it: that is not taken back")
    if state.outcome is not None:
        raise errors.Conflict("too late, it is answered already")
    if state.at_it is not None:
        raise errors.Conflict(f"too late, {state.at_it} is at it")


async def request_state(pool: Pool, request: UUID) -> RequestState:
    """Load the state of one request, or raise NotFound."""
    row = await pool.row(_STATE, request)
    if row is None:
        raise errors.NotFound(f"there is no request {request}")
    return _state_from_row(row)


async def list_newest(pool: Pool, limit: int, *, ended: bool = True) -> list[RequestState]:
    """List the newest requests first; without those that `ended`, only those that wait."""
    return [_state_from_row(row) for row in await pool.rows(_NEWEST, limit, ended)]


async def claim_request(
    pool: Pool, node: NodeId, commands: Sequence[str], for_s: float, *, any_node: bool = True
) -> OperatorRequest | None:
    """Take up the oldest request that nobody is at any more: this node's, and perhaps anybody's.

    One that was taken back is anybody's too, to be answered with that: its node may never come again.
    """
    row = await pool.row(_CLAIM, node, commands, for_s, any_node, LEADING)
    return None if row is None else _request_from_row(row)


async def extend_claim(pool: Pool, node: NodeId, claimed: OperatorRequest, for_s: float) -> bool:
    """Stay at it for longer; whether the claim still holds."""
    return bool(await pool.rows(_EXTEND, claimed.id, node, claimed.claims, for_s))


async def load_outcome(pool: Pool, request: UUID) -> Body | None:
    """Load the outcome of a request, or None while it waits."""
    body: Body | None = await pool.value(_OUTCOME, request)
    return body


async def list_nodes(pool: Pool) -> list[NodeId]:
    """List every node that ever ran here."""
    return [NodeId(row["node_id"]) for row in await pool.rows(_NODES)]


def error_to_outcome(error: errors.CCNError) -> dict[str, object]:
    """Write the outcome of a request that was refused."""
    return {"error": type(error).__name__, "message": str(error)}


def withdrawal_to_outcome(request: OperatorRequest) -> dict[str, object]:
    """Write the outcome of a request that was taken back."""
    by, why = request.taken_back_by, request.taken_back_why
    taken_back = errors.TakenBack(f"{by} took it back: {why}" if why else f"{by} took it back")
    return {**error_to_outcome(taken_back), "by": by, "reason": why}


def outcome_to_error(outcome: Body) -> errors.CCNError | None:
    """Return the error that an outcome stands for, or None."""
    if "error" not in outcome:
        return None
    error_class = getattr(errors, str(outcome["error"]), None)
    if not (isinstance(error_class, type) and issubclass(error_class, errors.CCNError)):
        error_class = errors.CCNError
    return error_class(str(outcome.get("message", "")))


def _check_asker(by: str) -> None:
    if not by.strip() or len(by) > BY_LIMIT:
        raise errors.InputInvalid(f"a request says who asks, in 1 to {BY_LIMIT} characters")


def _request_from_row(row: Record) -> OperatorRequest:
    return OperatorRequest(
        row["id"],
        row["command"],
        row["body"],
        row["asked_by"],
        row["node"],
        row["asked_at"],
        row["claims"],
        row["taken_back_by"] or "",
        row["taken_back_why"] or "",
    )


def _state_from_row(row: Record) -> RequestState:
    return RequestState(_request_from_row(row), row["at_it"], row["answered_at"], row["outcome"])


_ASK = """
    INSERT INTO operator_requests (id, command, asked_by, body, node) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
"""
_COLUMNS = "id, command, body, asked_by, node, asked_at, claims, taken_back_by, taken_back_why"
_WAITING = f"""
    SELECT {_COLUMNS} FROM operator_requests
    WHERE answered_at IS NULL AND taken_back_at IS NULL AND command = ANY ($1::text[]) ORDER BY asked_at, id
"""  # noqa: S608 - a constant, as below
_TAKEN_BACK = f"""
    SELECT {_COLUMNS} FROM operator_requests
    WHERE answered_at IS NULL AND taken_back_at IS NOT NULL AND command = ANY ($1::text[])
    ORDER BY asked_at, id
"""  # noqa: S608
_TAKE_BACK = """
    UPDATE operator_requests
    SET taken_back_at = clock_timestamp(), taken_back_by = $2, taken_back_why = $3
    WHERE id = $1 AND command <> ALL ($4::text[]) AND answered_at IS NULL AND taken_back_at IS NULL
      AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
    RETURNING 1
"""
_SHOWN = f"""
    SELECT {_COLUMNS}, answered_at, outcome,
           CASE WHEN answered_at IS NULL AND claimed_until > clock_timestamp() THEN claimed_by END AS at_it
    FROM operator_requests
"""  # noqa: S608
_STATE = f"{_SHOWN} WHERE id = $1"
_NEWEST = f"{_SHOWN} WHERE $2 OR answered_at IS NULL ORDER BY asked_at DESC, id LIMIT $1"
_CLAIM = f"""
    UPDATE operator_requests
    SET claimed_by = $1, claims = claims + 1, claimed_until = clock_timestamp() + $3 * interval '1 s'
    WHERE id = (
        SELECT id FROM operator_requests
        WHERE answered_at IS NULL
          AND CASE WHEN taken_back_at IS NULL
                   THEN command = ANY ($2::text[]) AND (node = $1 OR node IS NULL AND $4)
                   ELSE command <> ALL ($5::text[]) AND $4 END
          AND (claimed_until IS NULL OR claimed_until < clock_timestamp())
        ORDER BY asked_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING {_COLUMNS}
"""  # noqa: S608
_EXTEND = """
    UPDATE operator_requests SET claimed_until = clock_timestamp() + $4 * interval '1 s'
    WHERE id = $1 AND claimed_by = $2 AND claims = $3 AND answered_at IS NULL RETURNING 1
"""
_FENCE = "SELECT ccn_led(fence, term) FROM unnest($1::bigint[], $2::bigint[]) AS t (fence, term)"
_ANSWER = """
    UPDATE operator_requests r
    SET answered_at = a.at, outcome = a.outcome, leaf_node = a.node, leaf_number = a.leaf
    FROM unnest($1::uuid[], $2::int[], $3::jsonb[], $4::timestamptz[], $5::text[], $6::bigint[])
        AS a (id, claim, outcome, at, node, leaf)
    WHERE r.id = a.id AND r.answered_at IS NULL
      AND (a.claim IS NULL OR (r.claims, r.claimed_by) = (a.claim, a.node))
"""
_OUTCOME = "SELECT outcome FROM operator_requests WHERE id = $1"
_NODES = "SELECT node_id FROM leaf_sources ORDER BY node_id"
