"""What calls may cost and did cost: reserved before, settled after, added up in three ways.

Each function is one statement and so one transaction; the triggers in `schema/` keep the sums and refuse
what does not fit, under the lock of the day's row. Two nodes at the last cent queue up there; the calls of
one node go there together, by way of its `ReservationQueue`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from ccn.core.calls import budget
from ccn.core.calls.call import TokenUsage
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.store.connection.calls import call_by_name
from ccn.store.connection.pool import Pool, Record

HELD_FOR = timedelta(hours=4)
"""Longer than any call takes with all its tries: what is still reserved then belongs to nobody."""
KEPT_FOR = timedelta(days=7)

USAGE_LIMIT = 1_000
"""Lines that are listed at most, of the newest days."""

CLUSTER = "cluster"
"""The scope of everything; a character's is made by `scope_of_character`, a user's by `scope_of_user`."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call wants reserved for it; limits in microdollars, None where there are none."""

    id: UUID
    day: date
    at: datetime
    character: CharacterId
    conversation: ConversationId | None
    model: str
    cluster_limit: int | None = None
    character_limit: int | None = None
    owner: UserId | None = None
    """For whom it is made; None if for nobody."""
    owner_limit: int | None = None


@dataclass(frozen=True, slots=True)
class EndedReservation:
    """What became of a reservation: what the call used and cost, or that it was never made."""

    id: UUID
    usage: TokenUsage
    cost: int
    made: bool = True


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What calls added up to."""

    calls: int
    usage: TokenUsage
    microdollars: int


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """What one character used on one day: in one conversation or all of them, for one user or all."""

    day: date
    character: CharacterId
    conversation: ConversationId | None
    total: UsageTotal
    user: str | None = None
    """By name; None in sums of all users, and for what was nobody's."""


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which usage is listed, and what has a line of its own besides each day and character."""

    character: CharacterId | None = None
    conversation: ConversationId | None = None
    owner: UserId | None = None
    by_conversation: bool = False
    by_user: bool = False


async def change_reservations(
    pool: Pool, ended: Sequence[EndedReservation], wanted: Sequence[tuple[Reservation, int]]
) -> Collection[UUID]:
    """Count and free what has ended, and reserve what is wanted: all of it, or none if it does not fit.

    The answer names the reservations that ended by this: each ends once.
    """
    arguments = change_arguments(ended, wanted)
    rows = await pool.rows(f"SELECT {call_by_name('ccn_till', arguments)} AS id", *arguments.values())
    return {row["id"] for row in rows}


def change_arguments(
    ended: Sequence[EndedReservation], wanted: Sequence[tuple[Reservation, int]]
) -> dict[str, Sequence[object]]:
    """Spell what has ended and what is wanted as columns, one for each parameter of `ccn_till`."""
    return {
        "end_ids": [each.id for each in ended],
        "end_statuses": ["settled" if each.made else "released" for each in ended],
        "end_inputs": [each.usage.input for each in ended],
        "end_outputs": [each.usage.output for each in ended],
        "end_reads": [each.usage.cache_read for each in ended],
        "end_writes": [each.usage.cache_write for each in ended],
        "end_costs": [each.cost for each in ended],
        "hold_ids": [each.id for each, _ in wanted],
        "hold_days": [each.day for each, _ in wanted],
        "hold_characters": [each.character for each, _ in wanted],
        "hold_conversations": [each.conversation for each, _ in wanted],
        "hold_models": [each.model for each, _ in wanted],
        "hold_amounts": [amount for _, amount in wanted],
        "hold_cluster_limits": [each.cluster_limit for each, _ in wanted],
        "hold_character_limits": [each.character_limit for each, _ in wanted],
        "hold_ats": [each.at for each, _ in wanted],
        "hold_owners": [each.owner for each, _ in wanted],
        "hold_owner_limits": [each.owner_limit for each, _ in wanted],
    }


async def expire_held(pool: Pool, now: datetime) -> int:
    """Count what has been reserved for too long as spent: whoever reserved it does not come back."""
    return len(await pool.rows(_EXPIRE, now - HELD_FOR))


async def forget_ended(pool: Pool, now: datetime) -> int:
    """Drop old reservations that are over; what they added up to stays."""
    return len(await pool.rows(_FORGET, now - KEPT_FOR))


async def day_total(pool: Pool, day: date, scope: str = CLUSTER, limit: int | None = None) -> budget.Day:
    """Load what is spent and reserved of one day's budget."""
    row = await pool.row("SELECT spent, held FROM spend_days WHERE day = $1 AND scope = $2", day, scope)
    return budget.Day(limit) if row is None else budget.Day(limit, row["spent"], row["held"])


async def day_totals(pool: Pool, day: date, limits: Mapping[str, int]) -> list[budget.Day]:
    """Load the same for several scopes, each with its limit."""
    rows = await pool.rows(_STANDINGS, day, list(limits))
    known = {row["scope"]: (row["spent"], row["held"]) for row in rows}
    return [budget.Day(limit, *known.get(scope, (0, 0))) for scope, limit in limits.items()]


def scope_of_character(character: CharacterId) -> str:
    """Name the scope of a character."""
    return f"character:{character}"


def scope_of_user(owner: UserId) -> str:
    """Name the scope of a user."""
    return f"user:{owner}"


async def load_of_conversation(pool: Pool, conversation: ConversationId) -> UsageTotal:
    """Add up all that a conversation ever used."""
    return _total_from_row(await pool.row(f"{_TOTAL} WHERE conversation_id = $1", conversation))


async def load_of_owner(pool: Pool, owner: UserId | None, day: date) -> UsageTotal:
    """All that was used for one user on a day, within conversations and without; nobody used nothing."""
    return _total_from_row(await pool.row(_OF_OWNER, owner, day))


async def list_usage(pool: Pool, first: date, last: date, wanted: UsageFilter) -> list[UsageEntry]:
    """What was used, newest first; if it is split further, the dearest of a day first, up to a limit."""
    which = (wanted.character, wanted.conversation, wanted.owner)
    rows = await pool.rows(_LINES, first, last, *which, wanted.by_conversation, wanted.by_user, USAGE_LIMIT)
    return [_entry_from_row(row) for row in rows]


def _entry_from_row(row: Record) -> UsageEntry:
    return UsageEntry(
        row["day"], row["character_id"], row["conversation_id"], _total_from_row(row), row["name"]
    )


def _total_from_row(row: Record | None) -> UsageTotal:
    if row is None:
        return UsageTotal(0, TokenUsage(), 0)
    usage = TokenUsage(row["input"], row["output"], row["cache_read"], row["cache_write"])
    return UsageTotal(row["calls"], usage, row["cost"])


_STANDINGS = "SELECT scope, spent, held FROM spend_days WHERE day = $1 AND scope = ANY ($2::text[])"
# Rows that somebody is settling just now are left to them.
_EXPIRE = """
    UPDATE spend_reservations SET status = 'expired'
    WHERE id IN (SELECT id FROM spend_reservations WHERE status = 'held' AND held_at < $1
                 ORDER BY day, id LIMIT 1000 FOR UPDATE SKIP LOCKED)
    RETURNING 1
"""
_FORGET = "DELETE FROM spend_reservations WHERE status <> 'held' AND held_at < $1 RETURNING 1"
_SUMS = """
    coalesce(sum(calls), 0)::bigint AS calls,
    coalesce(sum(input_tokens), 0)::bigint AS input, coalesce(sum(output_tokens), 0)::bigint AS output,
    coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read,
    coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write,
    coalesce(sum(cost_microdollars), 0)::bigint AS cost
"""
_TOTAL = f"SELECT {_SUMS} FROM usage"  # noqa: S608 - a constant, as below
_OF_OWNER = f"{_TOTAL} WHERE owner_id = $1 AND day = $2"
_LINES = f"""
    SELECT day, character_id, conversation_id, name, calls, input, output, cache_read, cache_write, cost
    FROM (
        SELECT day, character_id, CASE WHEN $6 THEN conversation_id END AS conversation_id,
               CASE WHEN $7 THEN owner_id END AS owner_id, {_SUMS}
        FROM usage
        WHERE day BETWEEN $1 AND $2 AND character_id = coalesce($3::text, character_id)
          AND ($4::uuid IS NULL OR conversation_id = $4) AND ($5::uuid IS NULL OR owner_id = $5)
        GROUP BY 1, 2, 3, 4
    ) AS line LEFT JOIN users u ON u.id = line.owner_id
    ORDER BY day DESC, CASE WHEN $6 OR $7 THEN cost END DESC, character_id, conversation_id
    LIMIT CASE WHEN $6 OR $7 THEN $8::bigint END
"""  # noqa: S608
